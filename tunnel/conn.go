package tunnel

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// flowConn is what TCP and UDP flows share: an endpoint of the netstack, its
// addresses and its place in the flow table.
type flowConn struct {
	ep      tcpip.Endpoint
	wq      *waiter.Queue
	local   netip.AddrPort
	remote  netip.AddrPort
	net     string
	workers *workers // of the end that it belongs to

	rd, wr  ioWait
	readMu  sync.Mutex // one reader at a time
	writeMu sync.Mutex // one writer at a time, so that a write stays whole
	granted int64      // see openWindow; guarded by writeMu

	sent, received atomic.Uint64 // bytes of the stream

	closeOnce sync.Once
	onClose   func() // leaves the flow table
	onEnd     func() // set before the flow is in use; nil: nothing
}

func (c *flowConn) init(network string, w *workers, ep tcpip.Endpoint, wq *waiter.Queue, local, remote netip.AddrPort) {
	c.ep, c.wq, c.local, c.remote, c.net, c.workers = ep, wq, local, remote, network, w
	c.rd.init(waiter.ReadableEvents | waiter.EventRdHUp)
	c.wr.init(waiter.WritableEvents)
	if network == "tcp" {
		c.wr.stalled = c.openWindow
	}
}

// windowGrant is by how much openWindow widens a receive buffer, half of which the netstack gives as window; maxGranted
// is what it gives to one flow in all, so that a peer cannot make memory of it.
const (
	windowGrant = 8 << 10
	maxGranted  = 256 << 10
)

// openWindow widens a receive window that is all but closed while a write waits. The netstack's window is rounded down
// to a multiple of 256 bytes, so that the last of it shrinks what was promised; a segment sent on that promise is then
// out of the window, and so is every acknowledgement behind it (gVisor 2026-09, receiver.acceptable; RFC 9293 section
// 3.8.6 wants valid ones to count). While whoever owns the flow does not read, such as an echo whose write waits, both
// directions would stand still for ever. It runs in the goroutine of the write that waits.
func (c *flowConn) openWindow() {
	waiting, err := c.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
	if err != nil {
		return
	}
	so := c.ep.SocketOptions()
	size := so.GetReceiveBufferSize()
	if size/2-int64(waiting) >= windowGrant/4 || c.granted >= maxGranted {
		return
	}
	c.granted += windowGrant
	so.SetReceiveBufferSize(size+windowGrant, true)
}

// end closes the flow once; with abort it is reset instead of finished.
func (c *flowConn) end(abort bool) bool {
	did := false
	c.closeOnce.Do(func() {
		did = true
		if abort {
			c.ep.Abort()
		}
		c.ep.Close()
		c.rd.close(c.wq)
		c.wr.close(c.wq)
		if c.onClose != nil {
			c.onClose()
		}
		if c.onEnd != nil {
			c.onEnd()
		}
	})
	return did
}

// Close ends the flow. What was written is still delivered. A second Close
// returns net.ErrClosed.
func (c *flowConn) Close() error {
	if !c.end(false) {
		return c.opError("close", net.ErrClosed)
	}
	return nil
}

// Abort ends the flow at once: TCP sends a reset, so that the other end
// cannot take it for an orderly end. Data not yet sent is lost.
func (c *flowConn) Abort() { c.end(true) }

