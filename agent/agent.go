// Package agent is the client daemon, warp-svc: it registers a device, keeps the
// tunnel to a gateway, and lets programs of this machine reach targets through it.
//
// A stream connection travels like this: a proxy (package proxy) or the local API
// (package localapi/server) parses what a program asks for and calls DialFlow. That
// resolves the name in the current view, which is what control last said, takes the VNET
// that was named or else the selected one, read once, and binds the flow to the
// device's tunnel address in that VNET. The binding is what keeps an open flow where it is
// when the selection changes: nothing about the flow changes.
//
// The agent never asks the operating system's name service for a target, sends no
// traffic outside the tunnel, and connects by itself after a restart when it was
// connected before, from the state on its disk while control does not answer.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/agent/diag"
	"weft/agent/fault"
	"weft/agent/forward"
	"weft/agent/liveness"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/agent/logring"
	"weft/agent/proxy"
	"weft/agent/statefile"
	"weft/internal/kind"
	"weft/internal/localsock"
	"weft/vnet"
)

// maxFlows bounds the open flows of the agent: proxy and local API together.
const maxFlows = 4096

// Config of an Agent. The zero value of a field means the default named.
type Config struct {
	// StateDir holds registration, cached state and, without a keyring, the secrets.
	// Empty: DefaultStateDir.
	StateDir string
	// Socket is where the local API listens. Empty: localsock.ListenPath.
	Socket string
	// Listener serves the local API instead of a socket that the agent makes: one that a service manager opened.
	// Run closes it.
	Listener *localsock.Listener
	// ProxyListen is where SOCKS5 and HTTP CONNECT listen. Empty: proxy.DefaultListen; "off": nowhere.
	ProxyListen string
	// AllowRemoteProxy permits a ProxyListen that is not loopback.
	AllowRemoteProxy bool
	// ProxyAllUsers lets every account of this machine use the proxy, and with it this device's access. Otherwise it is
	// for those who may operate the agent, where the system tells who is calling (Linux, Windows).
	ProxyAllUsers bool
	// ManagedFiles are where the administrator's settings are looked for. nil: mdm.Paths.
	ManagedFiles []string
	// DeviceName is what control lists this device as. Empty: the host name.
	DeviceName string
	// Version of the program. Empty: "dev".
	Version string
	// KeyStore keeps the secrets. nil: the keyring of the session.
	KeyStore KeyStore
	// ForceFile keeps the secrets in a file; $WEFT_KEYSTORE=file does the same.
	ForceFile bool
	Logger    *slog.Logger
	// OnReady is called when everything listens.
	OnReady func(Ready)
	// Diag is what the checks of diag see of this system; zero: the real thing.
	Diag diag.Env
	// Times of the liveness checks; zero means their defaults.
	Times liveness.Times

	// Hosted means that package host serves the local API and decides who gets here: Run opens no socket, and no proxy
	// but the one of HostProxy, whose connections are the session's own user's.
	Hosted bool
	// HostProxy opens the host's proxy for this agent, when Hosted, in place of ProxyListen; the agent closes it. shown is
	// the address at which users find it, empty when it leads to another of their agents. A nil listener: there is none.
	HostProxy func(ctx context.Context) (ln net.Listener, shown string)
	// ProxyAuthorize refuses a connection to the proxy by an error, a *fault.Error, when Hosted; nil refuses nobody.
	ProxyAuthorize func(net.Conn) error
	// ManagedChanged, when Hosted, is called after the agent has read the administrator's file because somebody asked it to.
	ManagedChanged func(context.Context)
	// Owner is whose agent this is. nil: this process's account.
	Owner *localsock.Caller
	// Dir is the state directory, opened by the host, which closes it. nil: Run opens StateDir.
	Dir *statefile.Dir
}

// Ready says where a running agent is found.
type Ready struct {
	Socket string
	Proxy  string // empty: none
}

// Agent is the daemon. Its exported methods are safe for concurrent use.
type Agent struct {
	cfg     Config
	log     *slog.Logger // writes into logRing too
	logRing *logring.Ring
	// started is when New was called.
	started time.Time
	dir     *statefile.Dir
	vault   *vault
	status  statusBoard
	flows   *flowTable
	trim    trimmer

	// Read once per flow.
	view     atomic.Pointer[view]
	selected atomic.Pointer[vnet.Network]
	plane    atomic.Pointer[plane]
	// forwards is nil until Run.
	forwards atomic.Pointer[forward.Manager]

	enrolling        atomic.Bool // as the administrator's file says
	controlConnected atomic.Bool
	lastContact      atomic.Int64 // Unix nanoseconds; 0: never

	policy      atomic.Pointer[managedFile]
	proxySwitch *proxy.Switch
	resumeKick  chan struct{} // to resume: a pause began or ended
	enrolKick   chan struct{} // to enrolManaged: the administrator's file was read again

	regMu sync.Mutex // held over a registration's making and ending, and a change of settings

	prefsMu sync.Mutex // held over a change of preferences, which may open a listener
	proxyAt string     // where the proxy was told to listen; guarded by prefsMu

	mu       sync.Mutex // guards what follows
	reg      *registration
	settings settings
	prefs    preferences
	session  *session
	proxy    *proxy.Server
	api      *server.Server
	kick     chan struct{} // to Run's manager: the registration changed

	beats chan chan<- struct{} // from Alive to the main loop
}

