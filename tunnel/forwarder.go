package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

var errDecided = errors.New("flow was already accepted or rejected")

// forward makes the stack hand every new flow to the handler.
func (t *Tunnel) forward(h Handler) {
	fwd := tcp.NewForwarder(t.stack, 0, t.limits.MaxDialsInFlight+1, func(r *tcp.ForwarderRequest) {
		t.serveTCP(h, r)
	})
	t.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		return t.arriveTCP(fwd, id, pkt)
	})
	t.stack.SetTransportProtocolHandler(udp.ProtocolNumber, func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		return t.arriveUDP(h, id, pkt)
	})
	// Without a handler the stack answers echo requests to every address.
	ping := func(stack.TransportEndpointID, *stack.PacketBuffer) bool {
		t.drops.add(dropPing)
		return true
	}
	t.stack.SetTransportProtocolHandler(icmp.ProtocolNumber4, ping)
	t.stack.SetTransportProtocolHandler(icmp.ProtocolNumber6, ping)
}

// flowOf names a flow as the gateway sees it: the stack's remote end is the
// client.
func flowOf(id stack.TransportEndpointID) Flow {
	return Flow{
		Source:      addrPort(id.RemoteAddress, id.RemotePort),
		Destination: addrPort(id.LocalAddress, id.LocalPort),
	}
}

// arriveTCP runs on the receive path of the peer. Anything but a SYN gets the
// stack's own answer to a segment of no connection.
func (t *Tunnel) arriveTCP(fwd *tcp.Forwarder, id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.TCP(pkt.TransportHeader().Slice())
	if len(h) < tcpHeaderLen || !h.Flags().Contains(header.TCPFlagSyn) || h.Flags().Contains(header.TCPFlagAck) {
		return false
	}
	flow := flowOf(id)
	src := t.peers.source(flow.Source.Addr())
	switch t.flows.beginDial(flow, src, h.SequenceNumber()) {
	case dialRepeated, dialIgnore:
		return true
	case dialReset:
		return false // the stack resets
	case dialNew:
	}
	if !fwd.HandlePacket(id, pkt) {
		t.flows.endDial(flow, src)
		return false
	}
	return true
}

// serveTCP runs in a goroutine per request.
func (t *Tunnel) serveTCP(h Handler, fr *tcp.ForwarderRequest) {
	flow := flowOf(fr.ID())
	r := &TCPRequest{t: t, fr: fr, flow: flow, source: t.peers.source(flow.Source.Addr())}
	if !t.handlers.add() {
		r.Reject(RejectSilent)
		return
	}
	defer t.handlers.done()
	if cause, ok := t.flows.reserve(r.source); !ok {
		t.drops.add(cause)
		r.Reject(RejectRefused)
		return
	}
	r.reserved = true
	h.HandleTCP(t.ctx, r)
	if !r.decided.Load() {
		t.drops.add(dropUndecided)
		r.Reject(RejectRefused)
	}
}

// TCPRequest is a TCP flow whose handshake is not yet completed: the client
// waits, so the target can be dialled first.
type TCPRequest struct {
	t        *Tunnel
	fr       *tcp.ForwarderRequest
	flow     Flow
	source   sourceKey
	reserved bool
	decided  atomic.Bool
}

// Flow is the 4-tuple.
func (r *TCPRequest) Flow() Flow { return r.flow }

// Accept completes the handshake with the client, which blocks for a round
// trip. The caller owns the connection. An error means that the client has
// gone, or that the request was decided before.
func (r *TCPRequest) Accept() (*TCPConn, error) {
	if !r.decided.CompareAndSwap(false, true) {
		return nil, errDecided
	}
	wq := new(waiter.Queue)
	ep, terr := r.fr.CreateEndpoint(wq)
	r.complete(false)
	if terr != nil {
		r.t.flows.release(r.source)
		r.t.drops.add(dropHandshakeFailed)
		return nil, fmt.Errorf("complete handshake with %s: %w", r.flow.Source, dialError(terr))
	}
	c := new(TCPConn)
	c.init("tcp", &r.t.workers, ep, wq, r.flow.Destination, r.flow.Source)
	if err := tuneTCP(ep); err != nil {
		c.Abort()
		r.t.flows.release(r.source)
		return nil, err
	}
	limitBuffers(ep, r.t.flows.held(r.source))
	if !r.t.flows.add(&c.flowConn, r.flow, r.source) {
		return nil, ErrClosed
	}
	return c, nil
}

