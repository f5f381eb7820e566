package proxy

import (
	"context"
	"net"

	"weft/agent/localapi"
)

// PacketDialer opens a UDP flow to what a client asked for. Its errors are *fault.Error.
type PacketDialer interface {
	DialPacket(ctx context.Context, d localapi.Dial) (net.Conn, error)
}

func (s *Server) associate(ctx context.Context, c *conn, user string) error { return nil }
