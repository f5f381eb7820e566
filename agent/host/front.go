package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/agent"
	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/proxy"
	"weft/agent/relay"
	"weft/internal/localsock"
)

// maxSorting bounds the proxy connections whose owner is being found out, or that wait for their session.
const maxSorting = 256

// inboxWait is how long a connection waits for its session's proxy to take it.
const inboxWait = 5 * time.Second

// front is the shared port of the proxy. It asks the kernel who owns each connection, and gives it to the current
// profile of that account. One whose owner is not known, or may not use it, is answered with a refusal.
type front struct {
	h     *Host
	ln    net.Listener // nil: there is no shared port
	slots chan struct{}

	refuser *proxy.Server // answers in the words of the client's protocol
	refused *inbox
}

// sharesProxy reports whether there is a shared port.
func (h *Host) sharesProxy() bool { return h.proxyAddr.Load() != nil }

// newFront opens the shared port, unless none is wanted. Where the kernel does not tell who connects, an unprivileged
// service's port is that of its own account; a privileged one has no shared port, but one for each session (proxyOf).
func (h *Host) newFront(ctx context.Context) (*front, error) {
	f := &front{h: h, slots: make(chan struct{}, maxSorting)}
	if h.cfg.Agent.ProxyListen == "off" || h.cfg.NoTCPPeer && h.owner.Privileged {
		return f, nil
	}
	var err error
	if f.ln, err = h.listenProxy(ctx); err != nil {
		return nil, err
	}
	addr := f.ln.Addr().String()
	h.proxyAddr.Store(&addr)
	f.refused = newInbox(addr)
	if f.refuser, err = proxy.New(proxy.Config{Dialer: nobody{}, Authorize: h.refuse, Logger: h.log}); err != nil {
		return nil, errors.Join(err, f.ln.Close())
	}
	return f, nil
}

func (f *front) close() error {
	if f.ln == nil {
		return nil
	}
	return f.ln.Close()
}

// nobody is the dialer of connections that are refused before they could dial.
type nobody struct{}

func (nobody) DialFlow(context.Context, localapi.Dial) (relay.Flow, error) {
	return nil, fault.New(localapi.CodePermission, "the system does not say who is calling")
}

// refuse says why a connection may not use the proxy.
func (h *Host) refuse(c net.Conn) error {
	const hint = "start the agent with --proxy-all-users to let every user of this machine use its access"
	id, err := h.cfg.TCPPeer(c)
	if err != nil {
		return fault.New(localapi.CodePermission, "the system does not say who is calling").WithHint(hint).WithCause(err)
	}
	return fault.New(localapi.CodePermission, "%s may not use this proxy: the agent belongs to %s", id, h.owner).WithHint(hint)
}

