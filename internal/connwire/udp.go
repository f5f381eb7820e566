package connwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
)

// Mux hands the QUIC datagrams of one connection to the UDP flows they belong to.
type Mux struct {
	conn    *quic.Conn
	dropped atomic.Uint64

	mu    sync.RWMutex
	flows map[uint64]func([]byte) // by stream ID
}

// NewMux serves conn; nothing moves until Run.
func NewMux(conn *quic.Conn) *Mux {
	return &Mux{conn: conn, flows: make(map[uint64]func([]byte))}
}

// Dropped counts datagrams that were malformed or belonged to no flow.
func (m *Mux) Dropped() uint64 { return m.dropped.Load() }

// Run dispatches until ctx or the connection ends, and returns why it did.
func (m *Mux) Run(ctx context.Context) error {
	for {
		b, err := m.conn.ReceiveDatagram(ctx)
		if err != nil {
			return fmt.Errorf("receive datagram: %w", err)
		}
		m.dispatch(b)
	}
}

func (m *Mux) dispatch(b []byte) {
	id, payload, err := ParseDatagram(b)
	if err != nil {
		m.dropped.Add(1)
		return
	}
	if id == pingStream {
		return
	}
	m.mu.RLock()
	sink := m.flows[id]
	m.mu.RUnlock()
	if sink == nil {
		m.dropped.Add(1)
		return
	}
	sink(payload)
}

// UDPFlow is one UDP flow of a connection.
type UDPFlow struct {
	mux    *Mux
	id     uint64
	stream *Stream
	sink   func([]byte)

	sendMu sync.Mutex
	buf    []byte // under sendMu
}

// Flow registers the flow on stream: from now on its QUIC datagrams go to sink, which must not block for
// long and must not keep its argument. The caller ends the flow with Close.
func (m *Mux) Flow(stream *Stream, sink func([]byte)) *UDPFlow {
	f := &UDPFlow{mux: m, id: uint64(stream.StreamID()), stream: stream, sink: sink}
	m.mu.Lock()
	m.flows[f.id] = sink
	m.mu.Unlock()
	return f
}

// Receive gives the sink what comes on the stream, until the other end closes
// the flow (nil) or aborts it.
func (f *UDPFlow) Receive() error {
	var buf []byte
	for {
		var err error
		buf, err = ReadFrame(f.stream, buf)
		if err == io.EOF { //nolint:errorlint // the bare end of the stream
			return nil
		}
		if err != nil {
			return err
		}
		f.sink(buf)
	}
}

// Send sends one datagram, as a QUIC datagram if it fits.
func (f *UDPFlow) Send(payload []byte) error {
	f.sendMu.Lock()
	defer f.sendMu.Unlock()
	f.buf = AppendDatagram(f.buf[:0], f.id, payload)
	err := f.mux.conn.SendDatagram(f.buf)
	var large *quic.DatagramTooLargeError
	if !errors.As(err, &large) {
		return err
	}
	if f.buf, err = AppendFrame(f.buf[:0], payload); err != nil {
		return err
	}
	_, err = f.stream.Write(f.buf)
	return err
}

// Close ends the flow in order; the other end's Receive returns.
func (f *UDPFlow) Close() error {
	f.forget()
	return ignoreClosed(f.stream.Close())
}

// Abort resets the flow.
func (f *UDPFlow) Abort() {
	f.forget()
	f.stream.Abort()
}

func (f *UDPFlow) forget() {
	f.mux.mu.Lock()
	delete(f.mux.flows, f.id)
	f.mux.mu.Unlock()
}

// smallDatagramBytes is what a flow reads into until it met a larger datagram.
const smallDatagramBytes = 4 << 10

// CopyDatagrams reads datagrams from src and sends them until src fails; after is called for each (nil: not). A
// datagram that fills the small buffer may have been cut: it is dropped, as UDP may, and the flow reads
// into a large one from then on, so that only flows that need 64 KiB hold them.
func CopyDatagrams(dst interface{ Send([]byte) error }, src io.Reader, after func(bytes int)) error {
	buf := make([]byte, smallDatagramBytes)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return err
		}
		if n == smallDatagramBytes && len(buf) == smallDatagramBytes {
			buf = make([]byte, MaxDatagramBytes)
			continue
		}
		if err := dst.Send(buf[:n]); err != nil {
			return err
		}
		if after != nil {
			after(n)
		}
	}
}
