package gateway

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/gateway/audit"
	"weft/tunnel"
)

// SetTunnelForTest replaces tunnel.New.
func (g *Gateway) SetTunnelForTest(f func(tunnel.Config) (*tunnel.Tunnel, error)) { g.newTunnel = f }

// SetNowForTest replaces time.Now where the age of the state is judged.
func (g *Gateway) SetNowForTest(f func() time.Time) { g.now = f }

// SetHostCertSettleForTest replaces how long agents have to hear of a new host CA.
func (g *Gateway) SetHostCertSettleForTest(d time.Duration) { g.hostCerts.settle = d }

// HostCertsForTest are host certificates without a gateway.
type HostCertsForTest struct{ h *hostCerts }

// NewHostCertsForTest makes those of one key.
func NewHostCertsForTest(dir string, key ssh.Signer, sign func(context.Context, ssh.PublicKey) (*ssh.Certificate, error), log *slog.Logger) HostCertsForTest {
	h := loadHostCerts(dir, []ssh.Signer{key}, []string{"key"}, log)
	h.sign = sign
	return HostCertsForTest{h}
}

// Run keeps them.
func (c HostCertsForTest) Run(ctx context.Context) error { return c.h.run(ctx) }

// Shown is how many are shown now.
func (c HostCertsForTest) Shown() int { return len(c.h.signers()) }

// SetUDPIdleForTest replaces how long a UDP flow may be silent.
func (g *Gateway) SetUDPIdleForTest(d time.Duration) { g.udpIdle = d }

// SetAuditForTest replaces the audit file.
func (g *Gateway) SetAuditForTest(l *audit.Log) {
	g.openAudit = func(string) (*audit.Log, error) { return l, nil }
}

// BytesDownForTest is what all live flows have sent to their clients.
func (g *Gateway) BytesDownForTest() int64 {
	var n int64
	for _, s := range g.table.All() {
		n += s.Counts.Down.Load()
	}
	return n
}

// ExplainsRefusedForTest counts questions over the limit.
func (g *Gateway) ExplainsRefusedForTest() uint64 { return g.explains.refusals() }

// ParseQuestionForTest reads what a device sent.
var ParseQuestionForTest = parseQuestion

// SessionsForTest answers control's question about the sessions.
func (g *Gateway) SessionsForTest(q api.SessionsQuestion) []api.GatewayReply {
	return g.sessionParts(&q)
}

// KillForTest answers control's question to end a session.
func (g *Gateway) KillForTest(ctx context.Context, q api.KillQuestion) *api.KillAnswer {
	return g.kill(ctx, &q)
}

// ExplainForTest answers control's question about a flow.
func (g *Gateway) ExplainForTest(ctx context.Context, device string, q api.FlowQuestion) api.FlowAnswer {
	return g.explain(ctx, device, q, true)
}