// SetDeadline implements net.Conn.
func (c *flowConn) SetDeadline(t time.Time) error {
	c.rd.setDeadline(t)
	c.wr.setDeadline(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *flowConn) SetReadDeadline(t time.Time) error {
	c.rd.setDeadline(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *flowConn) SetWriteDeadline(t time.Time) error {
	c.wr.setDeadline(t)
	return nil
}

func (c *flowConn) addr(ap netip.AddrPort) net.Addr {
	if c.net == "udp" {
		return net.UDPAddrFromAddrPort(ap)
	}
	return net.TCPAddrFromAddrPort(ap)
}

// LocalAddr implements net.Conn.
func (c *flowConn) LocalAddr() net.Addr { return c.addr(c.local) }

// RemoteAddr implements net.Conn.
func (c *flowConn) RemoteAddr() net.Addr { return c.addr(c.remote) }

// LocalAddrPort is LocalAddr without an allocation.
func (c *flowConn) LocalAddrPort() netip.AddrPort { return c.local }

// RemoteAddrPort is RemoteAddr without an allocation.
func (c *flowConn) RemoteAddrPort() netip.AddrPort { return c.remote }

// Bytes is how many bytes the netstack took from this end, and gave to it.
func (c *flowConn) Bytes() (sent, received uint64) { return c.sent.Load(), c.received.Load() }

// opError gives an error the form that callers of net know. io.EOF stays bare.
func (c *flowConn) opError(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	var ne netError
	if errors.As(err, &ne) {
		if _, ok := ne.err.(*tcpip.ErrClosedForReceive); ok {
			return io.EOF
		}
		err = ioError(ne.err)
	}
	return &net.OpError{Op: op, Net: c.net, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// TCPConn is one end of a TCP flow. It implements net.Conn, io.WriterTo and
// io.ReaderFrom; io.Copy in either direction holds no buffer while the flow is
// idle. It is safe for concurrent use.
type TCPConn struct{ flowConn }

var (
	_ Conn          = (*TCPConn)(nil)
	_ io.WriterTo   = (*TCPConn)(nil)
	_ io.ReaderFrom = (*TCPConn)(nil)
)

// Read implements net.Conn.
func (c *TCPConn) Read(b []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if len(b) == 0 {
		return 0, c.opError("read", c.rd.check())
	}
	n := 0
	err := c.rd.do(c.wq, func() tcpip.Error {
		var terr tcpip.Error
		n, terr = c.tryRead(b)
		return terr
	})
	return n, c.opError("read", err)
}

// tryRead reads what is there, without waiting.
func (c *TCPConn) tryRead(b []byte) (int, tcpip.Error) {
	w := tcpip.SliceWriter(b)
	res, err := c.ep.Read(&w, tcpip.ReadOptions{})
	if res.Count > 0 {
		c.ep.ModerateRecvBuf(res.Count)
		c.received.Add(uint64(res.Count))
		return res.Count, nil
	}
	if err == nil {
		err = &tcpip.ErrWouldBlock{}
	}
	return 0, err
}

// Write implements net.Conn. It returns when the netstack has taken all of b.
func (c *TCPConn) Write(b []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	n, err := c.writeLocked(b)
	return n, c.opError("write", err)
}

func (c *TCPConn) writeLocked(b []byte) (int, error) {
	if err := c.wr.check(); err != nil {
		return 0, err
	}
	var r bytes.Reader
	n := 0
	for n < len(b) {
		err := c.wr.do(c.wq, func() tcpip.Error {
			r.Reset(b[n:])
			took, terr := c.ep.Write(&r, tcpip.WriteOptions{})
			n += int(took)
			if took > 0 {
				c.sent.Add(uint64(took))
				return nil
			}
			return terr
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// CloseWrite sends FIN: the other end reads the end of the stream, and may
// still write.
func (c *TCPConn) CloseWrite() error {
	if err := c.ep.Shutdown(tcpip.ShutdownWrite); err != nil {
		return c.opError("close", netError{err})
	}
	return nil
}

// UDPConn is one UDP flow; it keeps datagram boundaries. It implements
// net.Conn and is safe for concurrent use.
type UDPConn struct {
	flowConn
	failure atomic.Pointer[error] // what ICMP said
}

var _ Conn = (*UDPConn)(nil)

// fail makes the next Read or Write, also one that waits, return err.
func (c *UDPConn) fail(err error) {
	c.failure.Store(&err)
	c.rd.notify()
	c.wr.notify()
}

// failed returns and clears what ICMP said.
func (c *UDPConn) failed() error {
	if c.failure.Load() == nil {
		return nil
	}
	if p := c.failure.Swap(nil); p != nil {
		return *p
	}
	return nil
}

// Read returns one datagram; what does not fit in b is lost. A refusal that
// came by ICMP is returned by one Read or Write, as ErrRefused, ErrProhibited
// or ErrUnreachable; it ends a Read that waits.
func (c *UDPConn) Read(b []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	n := 0
	var refused error
	err := c.rd.do(c.wq, func() tcpip.Error {
		if refused = c.failed(); refused != nil {
			return nil
		}
		w := tcpip.SliceWriter(b)
		res, terr := c.ep.Read(&w, tcpip.ReadOptions{})
		n = res.Count
		c.received.Add(uint64(n))
		return terr
	})
	if refused != nil {
		err = refused
	}
	return n, c.opError("read", err)
}

// Write sends one datagram.
func (c *UDPConn) Write(b []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if err := c.failed(); err != nil {
		return 0, c.opError("write", err)
	}
	var r bytes.Reader
	n := 0
	err := c.wr.do(c.wq, func() tcpip.Error {
		r.Reset(b)
		took, terr := c.ep.Write(&r, tcpip.WriteOptions{})
		n = int(took)
		c.sent.Add(uint64(n))
		return terr
	})
	return n, c.opError("write", err)
}

// CloseWrite ends sending.
func (c *UDPConn) CloseWrite() error {
	if err := c.ep.Shutdown(tcpip.ShutdownWrite); err != nil {
		return c.opError("close", netError{err})
	}
	return nil
}
