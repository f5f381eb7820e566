package agent

import (
	"context"
	"runtime"
	"slices"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

var _ server.Agent = (*Agent)(nil)

// Version implements server.Agent.
func (a *Agent) Version() localapi.Version {
	return localapi.Version{
		SchemaVersion: localapi.SchemaVersion, Version: a.cfg.Version, OS: runtime.GOOS, Arch: runtime.GOARCH,
	}
}

// Status implements server.Agent. It waits for nothing.
func (a *Agent) Status() localapi.Status {
	s := localapi.Status{SchemaVersion: localapi.SchemaVersion, ControlConnected: a.controlConnected.Load()}
	if r := a.registration(); r != nil {
		s.Email, s.KeyStore = r.Email, r.KeyStore
	}
	a.status.fill(&s)
	a.mu.Lock()
	if at := a.settings.ResumeAt; !at.IsZero() {
		s.ResumeAt = &at
	}
	a.mu.Unlock()
	if v := a.view.Load(); v != nil {
		s.StateRevision, s.StateAgeSeconds = v.revision, a.age().Seconds()
		if sel := a.selected.Load(); sel != nil {
			n := wireNetwork(*sel, sel)
			s.VNET = &n
		}
	}
	return s
}

func wireNetwork(n vnet.Network, selected *vnet.Network) localapi.VNET {
	return localapi.VNET{
		ID: string(n.ID), Name: n.Name, Comment: n.Comment, Default: n.Default,
		Selected: selected != nil && selected.ID == n.ID,
	}
}

// VNETs implements server.Agent.
func (a *Agent) VNETs() localapi.VNETList {
	l := localapi.VNETList{SchemaVersion: localapi.SchemaVersion, VNETs: []localapi.VNET{}}
	v, sel := a.view.Load(), a.selected.Load()
	if v == nil {
		return l
	}
	for _, n := range v.networks {
		l.VNETs = append(l.VNETs, wireNetwork(n, sel))
	}
	return l
}

// SelectVNET implements server.Agent: it stores a pointer; open flows are not touched.
func (a *Agent) SelectVNET(_ context.Context, ref string) (localapi.VNETList, error) {
	v := a.view.Load()
	if v == nil {
		if a.registration() == nil {
			return localapi.VNETList{}, errNotRegistered()
		}
		return localapi.VNETList{}, fault.New(string(kind.Unavailable), "the virtual networks are not known yet").
			WithHint("the control plane has not answered; see warp-cli status")
	}
	n, err := vnet.Resolve(v.networks, ref)
	if err != nil {
		return localapi.VNETList{}, vnetFault(err)
	}
	if err := a.changeSettings(func(s *settings) {
		s.VNET = n.ID
		a.selected.Store(&n)
	}); err != nil {
		return localapi.VNETList{}, err
	}
	// A state that came meanwhile may have taken the network away.
	a.mu.Lock()
	chosen := a.settings.VNET
	a.mu.Unlock()
	a.selectIn(a.view.Load(), chosen)
	a.status.tell(changedStatus | changedVNETs)
	return a.VNETs(), nil
}

// Resolve implements server.Agent. Users and ports are those of the target list; a port
// other than 0 restricts the users to those of that port.
func (a *Agent) Resolve(name, ref string, port uint16) (localapi.Resolution, error) {
	v := a.view.Load()
	if v == nil {
		return localapi.Resolution{}, a.notConnected()
	}
	if name == "" {
		return localapi.Resolution{}, fault.New(string(kind.Invalid), "a name is needed")
	}
	found, n, err := v.lookup(a.selected.Load(), ref, name)
	if err != nil {
		return localapi.Resolution{}, err
	}
	r := localapi.Resolution{
		SchemaVersion: localapi.SchemaVersion,
		TargetID:      string(found.Target.ID), Hostname: found.Target.Hostname,
		IP: found.Addr.String(), VNETID: string(n.ID), VNETName: n.Name,
		Usernames: []string{}, Ports: []uint16{},
	}
	if len(v.state.Self.SSHHostCAs) > 0 && v.terminates(found, port) {
		r.HostKeyAlias = localapi.SSHGatewayAlias
	}
	at := targets.Address{Addr: found.Addr, VNET: n.ID}
	for i := range v.entries {
		e := &v.entries[i]
		if !isAt(&e.Target, at) {
			continue
		}
		// An address that was given as one may be a target's after all.
		r.TargetID, r.Hostname = string(e.Target.ID), e.Target.Hostname
		r.Ports = append(r.Ports, e.Port)
		if port == 0 || port == e.Port {
			r.Usernames = append(r.Usernames, e.Usernames...)
		}
	}
	slices.Sort(r.Usernames)
	r.Usernames = slices.Compact(r.Usernames)
	slices.Sort(r.Ports)
	r.Ports = slices.Compact(r.Ports)
	return r, nil
}

func isAt(t *targets.Target, at targets.Address) bool {
	return t.IPv4 != nil && *t.IPv4 == at || t.IPv6 != nil && *t.IPv6 == at
}
