package agent

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"weft/agent/fault"
	"weft/agent/forward"
	"weft/agent/localapi"
	"weft/internal/kind"
	"weft/internal/localsock"
	"weft/targets"
	"weft/vnet"
)

// noticeForwards says that the forwards could not be read.
const noticeForwards = "forwards"

// startForwards reads the forwards that are kept. A file that cannot be read must not keep the agent from running.
func (a *Agent) startForwards(ctx context.Context, owner localsock.Caller) (*forward.Manager, error) {
	self, err := localsock.Self()
	if err != nil {
		return nil, err
	}
	m, err := forward.New(forward.Config{
		Dialer: a, Store: a.dir, Logger: a.log, Restricted: !self.SameUser(owner),
		Allow: func(id localsock.Caller) bool { return id.Operates(owner) },
	})
	if err != nil {
		return nil, err
	}
	if err := m.Load(); err != nil {
		a.log.ErrorContext(ctx, "read forwards", "error", err)
		a.status.notice(noticeForwards, "the forwards that are kept cannot be read, so there are none: "+err.Error())
	}
	a.forwards.Store(m)
	return m, nil
}

// Forwards implements server.Agent.
func (a *Agent) Forwards() localapi.ForwardList {
	l := localapi.ForwardList{SchemaVersion: localapi.SchemaVersion, Forwards: []localapi.Forward{}}
	m := a.forwards.Load()
	if m == nil {
		return l
	}
	for _, s := range m.List() {
		l.Forwards = append(l.Forwards, a.wireForward(s))
	}
	return l
}

// AddForward implements server.Agent. The target must be known now, and its network becomes the forward's.
func (a *Agent) AddForward(ctx context.Context, in localapi.NewForward) (localapi.Forward, error) {
	m, v := a.forwards.Load(), a.view.Load()
	if m == nil || v == nil {
		return localapi.Forward{}, a.notConnected()
	}
	switch in.Network {
	case "", forward.TCP, forward.UDP:
	default:
		return localapi.Forward{}, fault.New(string(kind.Invalid), "network %q is neither tcp nor udp", in.Network)
	}
	found, network, err := v.lookup(a.selected.Load(), in.VNET, in.Target)
	if err != nil {
		return localapi.Forward{}, err
	}
	spec := forward.Spec{
		Name: in.Name, Port: in.Port, VNET: string(network.ID), Target: forwardTarget(in.Target, found),
		AllowRemote: in.AllowRemote, AllUsers: in.AllUsers, CreatedAt: time.Now().UTC(),
	}
	at := targets.Address{Addr: found.Addr, VNET: network.ID}
	if spec.Port == 0 {
		if spec.Port, err = v.onlyPort(at, in.Target); err != nil {
			return localapi.Forward{}, err
		}
	}
	if spec.Network, spec.Listen, err = forward.ParseListen(in.Listen, cmp.Or(in.Network, v.speaks(at, spec.Port, in.Listen))); err != nil {
		return localapi.Forward{}, err
	}
	st, err := m.Add(ctx, spec)
	if err != nil {
		return localapi.Forward{}, err
	}
	return a.wireForward(st), nil
}

// RemoveForward implements server.Agent.
func (a *Agent) RemoveForward(_ context.Context, name string) error {
	m := a.forwards.Load()
	if m == nil {
		return fault.New(string(kind.Unavailable), "the agent is starting")
	}
	return m.Remove(name)
}

// forwardTarget is by what a forward finds its target again: an ID or an address as it was given, else the hostname, so
// that a machine that replaces another under its name is reached.
func forwardTarget(name string, d targets.Destination) string {
	if _, err := netip.ParseAddr(name); err == nil || d.Target.ID == "" {
		return d.Addr.String()
	}
	if string(d.Target.ID) == name {
		return name
	}
	return d.Target.Hostname
}

// onlyPort is the port of a target that has one.
func (v *view) onlyPort(at targets.Address, name string) (uint16, error) {
	var ports []uint16
	for i := range v.entries {
		if isAt(&v.entries[i].Target, at) && !slices.Contains(ports, v.entries[i].Port) {
			ports = append(ports, v.entries[i].Port)
		}
	}
	slices.Sort(ports)
	if len(ports) == 1 {
		return ports[0], nil
	}
	if len(ports) == 0 {
		return 0, fault.New(string(kind.Invalid), "no port of %q is known", name).WithHint("write NAME:PORT")
	}
	return 0, fault.New(string(kind.Invalid), "%q has the ports %v", name, ports).WithHint("write one of them as NAME:PORT")
}

// speaks is UDP when the target speaks nothing else at the port.
func (v *view) speaks(at targets.Address, port uint16, listen string) string {
	udp, tcp := false, false
	for i := range v.entries {
		if e := &v.entries[i]; e.Port == port && isAt(&e.Target, at) {
			udp = udp || e.Protocol.Carries(targets.TransportUDP)
			tcp = tcp || e.Protocol.Carries(targets.TransportTCP)
		}
	}
	if udp && !tcp && len(listen) > 0 {
		return forward.UDP
	}
	return ""
}

func (a *Agent) wireForward(s forward.Status) localapi.Forward {
	f := localapi.Forward{
		SchemaVersion: localapi.SchemaVersion, Name: s.Name, Network: s.Network, Listen: s.Listen, Target: s.Target, Port: s.Port,
		VNETID: s.VNET, State: s.State, Detail: s.Detail, AllowRemote: s.AllowRemote, AllUsers: s.AllUsers, CreatedAt: s.CreatedAt,
		Open: s.Open, Accepted: s.Accepted, Refused: s.Refused, Sent: s.Sent, Received: s.Received, Drops: s.Drops,
	}
	v := a.view.Load()
	if v != nil {
		if n, ok := v.network(vnet.ID(s.VNET)); ok {
			f.VNETName = n.Name
		}
	}
	if s.State != localapi.ForwardListening {
		return f
	}
	if v == nil || a.plane.Load() == nil {
		f.State, f.Detail = localapi.ForwardDisconnected, fault.From(a.notConnected()).Message
		if v == nil {
			return f
		}
	}
	if _, _, err := v.lookup(nil, s.VNET, s.Target); err != nil {
		f.State, f.Detail = localapi.ForwardTargetGone, fault.From(err).Message
	}
	return f
}
