package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/api"
	"weft/internal/kind"
	"weft/vnet"
)

const (
	keyRetry     = 30 * time.Second // while the key cannot be read
	linkRetry    = 5 * time.Second  // while the tunnel cannot be made
	revokedRetry = time.Minute      // an administrator may have repaired a mistake
	saveInterval = time.Second      // between writes of the cached state
)

// session is the life of one registration: it follows control and keeps the link.
type session struct {
	a      *Agent
	reg    *registration
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // to maintain: look again
	saves  chan struct{} // to saveStates
	// postures is for reportPosture: look at the machine
	postures chan struct{}

	secrets  atomic.Pointer[secrets] // set before maintain
	rekeying atomic.Bool             // RotateKeys changes the key of the link

	revoked    atomic.Bool
	rewatch    atomic.Pointer[context.CancelFunc] // ends the stream that is followed or waited for
	controlErr atomic.Pointer[string]             // why control is not heard; nil: not tried, or heard
}

func newSession(cancel context.CancelFunc, a *Agent, r *registration) *session {
	return &session{
		a: a, reg: r, cancel: cancel,
		done: make(chan struct{}), wake: make(chan struct{}, 1), saves: make(chan struct{}, 1), postures: make(chan struct{}, 1),
	}
}

// stop ends the session and waits for its end.
func (s *session) stop() {
	s.cancel()
	<-s.done
}

func (s *session) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run returns after the last goroutine of the session.
func (s *session) run(ctx context.Context) {
	defer close(s.done)
	defer s.cancel()
	sec, ok := s.loadSecrets(ctx)
	if !ok {
		return
	}
	s.secrets.Store(&sec)
	client, err := s.reg.client(sec.Token, s.a.cfg.Version)
	if err != nil {
		s.a.log.ErrorContext(ctx, "make control client", "error", err)
		s.a.status.set(localapi.Disconnected, localapi.ReasonControlUnreachable, "the registration is damaged: "+err.Error())
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case b := <-s.a.beats:
				close(b)
			}
		}
		return
	}
	defer client.Abandon() // after the last request
	var wg sync.WaitGroup
	wg.Go(func() { s.follow(ctx, client) })
	wg.Go(func() { s.saveStates(ctx) })
	wg.Go(func() { s.reportPosture(ctx, client) })
	s.maintain(ctx)
	wg.Wait()
}

// loadSecrets tries until the key store answers.
func (s *session) loadSecrets(ctx context.Context) (secrets, bool) {
	for {
		sec, err := s.a.vault.load(ctx, s.reg.KeyStore)
		if err == nil {
			return sec, true
		}
		if ctx.Err() != nil {
			return secrets{}, false
		}
		s.a.log.ErrorContext(ctx, "read secrets", "error", err)
		s.a.status.set(localapi.Disconnected, localapi.ReasonKeyStore, err.Error())
		if !s.waitForKey(ctx) {
			return secrets{}, false
		}
	}
}

// waitForKey returns false when ctx has ended.
func (s *session) waitForKey(ctx context.Context) bool {
	retry := time.NewTimer(keyRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-s.wake:
			return true
		case <-retry.C:
			return true
		case b := <-s.a.beats:
			close(b)
		}
	}
}

// follow keeps the view current.
func (s *session) follow(ctx context.Context, client *api.Client) {
	defer s.a.controlConnected.Store(false)
	for {
		err := s.watch(ctx, client)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, context.Canceled) {
			continue // rejoin
		}
		s.onRevoked(ctx, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(revokedRetry/2 + rand.N(revokedRetry/2)):
		}
	}
}

// watch follows one stream after the other until the credential is refused, ctx ends,
// or rejoin is called.
func (s *session) watch(ctx context.Context, client *api.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.rewatch.Store(&cancel)
	cfg := api.WatchConfig[api.AgentState]{OnState: s.onState, OnContact: s.onContact, OnError: s.onError}
	if v := s.a.view.Load(); v != nil {
		cfg.Since, cfg.State = v.revision, v.state
	}
	return api.Watch(ctx, client, api.PathAgentSync, cfg)
}

// rejoin connects to control anew, now and without the back-off that has grown: the
// network works again. Unless forced, a stream that is being heard stays.
func (s *session) rejoin(force bool) {
	if s.a.controlConnected.Load() && !force {
		return
	}
	if cancel := s.rewatch.Load(); cancel != nil {
		s.a.controlConnected.Store(false)
		(*cancel)()
	}
}

func (s *session) onState(revision uint64, st *api.AgentState) {
	if s.revoked.Swap(false) {
		s.a.log.Info("control accepts this device again")
	}
	s.a.setView(newView(revision, st, true))
	s.look()
	s.lookAtMachine()
	select {
	case s.saves <- struct{}{}:
	default:
	}
}

