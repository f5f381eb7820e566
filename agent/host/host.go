// Package host runs the agents of one warp-svc: one for every profile of every account of the operating system that
// uses it. Each has a registration, a key, a state directory, a selected VNET, flows and forwards of its own; they
// share the local API's socket and, where the kernel tells who connects, the proxy's port.
//
// A request reaches an agent like this: the local API (package localapi/server) learns the caller's account from the
// kernel, decides whose session the request is about, and asks Session for it by account and profile. A connection to the proxy
// goes to the current profile of the account that owns its socket (front.go). A session is started at its first use, or
// with the service when its tunnel was up before, and ended when it has been idle.
//
// On disk, the state directory of the service is that of its own account, laid out as a warp-svc with a single
// registration has it, so that such a directory is one with a single profile as it stands:
//
//	STATE/                      own account, profile "default": registration.json, settings.json, ...
//	STATE/profiles.json         names of the own account's profiles; missing: only "default"
//	STATE/profiles/ID/          its other profiles
//	STATE/users/ACCOUNT/...     the same again for each other account (uid or SID)
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/agent"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/agent/proxy"
	"weft/agent/statefile"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// DefaultMaxSessions is how many sessions run at most.
const DefaultMaxSessions = 64

// Config of a Host. The zero value of a field means the default named.
type Config struct {
	// Agent is what every session's agent is made with. StateDir is that of the service; Hosted, HostProxy, ProxyAuthorize,
	// ManagedChanged, Owner and Dir are the host's to set.
	Agent agent.Config
	// MaxSessions bounds the running sessions of all accounts; 0 means DefaultMaxSessions.
	MaxSessions int
	// MaxProfiles bounds the profiles of one account; 0 means 16.
	MaxProfiles int
	// IdleAfter is how long a session without tunnel, flows and requests is kept; 0 means 10 minutes.
	IdleAfter time.Duration
	// System says that this is the machine's service, whatever account it runs as: it serves every account, and its own
	// counts as a privileged one. A service that runs as a privileged account is one without being told.
	System bool
	// ManagedLook is how often the administrator's file is looked at; 0 means 10 seconds.
	ManagedLook time.Duration
	// Owner is the account of the service. Zero account: this process's.
	Owner *localsock.Caller
	// Listen opens the local API's socket. nil: agent.ListenSocket.
	Listen func(ctx context.Context, path string) (net.Listener, error)
	// TCPPeer names the owner of a connection to the proxy. nil: localsock.TCPPeer.
	TCPPeer func(net.Conn) (localsock.Caller, error)
	// NoTCPPeer means that TCPPeer cannot be had, as on systems where the kernel does not tell.
	NoTCPPeer bool
}

// Stats counts what the host did and refused.
type Stats struct {
	Sessions        int    // running now
	Accounts        int    // known now
	Started         uint64 // sessions ever
	Dropped         uint64 // sessions that ended because they were idle
	SessionsRefused uint64 // over MaxSessions
	ProfilesRefused uint64 // over MaxProfiles
	ProxyOver       uint64 // proxy connections closed because too many were being sorted
	ProxyUnknown    uint64 // proxy connections whose owner the kernel did not name, or who may not use it
	LocalAPI        server.Stats
}

// Host owns the agents. Its exported methods are safe for concurrent use.
type Host struct {
	cfg   Config
	log   *slog.Logger
	owner localsock.Caller
	dir   *statefile.Dir
	api   *server.Server

	started, dropped, sessionsRefused, profilesRefused, proxyOver, proxyUnknown atomic.Uint64
	proxyAddr                                                                   atomic.Pointer[string]
	beats                                                                       chan chan<- struct{} // from Alive to the sweep

	managing sync.Mutex // held while all sessions read the administrator's file

	mu       sync.Mutex // guards what follows, and the fields of account and session that say so
	spawn    func(*session)
	accounts map[string]*account
	sessions map[sessionKey]*session
}

var _ server.Sessions = (*Host)(nil)