// Reject refuses the flow in the given way. After Accept or Reject it does
// nothing.
func (r *TCPRequest) Reject(how Rejection) {
	if !r.decided.CompareAndSwap(false, true) {
		return
	}
	if r.reserved {
		r.t.flows.release(r.source)
	}
	if how == RejectProhibited || how == RejectUnreachable {
		var head [8]byte // what RFC 792 wants of the packet: ports and sequence number
		binary.BigEndian.PutUint16(head[0:], r.flow.Source.Port())
		binary.BigEndian.PutUint16(head[2:], r.flow.Destination.Port())
		binary.BigEndian.PutUint32(head[4:], r.t.flows.dialSequence(r.flow))
		r.t.sendUnreachable(r.flow, protoTCP, tcpHeaderLen, head, how)
	}
	r.complete(how == RejectRefused)
}

// complete ends the request, first for the netstack: a SYN that is repeated in
// between is still ours to absorb, and must not count as a new request.
func (r *TCPRequest) complete(reset bool) {
	r.fr.Complete(reset)
	r.t.flows.endDial(r.flow, r.source)
}

// arriveUDP runs on the receive path of the peer for the first datagram of a
// flow. False makes the stack answer "port unreachable".
func (t *Tunnel) arriveUDP(h Handler, id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	uh := pkt.TransportHeader().Slice()
	if len(uh) < udpHeaderLen {
		return true
	}
	flow := flowOf(id)
	r := &UDPRequest{t: t, flow: flow, source: t.peers.source(flow.Source.Addr()), id: id, pkt: pkt}
	if !t.handlers.add() {
		return true
	}
	defer t.handlers.done()
	if cause, ok := t.flows.reserve(r.source); !ok {
		t.drops.add(cause)
		return false
	}
	copy(r.head[:], uh)
	r.length = udpHeaderLen + pkt.Data().Size()
	h.HandleUDP(t.ctx, r)
	if r.decided.CompareAndSwap(false, true) {
		t.drops.add(dropUndecided)
		t.flows.release(r.source)
		return false
	}
	return r.handled
}

// UDPRequest is the first datagram of a UDP flow. It is valid only during
// HandleUDP.
type UDPRequest struct {
	t       *Tunnel
	flow    Flow
	source  sourceKey
	id      stack.TransportEndpointID
	pkt     *stack.PacketBuffer
	head    [8]byte
	length  int
	decided atomic.Bool
	handled bool // false: the stack answers port unreachable
}

// Flow is the 4-tuple.
func (r *UDPRequest) Flow() Flow { return r.flow }

// Accept opens the flow; the first datagram is there to be read.
func (r *UDPRequest) Accept() (*UDPConn, error) {
	if !r.decided.CompareAndSwap(false, true) {
		return nil, errDecided
	}
	r.handled = true
	wq := new(waiter.Queue)
	ep, terr := udp.NewForwarderRequest(r.t.stack, r.id, r.pkt.Clone()).CreateEndpoint(wq)
	if terr != nil {
		r.t.flows.release(r.source)
		return nil, fmt.Errorf("open UDP flow from %s: %s", r.flow.Source, terr)
	}
	c := new(UDPConn)
	c.init("udp", &r.t.workers, ep, wq, r.flow.Destination, r.flow.Source)
	if !r.t.flows.add(&c.flowConn, r.flow, r.source) {
		return nil, ErrClosed
	}
	return c, nil
}

// Reject refuses the flow. After Accept or Reject it does nothing.
func (r *UDPRequest) Reject(how Rejection) {
	if !r.decided.CompareAndSwap(false, true) {
		return
	}
	r.t.flows.release(r.source)
	r.handled = how != RejectRefused
	if how == RejectProhibited || how == RejectUnreachable {
		r.t.sendUnreachable(r.flow, protoUDP, r.length, r.head, how)
	}
}