// serve sorts connections until ctx ends.
func (f *front) serve(ctx context.Context) error {
	if f.ln == nil {
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	// Of the context that accept looks at: the port closes only after that has ended.
	stop := context.AfterFunc(gctx, func() { _ = f.ln.Close() })
	defer stop()
	g.Go(func() error { return f.refuser.Serve(gctx, f.refused) })
	g.Go(func() error {
		err := f.accept(gctx)
		_ = f.refused.Close() // never fails
		return err
	})
	return g.Wait()
}

func (f *front) accept(ctx context.Context) error {
	var sorting sync.WaitGroup
	defer sorting.Wait()
	for {
		c, err := f.ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				relay.Abort(c)
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept proxy connection: %w", err)
			}
			f.h.log.WarnContext(ctx, "accept proxy connection", "error", err)
			pause(ctx, 20*time.Millisecond)
			continue
		}
		select {
		case f.slots <- struct{}{}:
			sorting.Go(func() {
				defer func() { <-f.slots }()
				f.sort(ctx, c)
			})
		default:
			f.h.proxyOver.Add(1)
			relay.Abort(c)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// sort owns c.
func (f *front) sort(ctx context.Context, c net.Conn) {
	account, err := f.h.proxyAccount(ctx, c)
	if err != nil {
		f.h.proxyUnknown.Add(1)
		f.h.log.InfoContext(ctx, "proxy refused a caller", "src", c.RemoteAddr(), "error", err)
		f.refused.put(ctx, c)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, inboxWait)
	defer cancel()
	s, err := f.h.acquire(ctx, account, "")
	if err != nil {
		f.h.log.WarnContext(ctx, "proxy connection without a session", "user_id", account, "error", err)
		relay.Abort(c)
		return
	}
	defer f.h.release(s)
	f.h.inboxOf(s).put(ctx, c)
}

// proxyAccount says whose session a connection to the shared port uses, and fails closed.
func (h *Host) proxyAccount(ctx context.Context, c net.Conn) (string, error) {
	own := h.owner.Account()
	if h.cfg.Agent.AllowRemoteProxy || h.cfg.NoTCPPeer {
		return own, nil // asked for, or an unprivileged service where the kernel does not tell; the manual says so
	}
	id, err := h.cfg.TCPPeer(c)
	switch {
	case err != nil && h.cfg.Agent.ProxyAllUsers:
		return own, nil
	case err != nil:
		return "", err
	case !h.owner.Privileged && (id.Operates(h.owner) || h.cfg.Agent.ProxyAllUsers):
		return own, nil
	case !h.owner.Privileged:
		return "", fmt.Errorf("%s is not %s: %w", id, h.owner, localsock.ErrUnsafe)
	case h.cfg.Agent.ProxyAllUsers && !h.registered(ctx, id.Account()):
		return own, nil
	}
	return id.Account(), nil
}

// mayUseProxy is asked for each connection to a session's proxy. What came by the shared port was sorted by its owner
// already; at a port of the session's own the owner must be the session's, where the kernel tells.
func (h *Host) mayUseProxy(c net.Conn, s *session) error {
	if in := h.inboxOf(s); in != nil && c.LocalAddr().String() == in.Addr().String() {
		return nil
	}
	if h.cfg.NoTCPPeer || h.cfg.Agent.ProxyAllUsers || h.cfg.Agent.AllowRemoteProxy {
		return nil
	}
	id, err := h.cfg.TCPPeer(c)
	if err != nil {
		return fault.New(localapi.CodePermission, "the system does not say who is calling").WithCause(err)
	}
	if id.Account() != s.key.account && !id.Privileged {
		return fault.New(localapi.CodePermission, "%s may not use this proxy: it belongs to user %s", id, s.key.account)
	}
	return nil
}

// registered reports whether the current profile of an account has a registration.
func (h *Host) registered(ctx context.Context, account string) bool {
	ac, err := h.takeAccount(ctx, account)
	if err != nil {
		return true // then its own session says what is wrong
	}
	defer h.giveAccount(ac)
	x := h.indexOf(ac)
	p, ok := x.find(x.Current)
	return !ok || agent.HasRegistration(ac.profileDir(p))
}

func (h *Host) inboxOf(s *session) *inbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	return s.inbox
}

// proxyOf opens the listener of a session's proxy, and says where users find it: its part of the shared port, which
// leads to the current profile, or a port of its own. nil: none.
func (h *Host) proxyOf(ctx context.Context, s *session, p profile) (ln net.Listener, shown string) {
	if in := h.sharedPart(s); in != nil {
		if current, ok := h.indexOf(s.account).find(""); ok && current.Dir == p.Dir {
			shown = in.Addr().String()
		}
		return in, shown
	}
	if ln = h.portOf(ctx, s, p); ln == nil {
		return nil, ""
	}
	return ln, ln.Addr().String()
}

// sharedPart is the session's part of the shared port, open; nil: there is no shared port.
func (h *Host) sharedPart(s *session) *inbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.inbox != nil && !s.inbox.open() {
		s.inbox = newInbox(s.inbox.Addr().String())
	}
	return s.inbox
}

