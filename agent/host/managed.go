package host

import (
	"context"
	"net/netip"
	"os"
	"time"

	"weft/agent/mdm"
)

// managedLook is how often the administrator's file is looked at for a change that nobody told the service of.
const managedLook = 10 * time.Second

// fileStamp tells one state of the administrator's file from another.
type fileStamp struct {
	path string // empty: there is none
	size int64
	at   time.Time
}

// managedStamp looks at the file that is in force. One that cannot be looked at has a stamp too, so that it is read, which
// says what is wrong with it.
func (h *Host) managedStamp() fileStamp {
	for _, path := range h.cfg.Agent.ManagedPaths() {
		switch st, err := os.Stat(path); {
		case err == nil:
			return fileStamp{path, st.Size(), st.ModTime()}
		case !os.IsNotExist(err):
			return fileStamp{path: path}
		}
	}
	return fileStamp{}
}

// watchManaged brings each change of the administrator's file to all sessions until ctx ends. since is the file's stamp
// before the first session could read it.
func (h *Host) watchManaged(ctx context.Context, since fileStamp) {
	t := time.NewTicker(h.cfg.ManagedLook)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if now := h.managedStamp(); now != since {
			since = now
			h.reloadManaged(ctx)
		}
	}
}

// reloadManaged makes every running session read the administrator's file. A session that starts meanwhile reads it by
// itself; with a file that cannot be used it does not start. What is in force in a session stays until there is better.
func (h *Host) reloadManaged(ctx context.Context) {
	h.managing.Lock()
	defer h.managing.Unlock()
	for _, s := range h.holdAll() {
		h.reloadIn(ctx, s)
	}
	h.enrolOwn(ctx)
	if h.cfg.Agent.Locked() {
		h.resume(ctx) // those that were down are wanted up
	}
}

// holdAll counts a use of every session that is not ending.
func (h *Host) holdAll() []*session {
	h.mu.Lock()
	defer h.mu.Unlock()
	var held []*session
	for _, s := range h.sessions {
		if !s.ending {
			s.uses++
			held = append(held, s)
		}
	}
	return held
}

// reloadIn ends the use of s.
func (h *Host) reloadIn(ctx context.Context, s *session) {
	defer h.release(s)
	select {
	case <-s.ready:
	case <-s.done:
		return
	case <-ctx.Done():
		return
	}
	if err := s.agent.ReloadManaged(ctx); err != nil {
		h.log.ErrorContext(ctx, "a session keeps the managed settings that it had", "user_id", s.key.account, "dir", s.key.dir, "error", err)
	}
}

// applyManaged takes the port of the shared proxy from the administrator's file. It is read once, at the start of the
// service: clients must be told of another port in any case. With a file that cannot be used no session starts.
func (h *Host) applyManaged(ctx context.Context) {
	p, path, err := mdm.Load(h.cfg.Agent.ManagedPaths())
	if err != nil {
		h.log.ErrorContext(ctx, "the managed settings cannot be used, so nobody can use the agent", "path", path, "error", err)
		return
	}
	if p == nil || p.ProxyPort == nil {
		return
	}
	if ap, err := netip.ParseAddrPort(h.cfg.Agent.ProxyListen); err == nil { // else it is off
		h.cfg.Agent.ProxyListen = netip.AddrPortFrom(ap.Addr(), *p.ProxyPort).String()
	}
}

// enrolOwn starts the session of the service's own account when the administrator's file says how this machine is
// registered: nobody else would.
func (h *Host) enrolOwn(ctx context.Context) {
	p, _, err := mdm.Load(h.cfg.Agent.ManagedPaths())
	if err != nil || p == nil || !p.Enrols() || h.registered(ctx, h.owner.Account()) {
		return
	}
	s, err := h.acquire(ctx, h.owner.Account(), "")
	if err != nil {
		h.log.ErrorContext(ctx, "start the session that is to be enrolled", "error", err)
		return
	}
	h.release(s)
}
