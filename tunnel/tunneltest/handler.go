package tunneltest

import (
	"context"

	"weft/tunnel"
)

// Handler is a tunnel.Handler made of functions; a nil one rejects as refused.
type Handler struct {
	TCP func(context.Context, *tunnel.TCPRequest)
	UDP func(context.Context, *tunnel.UDPRequest)
}

var _ tunnel.Handler = Handler{}

// HandleTCP implements tunnel.Handler.
func (h Handler) HandleTCP(ctx context.Context, r *tunnel.TCPRequest) {
	if h.TCP == nil {
		r.Reject(tunnel.RejectRefused)
		return
	}
	h.TCP(ctx, r)
}

// HandleUDP implements tunnel.Handler.
func (h Handler) HandleUDP(ctx context.Context, r *tunnel.UDPRequest) {
	if h.UDP == nil {
		r.Reject(tunnel.RejectRefused)
		return
	}
	h.UDP(ctx, r)
}

// rejectAll refuses every flow.
type rejectAll = Handler