// portOf opens a port for the session alone, where there is no shared one.
func (h *Host) portOf(ctx context.Context, s *session, p profile) net.Listener {
	if h.cfg.Agent.ProxyListen == "off" || !h.cfg.NoTCPPeer || !h.owner.Privileged {
		return nil
	}
	ln, err := h.ownPort(ctx, p)
	if err != nil {
		h.log.WarnContext(ctx, "no port for a session's proxy", "user_id", s.key.account, "error", err)
		return nil
	}
	if err := h.keepPort(s, p, ln); err != nil {
		h.log.WarnContext(ctx, "keep the port of a session's proxy", "user_id", s.key.account, "error", err)
	}
	return ln
}

// ownPort opens the port that the profile had last, else the next free one from that of --proxy-listen on.
func (h *Host) ownPort(ctx context.Context, p profile) (net.Listener, error) {
	first, err := netip.ParseAddrPort(h.cfg.Agent.ProxyListen)
	if err != nil {
		return nil, err
	}
	ports := []uint16{}
	if p.ProxyPort != 0 {
		ports = append(ports, p.ProxyPort)
	}
	for i := range 2 * h.cfg.MaxSessions {
		if port := int(first.Port()) + i; port < 1<<16 {
			ports = append(ports, uint16(port))
		}
	}
	for _, port := range ports {
		var ln net.Listener
		ln, err = proxy.Listen(ctx, netip.AddrPortFrom(first.Addr(), port).String(), h.cfg.Agent.AllowRemoteProxy)
		if err == nil {
			return ln, nil
		}
	}
	return nil, err
}

// keepPort remembers the port for the next start.
func (h *Host) keepPort(s *session, p profile, ln net.Listener) error {
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok || addr.AddrPort().Port() == p.ProxyPort {
		return nil
	}
	// Whoever changes the profiles now may wait for this session.
	if !s.account.changing.TryLock() {
		return nil
	}
	defer s.account.changing.Unlock()
	return h.changeIndex(s.account, func(x *index) {
		for i := range x.Profiles {
			if x.Profiles[i].Dir == p.Dir {
				x.Profiles[i].ProxyPort = addr.AddrPort().Port()
			}
		}
	})
}

// inbox is the listener of a session's proxy: connections come from the front.
type inbox struct {
	addr    inboxAddr
	conns   chan net.Conn
	ended   chan struct{}
	end     func()
	waiting atomic.Int32
}

var _ net.Listener = (*inbox)(nil)

type inboxAddr string

func (inboxAddr) Network() string  { return "tcp" }
func (a inboxAddr) String() string { return string(a) }

func newInbox(addr string) *inbox {
	in := &inbox{addr: inboxAddr(addr), conns: make(chan net.Conn), ended: make(chan struct{})}
	in.end = sync.OnceFunc(func() { close(in.ended) })
	return in
}

// put owns c: it is reset when nobody takes it before ctx or the session ends.
func (in *inbox) put(ctx context.Context, c net.Conn) {
	in.waiting.Add(1)
	defer in.waiting.Add(-1)
	select {
	case in.conns <- c:
	case <-in.ended:
		relay.Abort(c)
	case <-ctx.Done():
		relay.Abort(c)
	}
}

// open reports whether connections still come this way. A session without an inbox has none.
func (in *inbox) open() bool {
	if in == nil {
		return false
	}
	select {
	case <-in.ended:
		return false
	default:
		return true
	}
}

// idle reports whether no connection waits. A session without an inbox has none.
func (in *inbox) idle() bool { return in == nil || in.waiting.Load() == 0 }

// Accept implements net.Listener.
func (in *inbox) Accept() (net.Conn, error) {
	select {
	case c := <-in.conns:
		return c, nil
	case <-in.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (in *inbox) Close() error {
	in.end()
	return nil
}

// Addr implements net.Listener: the address of the front.
func (in *inbox) Addr() net.Addr { return in.addr }
