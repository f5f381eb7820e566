package tunnel

import (
	"context"
	"errors"
	"net/netip"
)

// This file holds the signatures that agent and gateway rely on; each moves to
// its own file with its implementation.

// Dial errors; test with errors.Is.
var (
	ErrRefused     = errors.New("connection refused")
	ErrUnreachable = errors.New("host unreachable")
	ErrProhibited  = errors.New("administratively prohibited")
	ErrTimeout     = errors.New("connection timed out")
	ErrClosed      = errors.New("tunnel closed")
)

// Limits bound what peers can drive; zero fields mean documented defaults.
type Limits struct {
	// MaxDialsInFlight bounds TCP requests not yet accepted or rejected; 0 means 4096.
	MaxDialsInFlight int
	// MaxFlowsPerSource bounds open flows of one source address; 0 means 4096.
	MaxFlowsPerSource int
}

// Stats counts what a tunnel carried and dropped.
type Stats struct {
	FlowsOpen     int64
	DialsInFlight int64
	Dropped       map[string]uint64 // by cause
}

// Tunnel is one end.
type Tunnel struct{}

// TCPRequest is a TCP flow whose handshake is not yet completed.
type TCPRequest struct{}

// UDPRequest is the first datagram of a UDP flow.
type UDPRequest struct{}

// TCPConn is one end of a TCP flow; UDPConn keeps datagram boundaries.
type TCPConn struct{ Conn }

// UDPConn is one UDP flow.
type UDPConn struct{ Conn }

func (r *TCPRequest) Flow() Flow                { panic("not yet") }
func (r *TCPRequest) Accept() (*TCPConn, error) { panic("not yet") }
func (r *TCPRequest) Reject(Rejection)          { panic("not yet") }
func (r *UDPRequest) Flow() Flow                { panic("not yet") }
func (r *UDPRequest) Accept() (*UDPConn, error) { panic("not yet") }
func (r *UDPRequest) Reject(Rejection)          { panic("not yet") }

// New builds the device and brings it up; Close ends it.
func New(cfg Config) (*Tunnel, error) { panic("not yet") }

// Close ends every flow and goroutine.
func (t *Tunnel) Close() error { panic("not yet") }

// PublicKey of this end.
func (t *Tunnel) PublicKey() PublicKey { panic("not yet") }

// ListenPort is the UDP port in use.
func (t *Tunnel) ListenPort() uint16 { panic("not yet") }

// SetPeer adds or updates a peer; idempotent.
func (t *Tunnel) SetPeer(Peer) error { panic("not yet") }

// RemovePeer forgets a peer and aborts nothing else.
func (t *Tunnel) RemovePeer(PublicKey) error { panic("not yet") }

// PeerStats of one peer.
func (t *Tunnel) PeerStats(PublicKey) (PeerStats, bool) { panic("not yet") }

// ForceHandshake expires the session keys and starts a handshake at once.
func (t *Tunnel) ForceHandshake(PublicKey) error { panic("not yet") }

// Rebind reopens the UDP sockets after a network change.
func (t *Tunnel) Rebind() error { panic("not yet") }

// AddAddress adds a tunnel address to a client end.
func (t *Tunnel) AddAddress(netip.Addr) error { panic("not yet") }

// RemoveAddress aborts the flows of an address, then removes it.
func (t *Tunnel) RemoveAddress(netip.Addr) error { panic("not yet") }

// DialTCP opens a flow from local, which must be an address of this end.
func (t *Tunnel) DialTCP(ctx context.Context, local netip.Addr, remote netip.AddrPort) (*TCPConn, error) {
	panic("not yet")
}

// DialUDP opens a UDP flow from local.
func (t *Tunnel) DialUDP(ctx context.Context, local netip.Addr, remote netip.AddrPort) (*UDPConn, error) {
	panic("not yet")
}

// AbortFlows resets every flow that matches (gateway end) and returns how many.
func (t *Tunnel) AbortFlows(match func(Flow) bool) int { panic("not yet") }

// Stats returns the counters.
func (t *Tunnel) Stats() Stats { panic("not yet") }
