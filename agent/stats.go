package agent

import (
	"weft/agent/localapi/server"
	"weft/agent/proxy"
	"weft/tunnel"
	"weft/vnet"
)

// Stats counts what the agent carries and refused.
type Stats struct {
	FlowsOpen    int
	FlowsByVNET  map[vnet.ID]int
	FlowsRefused uint64 // over the limit
	Proxy        proxy.Stats
	LocalAPI     server.Stats
	Tunnel       tunnel.Stats // zero while there is none
}

// Stats returns the counters; those of the servers are zero before Run.
func (a *Agent) Stats() Stats {
	var s Stats
	s.FlowsOpen, s.FlowsByVNET, s.FlowsRefused = a.flows.count()
	a.mu.Lock()
	px, api := a.proxy, a.api
	a.mu.Unlock()
	if px != nil {
		s.Proxy = px.Stats()
	}
	if api != nil {
		s.LocalAPI = api.Stats()
	}
	if p := a.plane.Load(); p != nil {
		s.Tunnel = p.tun.Stats()
	}
	return s
}
