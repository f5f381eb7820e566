package agent

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"strings"

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

// Targets implements server.Agent.
func (a *Agent) Targets(q server.TargetQuery) (localapi.TargetList, error) {
	v := a.view.Load()
	if v == nil {
		if a.registration() == nil {
			return localapi.TargetList{}, errNotRegistered()
		}
		return localapi.TargetList{}, fault.New(string(kind.Unavailable), "the target list is not known yet").
			WithHint("the control plane has not answered; see warp-cli status")
	}
	f, err := filter(v, q)
	if err != nil {
		return localapi.TargetList{}, err
	}
	return a.targetList(f), nil
}

// filter reads a query; what cannot match anything is an error, not an empty list.
func filter(v *view, q server.TargetQuery) (*targets.Filter, error) {
	f := &targets.Filter{Usernames: q.Usernames}
	for _, attr := range q.Attributes {
		k, value, ok := strings.Cut(attr, "=")
		if !ok || k == "" {
			return nil, fault.New(string(kind.Invalid), "attribute %q is not key=value", attr)
		}
		if f.Attributes == nil {
			f.Attributes = make(map[string][]string)
		}
		f.Attributes[k] = append(f.Attributes[k], value)
	}
	for _, p := range q.Protocols {
		proto, err := targets.ParseProtocol(p)
		if err != nil {
			return nil, fault.From(err)
		}
		f.Protocols = append(f.Protocols, proto)
	}
	for _, p := range q.Ports {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return nil, fault.New(string(kind.Invalid), "port %q is not 1 to 65535", p)
		}
		f.Ports = append(f.Ports, uint16(n))
	}
	for _, ref := range q.VNETs {
		n, err := vnet.Resolve(v.networks, ref)
		if err != nil {
			return nil, vnetFault(err)
		}
		f.VNETs = append(f.VNETs, n.ID)
	}
	for _, id := range q.IDs {
		f.IDs = append(f.IDs, targets.ID(id))
	}
	return f, nil
}

// targetList returns what f selects; nil selects everything.
func (a *Agent) targetList(f *targets.Filter) localapi.TargetList {
	l := localapi.TargetList{
		SchemaVersion: localapi.SchemaVersion, Stale: !a.controlConnected.Load(), Targets: []localapi.Target{},
	}
	v := a.view.Load()
	if v == nil {
		return l
	}
	l.Revision, l.AgeSeconds = v.revision, a.age().Seconds()
	names := make(map[vnet.ID]string, len(v.networks))
	for _, n := range v.networks {
		names[n.ID] = n.Name
	}
	for i := range v.entries {
		e := &v.entries[i]
		if f == nil || f.Match(e) {
			l.Targets = append(l.Targets, wireTarget(e, names))
		}
	}
	return l
}

func wireTarget(e *targets.Entry, names map[vnet.ID]string) localapi.Target {
	t := localapi.Target{
		ID: string(e.Target.ID), Hostname: e.Target.Hostname, Protocol: string(e.Protocol), Port: e.Port,
		Attributes: map[string]string{"hostname": e.Target.Hostname},
		Addresses:  []localapi.Address{}, Usernames: append([]string{}, e.Usernames...),
	}
	for k, v := range e.Target.Tags {
		t.Attributes[k] = v
	}
	for _, ad := range []*targets.Address{e.Target.IPv4, e.Target.IPv6} {
		if ad != nil {
			t.Addresses = append(t.Addresses, localapi.Address{IP: ad.Addr.String(), VNETID: string(ad.VNET), VNETName: names[ad.VNET]})
		}
	}
	return t
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
