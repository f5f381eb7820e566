package agent

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/procname"
	"weft/internal/kind"
	"weft/vnet"
)

// Flows implements server.Agent: the open flows, oldest first. vnets and names select; none selects all.
func (a *Agent) Flows(vnets, names []string) (localapi.FlowList, error) {
	l := localapi.FlowList{SchemaVersion: localapi.SchemaVersion, Flows: []localapi.Flow{}}
	ids, err := a.networkIDs(vnets)
	if err != nil {
		return l, err
	}
	now := time.Now()
	open := a.flows.all()
	clients := procname.New()
	for _, f := range open {
		w := wireFlow(f, now)
		if (len(vnets) == 0 || slices.Contains(ids, vnet.ID(w.VNETID))) && isNamed(&w, names) {
			w.PID, w.Program = clients.Of(f.info().from.PID, f.info().from.Client)
			l.Flows = append(l.Flows, w)
		}
	}
	slices.SortFunc(l.Flows, func(x, y localapi.Flow) int {
		return cmp.Or(cmp.Compare(len(x.ID), len(y.ID)), cmp.Compare(x.ID, y.ID)) // numbers without leading zeros
	})
	return l, nil
}

func wireFlow(f openFlow, now time.Time) localapi.Flow {
	i := f.info()
	w := localapi.Flow{
		ID: strconv.FormatUint(i.id, 10), Protocol: "udp", Entrance: string(i.from.Entrance),
		TargetID: string(i.dst.target), Hostname: i.dst.hostname, IP: i.dst.remote.Addr().String(), Port: i.dst.remote.Port(),
		VNETID: string(i.dst.network.ID), VNETName: i.dst.network.Name, SourceIP: i.dst.local.String(),
		OpenedAt: i.opened.Round(0), AgeSeconds: now.Sub(i.opened).Seconds(),
	}
	if _, stream := f.(*flow); stream {
		w.Protocol = "tcp"
	}
	if i.from.Client.IsValid() {
		w.Client = i.from.Client.String()
	}
	w.SentBytes, w.ReceivedBytes = f.Bytes()
	return w
}

// isNamed reports whether a flow goes to one of the names: a hostname, HOSTNAME.VNET, target ID or address.
func isNamed(f *localapi.Flow, names []string) bool {
	return len(names) == 0 || slices.ContainsFunc(names, func(n string) bool {
		return f.Hostname != "" && (strings.EqualFold(n, f.Hostname) || strings.EqualFold(n, f.Hostname+"."+f.VNETName)) ||
			n == f.IP || f.TargetID != "" && strings.EqualFold(n, f.TargetID)
	})
}

// networkIDs reads names or IDs of VNETs. A flow may be left of a VNET that the device has lost: its ID still works.
func (a *Agent) networkIDs(refs []string) ([]vnet.ID, error) {
	var ids []vnet.ID
	v := a.view.Load()
	for _, ref := range refs {
		var networks []vnet.Network
		if v != nil {
			networks = v.networks
		}
		for _, f := range a.flows.all() {
			if n := f.info().dst.network; !slices.ContainsFunc(networks, func(o vnet.Network) bool { return o.ID == n.ID }) {
				networks = append(slices.Clip(networks), n)
			}
		}
		n, err := vnet.Resolve(networks, ref)
		if err != nil {
			return nil, vnetFault(err)
		}
		ids = append(ids, n.ID)
	}
	return ids, nil
}

// CloseFlows implements server.Agent: it resets flows, so that no program takes the end for an orderly one.
func (a *Agent) CloseFlows(c localapi.CloseFlows) (localapi.FlowsClosed, error) {
	done := localapi.FlowsClosed{SchemaVersion: localapi.SchemaVersion}
	switch {
	case c.ID != "" && (c.All || c.VNET != ""), c.ID == "" && !c.All && c.VNET == "":
		return done, fault.New(string(kind.Invalid), "name one flow by its ID, or all, or all of a virtual network").
			WithHint("warp-cli flow list")
	case c.ID != "":
		id, err := strconv.ParseUint(c.ID, 10, 64)
		if err == nil {
			done.Closed = a.flows.abort(func(i *flowInfo) bool { return i.id == id })
		}
		if done.Closed == 0 {
			return done, fault.New(string(kind.NotFound), "no open connection has the ID %q", fault.Clip(c.ID)).
				WithHint("it may have ended by itself; see: warp-cli flow list")
		}
		return done, nil
	}
	var refs []string
	if c.VNET != "" {
		refs = []string{c.VNET}
	}
	ids, err := a.networkIDs(refs)
	if err != nil {
		return done, err
	}
	done.Closed = a.flows.abort(func(i *flowInfo) bool { return c.VNET == "" || slices.Contains(ids, i.dst.network.ID) })
	return done, nil
}