// New validates cfg; it starts nothing and touches no file.
func New(cfg Config) (*Host, error) {
	var err error
	if cfg.Agent, err = cfg.Agent.WithDefaults(); err != nil {
		return nil, err
	}
	if cfg.Agent.StateDir, err = filepath.Abs(cfg.Agent.StateDir); err != nil {
		return nil, fmt.Errorf("name the state directory: %w", err)
	}
	setDefault(&cfg.MaxSessions, DefaultMaxSessions)
	setDefault(&cfg.MaxProfiles, 16)
	setDefault(&cfg.IdleAfter, 10*time.Minute)
	setDefault(&cfg.ManagedLook, managedLook)
	if cfg.MaxSessions < 1 || cfg.MaxProfiles < 1 || cfg.IdleAfter < 2 || cfg.ManagedLook < 1 {
		return nil, kind.New(kind.Invalid, "limits of sessions must be positive").WithHint("see warp-svc run --help")
	}
	h := &Host{
		cfg: cfg, log: cfg.Agent.Logger,
		accounts: make(map[string]*account), sessions: make(map[sessionKey]*session), beats: make(chan chan<- struct{}),
	}
	if h.cfg.Listen == nil {
		h.cfg.Listen = func(ctx context.Context, path string) (net.Listener, error) {
			if ln := cfg.Agent.Listener; ln != nil {
				return ln, nil
			}
			return agent.ListenSocket(ctx, path)
		}
	}
	if h.cfg.TCPPeer == nil {
		h.cfg.TCPPeer, h.cfg.NoTCPPeer = localsock.TCPPeer, h.cfg.NoTCPPeer || !localsock.NamesTCPPeers
	}
	if cfg.Owner != nil {
		h.owner = *cfg.Owner
	} else if h.owner, err = localsock.Self(); err != nil {
		return nil, fmt.Errorf("read own identity: %w", err)
	}
	h.owner.Privileged = h.owner.Privileged || cfg.System
	return h, nil
}

func setDefault[T int | time.Duration](p *T, d T) {
	if *p == 0 {
		*p = d
	}
}

// Stats returns the counters.
func (h *Host) Stats() Stats {
	s := Stats{
		Started: h.started.Load(), Dropped: h.dropped.Load(),
		SessionsRefused: h.sessionsRefused.Load(), ProfilesRefused: h.profilesRefused.Load(),
		ProxyOver: h.proxyOver.Load(), ProxyUnknown: h.proxyUnknown.Load(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Sessions, s.Accounts = len(h.sessions), len(h.accounts)
	if h.api != nil {
		s.LocalAPI = h.api.Stats()
	}
	return s
}

// Alive returns when the main loop has answered, or ctx ends: what a watchdog asks.
func (h *Host) Alive(ctx context.Context) error {
	b := make(chan struct{})
	select {
	case h.beats <- b:
	case <-ctx.Done():
		return fmt.Errorf("ask the main loop: %w", ctx.Err())
	}
	select {
	case <-b:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the main loop: %w", ctx.Err())
	}
}

// Summary is the service's state in a few words that name nobody: every user can read them.
func (h *Host) Summary() string {
	connected := 0
	list := h.Sessions().Sessions
	for _, s := range list {
		if s.State == localapi.Connected {
			connected++
		}
	}
	return fmt.Sprintf("%d sessions, %d connected", len(list), connected)
}

// Run is the service's life: it listens, starts the sessions whose tunnels were up, and returns after the last goroutine
// when ctx ends (nil) or when it cannot go on. Its errors are those of agent.Run.
func (h *Host) Run(ctx context.Context) (err error) {
	if h.dir, err = agent.OpenStateDir(h.cfg.Agent.StateDir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.dir.Close()) }()
	api, err := server.New(server.Config{Agents: h, Owner: h.owner, Socket: h.cfg.Agent.Socket, Version: h.cfg.Agent.Version, Logger: h.log})
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.api = api
	h.mu.Unlock()
	managed := h.managedStamp()
	h.applyManaged(ctx)
	fr, err := h.newFront(ctx)
	if err != nil {
		return err
	}
	ln, err := h.cfg.Listen(ctx, h.cfg.Agent.Socket)
	if err != nil {
		return errors.Join(err, fr.close())
	}
	g, ctx := errgroup.WithContext(ctx)
	var running sync.WaitGroup
	h.begin(ctx, &running)
	g.Go(func() error { return api.Serve(ctx, ln) })
	g.Go(func() error { return fr.serve(ctx) })
	g.Go(func() error { h.sweepUntil(ctx); return nil })
	g.Go(func() error { h.watchManaged(ctx, managed); return nil })
	h.resume(ctx)
	h.enrolOwn(ctx)
	h.ready(ctx)
	err = g.Wait()
	h.end(&running)
	return err
}

// begin lets sessions start; each runs until its own end or that of ctx.
func (h *Host) begin(ctx context.Context, running *sync.WaitGroup) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spawn = func(s *session) {
		sctx, cancel := context.WithCancel(ctx)
		s.cancel = cancel
		running.Go(func() { h.runSession(sctx, s) })
	}
}