func (s *session) onContact(at time.Time) {
	s.a.lastContact.Store(at.UnixNano())
	if !s.a.controlConnected.Swap(true) {
		s.controlErr.Store(nil)
		// What was resumed is current although no state came: it counts as heard.
		if v := s.a.view.Load(); v != nil && !v.live {
			s.a.setView(newView(v.revision, v.state, true))
		}
		s.a.status.tell(changedStatus | changedTargets)
		if p := s.a.plane.Load(); p != nil {
			p.hope() // the network works
		}
		s.look()
		s.lookAtMachine()
	}
}

func (s *session) onError(err error, wait time.Duration) {
	s.a.log.Debug("control stream broke", "error", err, "wait", wait)
	msg := fault.From(err).Message
	s.controlErr.Store(&msg)
	if s.a.controlConnected.Swap(false) {
		s.a.status.tell(changedStatus | changedTargets)
	}
	// Control and gateway may be on one machine, or the network may be gone: look now,
	// and at each further failure.
	if p := s.a.plane.Load(); p != nil {
		p.check()
	}
	s.look()
}

// onRevoked ends what the registration gave: no tunnel, no target list.
func (s *session) onRevoked(ctx context.Context, err error) {
	s.a.controlConnected.Store(false)
	s.a.log.WarnContext(ctx, "control refuses this device", "error", err)
	if s.revoked.Swap(true) {
		return
	}
	s.a.status.notice(noticeRevoked, "control refused this device: "+fault.From(err).Message)
	s.a.setView(nil)
	if err := s.a.dir.Remove(stateFile); err != nil {
		s.a.log.ErrorContext(ctx, "forget cached state", "error", err)
	}
	s.look()
}

// saveStates writes the state to disk, at most once a second, and a last time at the end.
func (s *session) saveStates(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			s.saveState()
			return
		case <-s.saves:
		}
		s.saveState()
		select {
		case <-ctx.Done():
		case <-time.After(saveInterval):
		}
	}
}

func (s *session) saveState() {
	v := s.a.view.Load()
	if v == nil || !v.live || s.revoked.Load() {
		return
	}
	c := cachedState{Revision: v.revision, ContactAt: time.Unix(0, s.a.lastContact.Load()).UTC(), State: v.state}
	if err := s.a.dir.Write(stateFile, c); err != nil {
		s.a.log.Error("keep state", "error", err)
		s.a.status.notice(noticeStateFile, "the target list cannot be kept for the next start: "+err.Error())
	}
}

// maintain makes, changes and closes the link as settings and view ask.
func (s *session) maintain(ctx context.Context) {
	var l *link
	defer func() {
		if l != nil {
			l.close()
		}
	}()
	for {
		retry := s.reconcile(ctx, &l)
		if !s.waitForChange(ctx, retry) {
			return
		}
	}
}

// waitForChange returns false when ctx has ended.
func (s *session) waitForChange(ctx context.Context, retry bool) bool {
	var timer <-chan time.Time
	if retry {
		timer = time.After(linkRetry)
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-s.wake:
			return true
		case <-timer:
			return true
		case b := <-s.a.beats:
			close(b)
		}
	}
}

// reconcile returns true when it should be tried again without a change.
func (s *session) reconcile(ctx context.Context, l **link) (retry bool) {
	v := s.a.view.Load()
	state, reason, detail := s.desired(v)
	if state != localapi.Connected {
		if *l != nil {
			(*l).close()
			*l = nil
		}
		s.a.status.set(state, reason, detail)
		return false
	}
	if *l == nil {
		made, err := newLink(ctx, s.a, chooseKey(s.secrets.Load(), v.state.Self.PublicKey), v, s.rejoin)
		if err != nil {
			s.a.log.ErrorContext(ctx, "make tunnel", "error", err)
			s.a.status.set(localapi.Connecting, localapi.ReasonStarting, "the tunnel cannot be made: "+err.Error())
			return true
		}
		*l = made
		s.followKey(ctx, v, made)
		return false
	}
	s.followKey(ctx, v, *l)
	if err := (*l).apply(ctx, v); err != nil {
		s.a.log.ErrorContext(ctx, "apply state to the tunnel", "error", err)
		return true
	}
	return false
}