// WithDefaults returns the configuration with every zero field replaced by what it means.
func (cfg Config) WithDefaults() (Config, error) {
	if cfg.StateDir == "" {
		dir, err := DefaultStateDir()
		if err != nil {
			return cfg, err
		}
		cfg.StateDir = dir
	}
	switch {
	case cfg.Listener != nil:
		cfg.Socket = cfg.Listener.Path()
	case cfg.Socket == "":
		cfg.Socket = localsock.ListenPath()
	}
	if cfg.ProxyListen == "" {
		cfg.ProxyListen = proxy.DefaultListen
	}
	if cfg.DeviceName == "" {
		name, err := os.Hostname()
		if err != nil {
			return cfg, fmt.Errorf("read host name: %w", err)
		}
		cfg.DeviceName = name
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.ForceFile = cfg.ForceFile || os.Getenv(EnvKeyStore) == keyStoreFile
	return cfg, nil
}

// New validates cfg; it starts nothing and touches no file.
func New(cfg Config) (*Agent, error) {
	cfg, err := cfg.WithDefaults()
	if err != nil {
		return nil, err
	}
	lines := logring.New()
	cfg.Logger = slog.New(lines.Tee(cfg.Logger.Handler()))
	a := &Agent{
		cfg: cfg, log: cfg.Logger, logRing: lines, started: time.Now(), flows: newFlowTable(maxFlows), kick: make(chan struct{}, 1),
		resumeKick: make(chan struct{}, 1), enrolKick: make(chan struct{}, 1), beats: make(chan chan<- struct{}),
	}
	a.trim.collect = collectTwice
	a.status.init()
	return a, nil
}

// Run is the agent's life: it loads what is on disk, listens, keeps the session, and
// returns after the last goroutine when ctx ends (nil) or when it cannot go on. An error
// that the user can mend is a *kind.Error: Conflict for something in use, Denied for
// something not permitted, Invalid for a wrong setting.
func (a *Agent) Run(ctx context.Context) (err error) {
	if err := a.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.closeDir()) }()
	owner, err := a.Owner()
	if err != nil {
		return err
	}
	api, err := a.newAPI(owner)
	if err != nil {
		return err
	}
	px, err := proxy.New(proxy.Config{Dialer: a, PacketDialer: a, Authorize: a.proxyCallers(owner), Logger: a.log})
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.proxy, a.api = px, api
	a.mu.Unlock()
	fw, err := a.startForwards(ctx, owner)
	if err != nil {
		return err
	}
	proxyLn, err := a.listenProxy(ctx)
	if err != nil {
		return err
	}
	a.proxySwitch = proxy.NewSwitch(proxyLn)
	apiLn, err := a.listenSocket(ctx)
	if err != nil {
		return errors.Join(err, a.proxySwitch.Close())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return fw.Run(ctx) })
	if apiLn != nil {
		g.Go(func() error { return api.Serve(ctx, apiLn) })
	}
	g.Go(func() error { return px.Serve(ctx, a.proxySwitch) })
	g.Go(func() error { return a.manage(ctx) })
	g.Go(func() error { return a.resume(ctx) })
	g.Go(func() error { return a.enrolManaged(ctx) })
	a.ready(ctx, proxyLn)
	return g.Wait()
}

// newAPI returns the server of the local API; nil when the host has it.
func (a *Agent) newAPI(owner localsock.Caller) (*server.Server, error) {
	if a.cfg.Hosted {
		return nil, nil
	}
	return server.New(server.Config{Agent: a, Owner: owner, Socket: a.cfg.Socket, Logger: a.log})
}

