package agent

import (
	"strconv"
	"strings"
	"sync"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

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
	for _, pattern := range q.Hostnames {
		g, err := targets.ParseGlob(pattern)
		if err != nil {
			return nil, fault.From(err)
		}
		f.Hostnames = append(f.Hostnames, g)
	}
	for _, s := range q.IPs {
		p, err := targets.ParsePrefix(s)
		if err != nil {
			return nil, fault.From(err)
		}
		f.Prefixes = append(f.Prefixes, p)
	}
	for _, id := range q.IDs {
		f.IDs = append(f.IDs, targets.ID(id))
	}
	return f, nil
}

// wireRows are made at the first list, once per state: to make 10,000 of them takes as long as to write them.
type wireRows struct {
	once sync.Once
	list []localapi.Target
}

// wire returns the entries in their order as the local API has them; they are shared and must not be changed.
func (v *view) wire() []localapi.Target {
	v.rows.once.Do(func() {
		names := make(map[vnet.ID]string, len(v.networks))
		for _, n := range v.networks {
			names[n.ID] = n.Name
		}
		v.rows.list = make([]localapi.Target, len(v.entries))
		for i := range v.entries {
			v.rows.list[i] = wireTarget(&v.entries[i], names)
		}
	})
	return v.rows.list
}

// targetList returns what f selects; nil selects everything. Its rows must not be changed.
func (a *Agent) targetList(f *targets.Filter) localapi.TargetList {
	l := localapi.TargetList{
		SchemaVersion: localapi.SchemaVersion, Stale: !a.controlConnected.Load(), Targets: []localapi.Target{},
	}
	v := a.view.Load()
	if v == nil {
		return l
	}
	l.Revision, l.AgeSeconds = v.revision, a.age().Seconds()
	rows := v.wire()
	if f.Empty() {
		l.Targets = rows
		return l
	}
	for i := range v.entries {
		if f.Match(&v.entries[i]) {
			l.Targets = append(l.Targets, rows[i])
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
