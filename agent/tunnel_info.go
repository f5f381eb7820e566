package agent

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"weft/agent/localapi"
)

const tunnelMTU = 1280 // tunnel.Config's default

// Tunnel implements server.Agent.
func (a *Agent) Tunnel() localapi.Tunnel {
	t := localapi.Tunnel{
		SchemaVersion: localapi.SchemaVersion, Protocol: "wireguard", MTU: tunnelMTU, Endpoints: []string{},
		Drops: []localapi.Counter{}, VNETs: []localapi.TunnelVNET{}, EndpointOrigin: "control",
	}
	if r := a.registration(); r != nil {
		t.PublicKey = r.PublicKey
	}
	p := a.preferred()
	if _, from := a.endpointOverride(&p); from != localapi.OriginDefault {
		t.EndpointOrigin = from
	}
	a.fillLimits(&t)
	a.fillVNETs(&t)
	if pl := a.plane.Load(); pl != nil {
		pl.link.fill(&t)
	}
	return t
}

// fill writes what the link knows.
func (l *link) fill(t *localapi.Tunnel) {
	state, _, _, _ := l.a.status.current()
	t.Up = state == localapi.Connected
	t.PublicKey, t.ListenPort = l.tun.PublicKey().String(), l.tun.ListenPort()
	l.mu.Lock()
	if len(l.candidates) > 0 {
		c := l.candidates[l.current]
		t.Gateway, t.GatewayPublicKey = c.name, c.key.String()
	}
	for _, c := range l.candidates {
		t.Endpoints = append(t.Endpoints, c.endpoint)
	}
	if l.endpoint.IsValid() {
		t.Endpoint = l.endpoint.String()
	}
	t.RTTMS = float64(l.latency.Microseconds()) / 1000
	used := l.used
	l.mu.Unlock()
	answered := l.probesAnswered.Load() // first, so that it is never the larger
	t.ProbesSent, t.ProbesAnswered = l.probesSent.Load(), answered
	t.LossPercent = loss(t.ProbesSent, t.ProbesAnswered)
	if s, ok := l.tun.PeerStats(used); ok {
		t.SentBytes, t.ReceivedBytes = s.TxBytes, s.RxBytes
		if !s.LastHandshake.IsZero() {
			at := s.LastHandshake.UTC()
			t.LastHandshakeAt, t.HandshakeAgeSeconds = &at, max(0, time.Since(at).Seconds())
		}
	}
	s := l.tun.Stats()
	t.SentPackets, t.ReceivedPackets = s.PacketsSent, s.PacketsReceived
	for _, name := range slices.Sorted(maps.Keys(s.Dropped)) {
		t.Drops = append(t.Drops, localapi.Counter{Name: name, Count: s.Dropped[name]})
	}
}

// loss is the share of probes without an answer; one that is on its way does not count as lost.
func loss(sent, answered uint64) float64 {
	if sent < 2 || answered+1 >= sent {
		return 0
	}
	return 100 * float64(sent-answered-1) / float64(sent)
}

// fillLimits counts what the agent's own limits refused.
func (a *Agent) fillLimits(t *localapi.Tunnel) {
	s := a.Stats()
	t.Limits = []localapi.Counter{
		{Name: "flows", Count: s.FlowsRefused},
		{Name: "local_api_connections", Count: s.LocalAPI.OverConns},
		{Name: "local_api_dials", Count: s.LocalAPI.OverDials},
		{Name: "local_api_not_allowed", Count: s.LocalAPI.NotAllowed},
		{Name: "local_api_streams", Count: s.LocalAPI.OverStreams},
		{Name: "proxy_connections", Count: s.Proxy.OverLimit},
		{Name: "proxy_datagrams", Count: s.Proxy.UDPDrops},
		{Name: "proxy_malformed", Count: s.Proxy.Malformed},
		{Name: "proxy_not_allowed", Count: s.Proxy.NotAllowed},
		{Name: "proxy_refused", Count: s.Proxy.Refused},
	}
}

func (a *Agent) fillVNETs(t *localapi.Tunnel) {
	v, sel, traffic := a.view.Load(), a.selected.Load(), a.flows.traffic()
	if v == nil {
		return
	}
	for _, n := range v.networks {
		w := localapi.TunnelVNET{
			VNETID: string(n.ID), VNETName: n.Name, Selected: sel != nil && sel.ID == n.ID,
			IPv4: addrText(v.addrs[n.ID].v4), IPv6: addrText(v.addrs[n.ID].v6),
		}
		f := traffic[n.ID]
		w.FlowsOpen, w.FlowsOpened, w.SentBytes, w.ReceivedBytes = f.open, f.opened, f.sent, f.received
		t.VNETs = append(t.VNETs, w)
	}
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