// proxyCallers is who may use the proxy: those who could dial over the local API. A proxy that is not on loopback is for
// everybody who reaches it, which was asked for.
func (a *Agent) proxyCallers(owner localsock.Caller) func(net.Conn) error {
	if a.cfg.Hosted {
		return a.cfg.ProxyAuthorize
	}
	if a.cfg.ProxyAllUsers || a.cfg.AllowRemoteProxy {
		return nil
	}
	return func(c net.Conn) error {
		id, err := localsock.TCPPeer(c)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return nil // this system does not tell; the manual says so
		case err != nil:
			return fault.New(localapi.CodePermission, "the system does not say who is calling").
				WithHint("start the agent with --proxy-all-users to let every user of this machine use its access").WithCause(err)
		case !id.Operates(owner):
			return fault.New(localapi.CodePermission, "%s may not use this proxy: the agent belongs to %s", id, owner).
				WithHint("start the agent with --proxy-all-users to let every user of this machine use its access")
		}
		return nil
	}
}

func (a *Agent) ready(ctx context.Context, proxyLn net.Listener) {
	r := Ready{Socket: a.cfg.Socket}
	if proxyLn != nil {
		r.Proxy = proxyLn.Addr().String()
	}
	if !a.cfg.Hosted {
		a.log.InfoContext(ctx, "agent is ready", "socket", r.Socket, "proxy", r.Proxy, "state_dir", a.cfg.StateDir)
	}
	if a.cfg.OnReady != nil {
		a.cfg.OnReady(r)
	}
}

func (a *Agent) listenSocket(ctx context.Context) (*localsock.Listener, error) {
	if a.cfg.Hosted {
		return nil, nil
	}
	if a.cfg.Listener != nil {
		return a.cfg.Listener, nil
	}
	return ListenSocket(ctx, a.cfg.Socket)
}

// ListenSocket opens the socket of the local API; its errors are for the user.
func ListenSocket(ctx context.Context, path string) (*localsock.Listener, error) {
	ln, err := localsock.Listen(ctx, path)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, localsock.ErrInUse):
		return nil, kind.New(kind.Conflict, "another agent answers at %s", path).
			WithHint("end it first, or give this one another --socket and --state-dir").WithCause(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, localsock.ErrUnsafe):
		return nil, kind.New(kind.Denied, "the socket %s cannot be made safely", path).
			WithHint("choose a --socket in a directory that belongs to you alone").WithCause(err)
	default:
		return nil, kind.New(kind.Invalid, "the socket %s cannot be made", path).WithCause(err)
	}
}

// OpenStateDir opens and locks a state directory; its errors are for the user.
func OpenStateDir(path string) (*statefile.Dir, error) {
	dir, err := statefile.Open(path)
	switch {
	case errors.Is(err, statefile.ErrLocked):
		return nil, kind.New(kind.Conflict, "another agent uses the state directory %s", path).
			WithHint("end it first, or give this one another --state-dir and --socket").WithCause(err)
	case err != nil:
		return nil, kind.New(kind.Denied, "the state directory %s cannot be used", path).
			WithHint("choose a --state-dir that this user may write").WithCause(err)
	}
	return dir, nil
}

// open opens the state directory and loads what is in it.
func (a *Agent) open(ctx context.Context) (err error) {
	if a.dir = a.cfg.Dir; a.dir == nil {
		if a.dir, err = OpenStateDir(a.cfg.StateDir); err != nil {
			return err
		}
	}
	if err := a.loadManaged(); err != nil {
		return errors.Join(err, a.closeDir())
	}
	a.loadPreferences(ctx)
	if a.vault, err = newVault(a.cfg.KeyStore, a.dir, a.cfg.ForceFile); err == nil {
		err = a.load(ctx)
	}
	if err != nil {
		return errors.Join(err, a.closeDir())
	}
	return nil
}

// closeDir gives the state directory up, unless it is the host's.
func (a *Agent) closeDir() error {
	if a.cfg.Dir != nil {
		return nil
	}
	return a.dir.Close()
}

// manage runs one session after the other: a session is the time between a registration
// and its end.
func (a *Agent) manage(ctx context.Context) error {
	for {
		if s, sctx := a.beginSession(ctx); s != nil {
			s.run(sctx)
			a.endSession(s)
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.kick:
		case b := <-a.beats:
			close(b)
		}
	}
}

// beginSession returns nil when there is no registration.
func (a *Agent) beginSession(ctx context.Context) (*session, context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reg == nil {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	a.session = newSession(cancel, a, a.reg)
	return a.session, ctx
}

func (a *Agent) endSession(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session == s {
		a.session = nil
	}
}

func (a *Agent) wakeManager() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// age returns how long ago control last said that what the agent knows is current.
func (a *Agent) age() time.Duration {
	at := a.lastContact.Load()
	if at == 0 {
		return 0
	}
	return max(0, time.Since(time.Unix(0, at)))
}
