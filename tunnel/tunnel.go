// Package tunnel is a WireGuard device over a userspace TCP/IP stack: the one
// data path that the agent and the gateway share. It knows keys, peers and
// addresses; it knows no domain type. See docs/adr/0001-tunnel-addressing.md.
package tunnel

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Config describes one tunnel end.
type Config struct {
	PrivateKey PrivateKey
	// Listen is the UDP address of the WireGuard endpoint. The zero value
	// means every address and a free port; a specified address is the only
	// one bound.
	Listen netip.AddrPort
	// MTUBytes is the largest inner packet; 0 means 1280.
	MTUBytes int
	// Addresses are the tunnel addresses of a client end.
	Addresses []netip.Addr
	// Handler makes this end a gateway: it accepts every destination and
	// hands each new flow to Handler. nil makes a client end, which opens
	// flows and accepts none.
	Handler Handler
	// Limits bound what peers can drive.
	Limits Limits
	Logger *slog.Logger
}

// Handler receives the flows that arrive at a gateway end.
type Handler interface {
	// HandleTCP owns the request: it calls Accept or Reject exactly once.
	// It runs in its own goroutine, so it may dial first.
	HandleTCP(ctx context.Context, r *TCPRequest)
	// HandleUDP must not block: it decides and, if it accepts, serves the
	// flow in a goroutine of its own.
	HandleUDP(ctx context.Context, r *UDPRequest)
}

// Flow is the 4-tuple of a flow as the gateway sees it: Source is a tunnel
// address (so it names device and VNET), Destination is what the client dialled.
type Flow struct{ Source, Destination netip.AddrPort }

// Rejection says how a refused flow looks to the client.
type Rejection uint8

// The ways to refuse a flow.
const (
	RejectRefused     Rejection = iota // TCP reset / ICMP port unreachable: "connection refused"
	RejectProhibited                   // ICMP administratively prohibited: "no route to host" at once
	RejectUnreachable                  // ICMP host unreachable
	RejectSilent                       // no answer; the client retries and times out
)

// Peer is the other end of a WireGuard tunnel.
type Peer struct {
	PublicKey  PublicKey
	Endpoint   netip.AddrPort // zero: learned from the peer's packets
	AllowedIPs []netip.Prefix
	Keepalive  time.Duration // zero: none
}

// PeerStats is a snapshot of one peer.
type PeerStats struct {
	Endpoint      netip.AddrPort
	LastHandshake time.Time // zero: never
	RxBytes       uint64
	TxBytes       uint64
}

// Conn is what both ends of a TCP flow offer.
type Conn interface {
	net.Conn
	CloseWrite() error
	Abort()
}
