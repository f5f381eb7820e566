package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weft/agent/fault"
	"weft/agent/origin"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// maxDatagramBytes bounds a datagram, since each client costs a buffer; longer ones are dropped, never cut.
const maxDatagramBytes = 16 << 10

// datagrams forwards UDP: each client's address has a flow of its own.
type datagrams struct {
	*net.UDPConn

	mu     sync.Mutex // guards what follows
	closed bool
	flows  map[netip.AddrPort]*datagramFlow
}

// datagramFlow is the flow of one client.
type datagramFlow struct {
	net.Conn
	sender *localsock.UDPSender // nil: everybody is let in
	used   atomic.Int64         // Unix seconds
}

func listenUDP(ctx context.Context, at string) (listener, error) {
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", at)
	if err != nil {
		return nil, listenFault(at, err)
	}
	uc, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fault.New(string(kind.Internal), "a packet socket of an unknown kind"), pc.Close())
	}
	return &datagrams{UDPConn: uc, flows: map[netip.AddrPort]*datagramFlow{}}, nil
}

func (d *datagrams) address() string { return d.LocalAddr().String() }

func (d *datagrams) serve(ctx context.Context, f *forward) error {
	stop := context.AfterFunc(ctx, d.closeAll)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer d.closeAll()
	buf := make([]byte, maxDatagramBytes+1)
	for {
		n, from, err := d.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			pause(ctx, 20*time.Millisecond) // an error that an earlier datagram brought back
			continue
		}
		if n > maxDatagramBytes || !d.pass(ctx, f, &wg, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), buf[:n]) {
			f.drops.Add(1)
		}
	}
}

// pass reports whether a flow took the datagram.
func (d *datagrams) pass(ctx context.Context, f *forward, wg *sync.WaitGroup, from netip.AddrPort, b []byte) bool {
	d.mu.Lock()
	fl, ok := d.flows[from]
	full := d.closed || len(d.flows) >= f.m.cfg.MaxConns
	d.mu.Unlock()
	if !ok {
		sender := f.sender(from)
		if full || sender != nil && !sender.OK() {
			f.refused.Add(1)
			return false
		}
		if fl = d.open(ctx, f, wg, from, sender); fl == nil {
			f.refused.Add(1)
			return false
		}
	}
	if !fl.mine() {
		f.refused.Add(1)
		d.drop(from, fl)
		return false
	}
	fl.touch(f.m.cfg.UDPIdle)
	n, err := fl.Write(b)
	if err != nil {
		d.drop(from, fl) // what an earlier datagram met; the next one tries anew
		return false
	}
	f.sent.Add(uint64(n))
	return true
}

func (d *datagrams) open(ctx context.Context, f *forward, wg *sync.WaitGroup, from netip.AddrPort, sender *localsock.UDPSender) *datagramFlow {
	// Opening a UDP flow sends nothing and waits for nobody.
	asked := origin.With(ctx, origin.Origin{Entrance: origin.Forward, Client: from})
	dctx, cancel := context.WithTimeout(asked, f.m.cfg.DialTimeout)
	c, err := f.m.cfg.Dialer.DialPacket(dctx, f.dial())
	cancel()
	if err != nil {
		f.m.log.DebugContext(ctx, "forward refused a datagram", "name", f.spec.Name, "src", from, "error", err)
		return nil
	}
	fl := &datagramFlow{Conn: c, sender: sender}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = c.Close()
		return nil
	}
	d.flows[from] = fl
	f.accepted.Add(1)
	f.open.Add(1)
	wg.Go(func() {
		defer f.open.Add(-1)
		d.answer(f, from, fl)
	})
	return fl
}

// answer passes what the target sends back, until the flow is idle or closed.
func (d *datagrams) answer(f *forward, to netip.AddrPort, fl *datagramFlow) {
	defer d.drop(to, fl)
	buf := make([]byte, maxDatagramBytes+1)
	for {
		n, err := fl.Read(buf)
		if err != nil {
			return
		}
		if !fl.mine() {
			f.drops.Add(1)
			return
		}
		fl.touch(f.m.cfg.UDPIdle)
		if n <= maxDatagramBytes {
			_, err = d.WriteToUDPAddrPort(buf[:n], to)
		}
		if n > maxDatagramBytes || err != nil {
			f.drops.Add(1)
			continue
		}
		f.received.Add(uint64(n))
	}
}

func (d *datagrams) drop(from netip.AddrPort, fl *datagramFlow) {
	d.mu.Lock()
	if d.flows[from] == fl {
		delete(d.flows, from)
	}
	d.mu.Unlock()
	_ = fl.Close()
}

func (d *datagrams) closeAll() {
	d.mu.Lock()
	d.closed = true
	flows := d.flows
	d.flows = nil
	d.mu.Unlock()
	_ = d.Close()
	for _, fl := range flows {
		_ = fl.Close()
	}
}

// touch moves the deadline of a flow, at most once a second.
func (f *datagramFlow) touch(idle time.Duration) {
	now := time.Now()
	if f.used.Swap(now.Unix()) != now.Unix() {
		_ = f.SetReadDeadline(now.Add(idle + time.Second)) // fails only when the flow is over
	}
}

// sender watches over a client as authorize does over a stream's; nil when everybody is let in.
func (f *forward) sender(from netip.AddrPort) *localsock.UDPSender {
	if f.spec.AllUsers || !f.spec.loopback() {
		return nil
	}
	return localsock.NewUDPSender(from, f.m.cfg.Allow, nil)
}

// mine reports whether the client is still who opened the flow.
func (f *datagramFlow) mine() bool { return f.sender == nil || f.sender.OK() }