// end waits for the last session; none can start any more.
func (h *Host) end(running *sync.WaitGroup) {
	h.mu.Lock()
	h.spawn = nil
	h.mu.Unlock()
	running.Wait()
	h.mu.Lock()
	left := h.accounts
	h.accounts = make(map[string]*account)
	h.mu.Unlock()
	for _, ac := range left {
		if err := ac.close(); err != nil {
			h.log.Error("close account", "user_id", ac.key, "error", err)
		}
	}
}

func (h *Host) ready(ctx context.Context) {
	r := agent.Ready{Socket: h.cfg.Agent.Socket}
	if p := h.proxyAddr.Load(); p != nil {
		r.Proxy = *p
	}
	h.log.InfoContext(ctx, "agent is ready", "socket", r.Socket, "proxy", r.Proxy, "state_dir", h.cfg.Agent.StateDir)
	if h.cfg.Agent.OnReady != nil {
		h.cfg.Agent.OnReady(r)
	}
}

// resume starts the sessions that run though nobody asks for them. What is wrong with one account's state does not stop the others.
func (h *Host) resume(ctx context.Context) {
	locked := h.cfg.Agent.Locked()
	for _, key := range h.knownAccounts(ctx) {
		ac, err := h.takeAccount(ctx, key)
		if err != nil {
			h.log.ErrorContext(ctx, "read an account's profiles", "user_id", key, "error", err)
			continue
		}
		for _, p := range h.indexOf(ac).Profiles {
			dir := ac.profileDir(p)
			if !agent.Resumes(dir) && (!locked || !agent.HasRegistration(dir)) {
				continue
			}
			if s, err := h.acquire(ctx, key, p.Name); err != nil {
				h.log.ErrorContext(ctx, "start a session that must run", "user_id", key, "profile", p.Name, "error", err)
			} else {
				h.release(s)
			}
		}
		h.giveAccount(ac)
	}
}

// knownAccounts are the service's own and those with a directory.
func (h *Host) knownAccounts(ctx context.Context) []string {
	keys := []string{h.owner.Account()}
	if !h.owner.Privileged {
		return keys // whatever lies there: an unprivileged service serves its own account only
	}
	entries, err := os.ReadDir(filepath.Join(h.cfg.Agent.StateDir, usersDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.log.ErrorContext(ctx, "list the accounts with state", "error", err)
	}
	for _, e := range entries {
		if e.IsDir() && localsock.ValidAccount(e.Name()) && !slices.Contains(keys, e.Name()) {
			keys = append(keys, e.Name())
		}
	}
	return keys
}

// listenProxy opens the shared port of the proxy.
func (h *Host) listenProxy(ctx context.Context) (net.Listener, error) {
	return proxy.Listen(ctx, h.cfg.Agent.ProxyListen, h.cfg.Agent.AllowRemoteProxy)
}
