package gateway

import (
	"maps"
	"sync"
	"sync/atomic"

	"weft/gateway/connectors"
	"weft/gateway/recording"
	"weft/gateway/sessions"
	"weft/gateway/sshproxy"
	"weft/tunnel"
)

// counters count what happened since the start.
type counters struct {
	badStates, cut, probes, probesRefused, probesReplaced, hostKeyAlarms, unrecorded atomic.Uint64

	mu     sync.Mutex
	denied map[string]uint64 // by reason; reasons are constants, so the maps are bounded
	ended  map[string]uint64
}

func (c *counters) deny(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.denied == nil {
		c.denied = make(map[string]uint64)
	}
	c.denied[reason]++
}

func (c *counters) end(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended = make(map[string]uint64)
	}
	c.ended[reason]++
}

// Stats is a snapshot of the gateway's counters.
type Stats struct {
	Revision      uint64
	Tunnel        tunnel.Stats
	Sessions      sessions.Stats
	Connectors    connectors.Stats
	SSH           sshproxy.Stats
	Recording     recording.Stats
	Unrecorded    uint64            // sessions, or parts of them, that went on although they could not be recorded
	Denied        map[string]uint64 // by reason
	Ended         map[string]uint64 // by reason
	Cut           uint64            // flows that a new state ended
	BadStates     uint64            // states that did not compile
	Probes        uint64
	ProbesRefused uint64 // too large
	// ProbesReplaced counts probe flows that a newer one of the same device took the place of.
	ProbesReplaced uint64
	HostKeyAlarms  uint64
	// HostCertificates are those that are presented to SSH clients now; HostCertificatesFailed counts failed renewals.
	HostCertificates       int
	HostCertificatesFailed uint64
	// CertificatesRevoked are those of cut sessions that control was told of; RevocationsDropped those that it was not.
	CertificatesRevoked, RevocationsDropped uint64
	AuditWritten                            uint64
	AuditFailed                             uint64
}

// Stats returns the counters. Before Run they are zero.
func (g *Gateway) Stats() Stats {
	st := Stats{
		Sessions: g.table.Stats(), SSH: g.proxy.Stats(), Cut: g.counts.cut.Load(), BadStates: g.counts.badStates.Load(),
		Probes: g.counts.probes.Load(), ProbesRefused: g.counts.probesRefused.Load(),
		ProbesReplaced:   g.counts.probesReplaced.Load(),
		HostKeyAlarms:    g.counts.hostKeyAlarms.Load(),
		HostCertificates: len(g.hostCerts.signers()), HostCertificatesFailed: g.hostCerts.failures.Load(),
		CertificatesRevoked: g.revocations.done.Load(), RevocationsDropped: g.revocations.dropped.Load(),
	}
	st.Unrecorded = g.counts.unrecorded.Load()
	if g.recorder != nil {
		st.Recording = g.recorder.Stats()
	}
	if view := g.view.Load(); view != nil {
		st.Revision = view.Revision()
		st.Tunnel = g.peers.tunnel.Stats()
		st.Connectors = g.connectors.Stats()
		st.AuditWritten, st.AuditFailed = g.audit.Counts()
	}
	g.counts.mu.Lock()
	defer g.counts.mu.Unlock()
	st.Denied, st.Ended = maps.Clone(g.counts.denied), maps.Clone(g.counts.ended)
	return st
}
