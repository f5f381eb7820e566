package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"weft/agent"
	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// sessionKey names a session by account and directory: names of profiles change.
type sessionKey struct{ account, dir string }

// session is a running agent.
type session struct {
	key     sessionKey
	account *account
	agent   *agent.Agent       // set before ready is closed
	cancel  context.CancelFunc // set before the session runs
	ready   chan struct{}      // closed when the agent runs
	done    chan struct{}      // closed after its last goroutine
	err     error              // why it ended; set before done is closed

	// guarded by Host.mu
	inbox   *inbox // connections of the shared proxy; nil: there is none
	uses    int
	lastUse time.Time
	ending  bool
}

// Session implements server.Sessions.
func (h *Host) Session(ctx context.Context, account, profile string) (server.Agent, func(), error) {
	s, err := h.acquire(ctx, account, profile)
	if err != nil {
		return nil, nil, err
	}
	return s.agent, func() { h.release(s) }, nil
}

// acquire returns the running session of a profile, started if it must be; release ends its use.
func (h *Host) acquire(ctx context.Context, key, name string) (*session, error) {
	ac, err := h.takeAccount(ctx, key)
	if err != nil {
		return nil, err
	}
	defer h.giveAccount(ac)
	for {
		s, ready, err := h.pick(ac, name)
		if errors.Is(err, errNoRoom) {
			if s, ready, err = h.pickWithRoom(ctx, ac, name); errors.Is(err, errNoRoom) {
				h.sessionsRefused.Add(1)
				err = errFull(h.cfg.MaxSessions)
			}
		}
		if errors.Is(err, errNoShare) {
			if h.dropOldest(ctx, key) {
				continue
			}
			h.sessionsRefused.Add(1)
			err = errFullForOne(h.share())
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-ready:
			return s, nil
		case <-s.done:
			h.release(s)
			if s.err != nil {
				return nil, s.err
			}
			// It was ending as we came: begin anew.
		case <-ctx.Done():
			h.release(s)
			return nil, ctx.Err()
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

var (
	errNoRoom  = errors.New("all places for sessions are taken")
	errNoShare = errors.New("the account has as many sessions as it may")
)

func errFullForOne(n int) error {
	return fault.New(string(kind.Limit), "you have %d sessions in use, which is the most for one user of this machine", n).
		WithHint("disconnect one: warp-cli --profile NAME disconnect")
}

// pick finds or starts the session, and counts its use. One that is ending is never ready: the caller waits for its end.
func (h *Host) pick(ac *account, name string) (s *session, ready <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := ac.index.find(name)
	if !ok {
		return nil, nil, errUnknownProfile(name)
	}
	if ac.removing == p.Dir {
		return nil, nil, fault.New(string(kind.Conflict), "profile %s is being removed", p.Name)
	}
	key := sessionKey{ac.key, p.Dir}
	if s := h.sessions[key]; s != nil {
		s.uses++
		if s.ending {
			return s, nil, nil
		}
		return s, s.ready, nil
	}
	if h.spawn == nil {
		return nil, nil, fault.New(string(kind.Unavailable), "the agent is ending")
	}
	if len(h.sessions) >= h.cfg.MaxSessions {
		return nil, nil, errNoRoom
	}
	if ac.key != h.owner.Account() && h.sessionsOfLocked(ac.key) >= h.share() {
		return nil, nil, errNoShare
	}
	s = &session{key: key, account: ac, ready: make(chan struct{}), done: make(chan struct{}), uses: 1, lastUse: time.Now()}
	if h.sharesProxy() {
		s.inbox = newInbox(*h.proxyAddr.Load())
	}
	h.sessions[key] = s
	ac.uses++ // until the session's end
	h.started.Add(1)
	h.spawn(s)
	return s, s.ready, nil
}

// share is how many sessions one account may have, so that none can keep all others out.
func (h *Host) share() int {
	if !h.owner.Privileged {
		return h.cfg.MaxSessions // there is only one account
	}
	return (h.cfg.MaxSessions + 1) / 2
}

func (h *Host) sessionsOfLocked(account string) (n int) {
	for key := range h.sessions {
		if key.account == account {
			n++
		}
	}
	return n
}

// pickWithRoom ends the session that has been idle longest, and picks then.
func (h *Host) pickWithRoom(ctx context.Context, ac *account, name string) (*session, <-chan struct{}, error) {
	if !h.dropOldest(ctx, "") {
		return nil, nil, errNoRoom
	}
	return h.pick(ac, name)
}

// release ends a use.
func (h *Host) release(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.uses--
	s.lastUse = time.Now()
}

// runSession is the life of a session.
func (h *Host) runSession(ctx context.Context, s *session) {
	err := h.runAgent(ctx, s)
	if err != nil && ctx.Err() == nil {
		h.log.ErrorContext(ctx, "a session ended", "user_id", s.key.account, "dir", s.key.dir, "error", err)
	}
	s.cancel()
	if in := h.inboxOf(s); in != nil {
		_ = in.Close() // never fails
	}
	h.mu.Lock()
	s.err = err
	delete(h.sessions, s.key)
	s.account.uses--
	s.account.lastUse = time.Now()
	h.mu.Unlock()
	close(s.done)
}

// runAgent makes the agent of a session and runs it.
func (h *Host) runAgent(ctx context.Context, s *session) error {
	h.mu.Lock()
	var p profile
	for _, q := range s.account.index.Profiles {
		if q.Dir == s.key.dir {
			p = q
		}
	}
	h.mu.Unlock()
	cfg := h.cfg.Agent
	cfg.Hosted, cfg.StateDir, cfg.Logger = true, s.account.profileDir(p), h.log.With("user_id", s.key.account, "profile_dir", s.key.dir)
	if s.key.dir == firstDir {
		cfg.Dir = s.account.dir
	}
	cfg.HostProxy = func(ctx context.Context) (net.Listener, string) { return h.proxyOf(ctx, s, p) }
	owner, err := h.callerOf(s.key.account)
	if err != nil {
		return err
	}
	cfg.Owner = &owner
	cfg.ManagedChanged = h.reloadManaged
	cfg.ProxyAuthorize = func(c net.Conn) error { return h.mayUseProxy(c, s) }
	cfg.OnReady = func(agent.Ready) {
		h.present(s.account)
		close(s.ready)
	}
	a, err := agent.New(cfg)
	if err != nil {
		return err
	}
	h.mu.Lock()
	s.agent = a
	h.mu.Unlock()
	return a.Run(ctx)
}

// callerOf turns an account back into whom it names. Only the service's own can be privileged.
func (h *Host) callerOf(key string) (localsock.Caller, error) {
	if key == h.owner.Account() {
		return h.owner, nil
	}
	if strings.HasPrefix(key, "S-") {
		return localsock.Caller{SID: key}, nil
	}
	uid, err := strconv.ParseUint(key, 10, 32)
	if err != nil {
		return localsock.Caller{}, fmt.Errorf("account %q is neither a uid nor a SID", key)
	}
	return localsock.Caller{UID: uint32(uid)}, nil
}

// present tells the agents of an account what their status shows: the profile when there are several, and the shared
// proxy when it leads to them. The address of a proxy of its own an agent knows itself.
func (h *Host) present(ac *account) {
	type told struct {
		s           *session
		inbox       *inbox
		name, proxy string
	}
	var all []told
	h.mu.Lock()
	for _, p := range ac.index.Profiles {
		s := h.sessions[sessionKey{ac.key, p.Dir}]
		if s == nil || s.agent == nil {
			continue
		}
		t := told{s: s, inbox: s.inbox}
		if len(ac.index.Profiles) > 1 {
			t.name = p.Name
		}
		if s.inbox != nil && p.Name == ac.index.Current {
			t.proxy = s.inbox.Addr().String()
		}
		all = append(all, t)
	}
	h.mu.Unlock()
	for _, t := range all {
		t.s.agent.SetProfile(t.name)
		if t.inbox.open() {
			t.s.agent.SetProxyAddress(t.proxy)
		}
	}
}

// sweepUntil ends idle sessions and forgets idle accounts until ctx ends.
func (h *Host) sweepUntil(ctx context.Context) {
	t := time.NewTicker(h.cfg.IdleAfter / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-h.beats:
			close(b)
		case <-t.C:
			h.sweep(ctx, time.Now().Add(-h.cfg.IdleAfter))
		}
	}
}

// sweep ends what was not used since before.
func (h *Host) sweep(ctx context.Context, before time.Time) {
	for _, s := range h.idle() {
		h.drop(ctx, s, before)
	}
	var unused []*account
	h.mu.Lock()
	for _, ac := range h.accounts {
		if ac.uses == 0 && !ac.closing && ac.lastUse.Before(before) {
			ac.closing = true
			unused = append(unused, ac)
		}
	}
	h.mu.Unlock()
	for _, ac := range unused {
		h.closeAccount(ac)
	}
}

// idle are the sessions that nobody uses and that could be started again without loss.
func (h *Host) idle() []*session {
	var unused, out []*session
	h.mu.Lock()
	for _, s := range h.sessions {
		if s.uses == 0 && !s.ending && s.agent != nil {
			unused = append(unused, s)
		}
	}
	h.mu.Unlock()
	for _, s := range unused {
		if s.agent.Idle() && h.inboxOf(s).idle() {
			out = append(out, s)
		}
	}
	return out
}

// drop ends an idle session unless it was used meanwhile, and waits for its end.
func (h *Host) drop(ctx context.Context, s *session, before time.Time) bool {
	h.mu.Lock()
	if s.uses > 0 || s.ending || s.lastUse.After(before) {
		h.mu.Unlock()
		return false
	}
	s.ending = true
	h.mu.Unlock()
	h.dropped.Add(1)
	s.cancel()
	select {
	case <-s.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// dropOldest ends the idle session, of an account or any, that was used longest ago, and reports whether there was one.
func (h *Host) dropOldest(ctx context.Context, account string) bool {
	idle := h.idle()
	var oldest *session
	h.mu.Lock()
	for _, s := range idle {
		if (account == "" || s.key.account == account) && (oldest == nil || s.lastUse.Before(oldest.lastUse)) {
			oldest = s
		}
	}
	h.mu.Unlock()
	return oldest != nil && h.drop(ctx, oldest, time.Now())
}

func errUnknownProfile(name string) error {
	return fault.New(localapi.CodeUnknownProfile, "there is no profile %s", name).
		WithHint("make it with: warp-cli profile add %s; to see them run: warp-cli profile list", name)
}
