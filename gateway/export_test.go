package gateway

import (
	"time"

	"weft/tunnel"
)

// SetTunnelForTest replaces tunnel.New.
func (g *Gateway) SetTunnelForTest(f func(tunnel.Config) (*tunnel.Tunnel, error)) { g.newTunnel = f }

// SetNowForTest replaces time.Now where the age of the state is judged.
func (g *Gateway) SetNowForTest(f func() time.Time) { g.now = f }