// desired says what should be: Connected means a link, anything else is the state to show.
func (s *session) desired(v *view) (localapi.State, localapi.Reason, string) {
	controlErr := s.controlErr.Load()
	switch {
	case s.revoked.Load():
		return localapi.Disconnected, localapi.ReasonRevoked, "control refused this device's credential"
	case !s.a.wantsConnection():
		return localapi.Disconnected, localapi.ReasonManual, ""
	case v == nil && controlErr != nil:
		return localapi.Connecting, localapi.ReasonControlUnreachable, *controlErr
	case v == nil:
		return localapi.Connecting, localapi.ReasonStarting, "waiting for the control plane"
	case len(v.gateways) == 0:
		return localapi.Connecting, localapi.ReasonNoGateway, "the control plane names no gateway"
	case v.problem != "":
		return localapi.Connecting, localapi.ReasonNoGateway, v.problem
	}
	return localapi.Connected, localapi.ReasonHealthy, ""
}

func (a *Agent) wantsConnection() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settings.Connect
}

// setView swaps the view and what follows from it. nil means that nothing is known.
func (a *Agent) setView(v *view) {
	a.mu.Lock()
	chosen := a.settings.VNET
	a.mu.Unlock()
	before := a.selected.Load()
	a.view.Store(v)
	a.selectIn(v, chosen)
	if after := a.selected.Load(); v != nil && before != nil && (after == nil || after.ID != before.ID) {
		now := "none is selected now"
		if after != nil {
			now = "selected now: " + after.Name
		}
		a.status.notice(noticeVNETGone, "virtual network "+before.Name+" is no longer available; "+now)
	}
	a.status.tell(changedStatus | changedTargets | changedVNETs)
}

func (a *Agent) selectIn(v *view, chosen vnet.ID) {
	if v != nil {
		if n, ok := v.pick(chosen); ok {
			a.selected.Store(&n)
			return
		}
	}
	a.selected.Store(nil)
}

// changeSettings changes what the user chose, first on disk.
func (a *Agent) changeSettings(change func(*settings)) error {
	a.regMu.Lock()
	defer a.regMu.Unlock()
	a.mu.Lock()
	registered, next := a.reg != nil, a.settings
	a.mu.Unlock()
	if !registered {
		return errNotRegistered()
	}
	old := next
	change(&next)
	if next != old {
		if err := a.dir.Write(settingsFile, next); err != nil {
			return err
		}
	}
	a.mu.Lock()
	a.settings = next
	s := a.session
	a.mu.Unlock()
	if s != nil {
		s.look()
	}
	return nil
}

// Connect asks for the tunnel, keeps that over restarts, and waits until it is up or
// ctx ends.
func (a *Agent) Connect(ctx context.Context) (localapi.Status, error) {
	if err := a.changeSettings(func(s *settings) { s.Connect, s.ResumeAt = true, time.Time{} }); err != nil {
		return localapi.Status{}, err
	}
	for {
		state, reason, detail, changed := a.status.current()
		switch {
		case state == localapi.Connected:
			return a.Status(), nil
		case state == localapi.Unregistered:
			return localapi.Status{}, errNotRegistered()
		case state == localapi.Disconnected && reason == localapi.ReasonManual && !a.wantsConnection():
			return localapi.Status{}, fault.New(localapi.CodeNotConnected, "the agent was told to disconnect meanwhile")
		case state == localapi.Disconnected && reason == localapi.ReasonRevoked:
			return localapi.Status{}, a.notConnected()
		case state == localapi.Disconnected && reason == localapi.ReasonKeyStore:
			return localapi.Status{}, fault.New(string(kind.Unavailable), "the device's key cannot be read: %s", detail).
				WithHint("unlock the keyring; the agent tries again by itself")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return localapi.Status{}, a.connectFault(ctx)
		}
	}
}

// connectFault says why there is no connection yet.
func (a *Agent) connectFault(ctx context.Context) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	_, reason, detail, _ := a.status.current()
	code := string(kind.Unavailable)
	if reason == localapi.ReasonGatewayUnreachable || reason == localapi.ReasonStarting {
		code = localapi.CodeUnreachable
	}
	if detail == "" {
		detail = "the gateway has not answered yet"
	}
	return fault.New(code, "not connected yet: %s", detail).
		WithHint("the agent keeps trying; to follow it run: warp-cli status")
}

// Disconnect takes the tunnel down and keeps that over restarts.
func (a *Agent) Disconnect(ctx context.Context) (localapi.Status, error) {
	return a.Pause(ctx, 0)
}

// disconnect takes the tunnel down until then; zero: until somebody connects.
func (a *Agent) disconnect(ctx context.Context, until time.Time) (localapi.Status, error) {
	if err := a.changeSettings(func(s *settings) { s.Connect, s.ResumeAt = false, until }); err != nil {
		return localapi.Status{}, err
	}
	for {
		state, _, _, changed := a.status.current()
		if state == localapi.Disconnected || state == localapi.Unregistered {
			return a.Status(), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return localapi.Status{}, ctx.Err()
		}
	}
}
