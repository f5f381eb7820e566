// Package control is the control plane: the management API, the enrolment of devices, and the streams that keep
// agents, gateways and connectors current. It decides nothing about traffic; it keeps what package access decides by,
// asks that very package for each user's target list, and signs SSH logins after asking it once more.
//
// A write goes handler -> store (one transaction) -> hub, which builds one immutable view per revision -> every
// stream, which sends what differs from what its receiver has. Nothing is queued for a slow receiver.
package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"weft/control/sshca"
	"weft/control/store"
	"weft/internal/kind"
)

// Limits of the server.
const (
	defaultMaxStreams     = 20_000
	defaultMaxConnections = 25_000
	maxHeaderBytes        = 64 << 10
	headerTimeout         = 10 * time.Second
	readTimeout           = 30 * time.Second
	responseTimeout       = 60 * time.Second
	idleTimeout           = 2 * time.Minute
	shutdownTimeout       = 5 * time.Second
)

// Config says how the control plane runs.
type Config struct {
	// Dir keeps the database, the key of its secrets and the built-in CA. It is created, private, if it does not exist.
	Dir string
	// Database is the URL of a PostgreSQL database, for one control plane or several with one account: they need the same
	// store.key in their directories, and have the built-in CA in the database. "" means SQLite in Dir.
	Database string
	// Listen is host:port; port 0 picks a free one.
	Listen string
	// PublicURL is how clients reach the control plane; "" means https:// and the address that is listened on.
	PublicURL string
	// TLSCertFile and TLSKeyFile are the server's own certificate, re-read when they change; both empty: the built-in CA.
	TLSCertFile, TLSKeyFile string
	// Hostnames are further names for the built-in CA to certify.
	Hostnames []string
	// MaxStreams bounds the sync streams of all kinds together; 0 means 20,000.
	MaxStreams int
	// MaxConnections bounds the open connections, of which one host (an IPv4 address or IPv6 /64) can have half; 0 means 25,000.
	MaxConnections int
	// EnrolPerMinute bounds the enrolments of one address, EnrolTotalPerMinute those of all; 0 means 120 and 3,000.
	EnrolPerMinute, EnrolTotalPerMinute int
	// ExplainAlmost lets "warp-cli explain" name a policy that includes its user and still does not let them in (a require rule
	// that is not met, an exclude rule). Otherwise that looks like a target that does not exist.
	ExplainAlmost bool
	// SSHKeys keeps the private keys of the SSH authorities; nil means sshca.Software: in the database, encrypted.
	SSHKeys sshca.KeySource
	// Logger defaults to discarding.
	Logger *slog.Logger
	// Around, if not nil, goes around the handler of all requests; controltest watches the answers by it.
	Around func(http.Handler) http.Handler
	// Now is the clock of certificates and records; nil means time.Now.
	Now func() time.Time
}

func (cfg *Config) validate() error {
	switch {
	case cfg.Dir == "":
		return kind.New(kind.Invalid, "control needs a directory")
	case cfg.Listen == "":
		return kind.New(kind.Invalid, "control needs an address to listen on")
	case (cfg.TLSCertFile == "") != (cfg.TLSKeyFile == ""):
		return kind.New(kind.Invalid, "a TLS certificate and its key must be given together")
	}
	if cfg.PublicURL != "" {
		u, err := url.Parse(cfg.PublicURL)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
			return kind.New(kind.Invalid, "the public URL must be https://host[:port]")
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.SSHKeys == nil {
		cfg.SSHKeys = sshca.Software{}
	}
	for to, preset := range map[*int]int{&cfg.MaxStreams: defaultMaxStreams, &cfg.MaxConnections: defaultMaxConnections, &cfg.EnrolPerMinute: 120, &cfg.EnrolTotalPerMinute: 3000} {
		if *to <= 0 {
			*to = preset
		}
	}
	return nil
}

// Control is a control plane. Its methods are safe for concurrent use.
type Control struct {
	cfg        Config
	log        *slog.Logger
	store      *store.Store
	hub        *hub
	certs      certs
	router     *router
	streams    *streams
	enrolments *rates[netip.Addr]
	moves      *rates[string] // by device
	lastSeen   *lastSeen      // of devices
	lastUsed   *lastSeen      // of API tokens
	questions  *questions
	replicas   *replicas // nil with SQLite
	krl        krlMemo
	listener   net.Listener
	publicURL  string
	ready      chan struct{}
	closeOnce  sync.Once
	closeErr   error
	watches    chan struct{} // of sessions, at once
	// killTimeout is killTimeout but in tests.
	killTimeout atomic.Int64
	// description renders the OpenAPI document once.
	description func() ([]byte, error)
}

// New opens the store and the listener, so that URL is known; nothing is answered before Run. Whoever does not call
// Run calls Close.
func New(cfg Config) (*Control, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Control{
		cfg: cfg, log: cfg.Logger, streams: newStreams(cfg.MaxStreams),
		lastSeen: newLastSeen(func(ctx context.Context, tx *store.Tx, at map[string]time.Time) error { return tx.SetLastSeen(ctx, at) }),
		lastUsed: newLastSeen(func(ctx context.Context, tx *store.Tx, at map[string]time.Time) error {
			return tx.SetTokensUsed(ctx, at)
		}),
		questions: newQuestions(), watches: make(chan struct{}, maxSessionWatches), ready: make(chan struct{}),
		enrolments: newRates[netip.Addr](
			perMinute(cfg.EnrolPerMinute), cfg.EnrolPerMinute/2+1, perMinute(cfg.EnrolTotalPerMinute), cfg.EnrolTotalPerMinute/2+1),
		moves: newRates[string](perMinute(movesPerMinute), movesPerMinute, perMinute(allMovesPerMin), allMovesBurst),
	}
	c.killTimeout.Store(int64(killTimeout))
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.router = c.routes()
	c.description = sync.OnceValues(c.describe)
	return c, nil
}

func (c *Control) open() error {
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := c.openStore(); err != nil {
		return err
	}
	c.hub = newHub(c.store, c.log)
	c.hub.explainAlmost = c.cfg.ExplainAlmost
	c.store.SetImpact(c.auditedImpact)
	if c.store.Shared() {
		c.replicas = newReplicas(c.store, c.log, c.streams, c.questions)
		c.streams.others, c.questions.others = c.replicas, c.replicas
	}
	var err error
	if c.listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", c.cfg.Listen); err != nil {
		return kind.New(kind.Unavailable, "cannot listen on %s", c.cfg.Listen).WithCause(err).
			WithHint("another program may have the port; choose another one")
	}
	if err := c.nameServer(); err != nil {
		return err
	}
	return nil
}

// nameServer settles the public URL and the certificate for it.
func (c *Control) nameServer() error {
	listenHost, port, err := net.SplitHostPort(c.listener.Addr().String())
	if err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	c.publicURL = strings.TrimRight(c.cfg.PublicURL, "/")
	if c.publicURL == "" {
		host := listenHost
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
			if len(c.cfg.Hostnames) > 0 {
				host = c.cfg.Hostnames[0]
			}
		}
		c.publicURL = "https://" + net.JoinHostPort(host, port)
	}
	if c.cfg.TLSCertFile != "" {
		c.certs, err = openCertFiles(c.cfg.TLSCertFile, c.cfg.TLSKeyFile, c.cfg.Now)
		return err
	}
	u, err := url.Parse(c.publicURL)
	if err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	configured, _, err := net.SplitHostPort(c.cfg.Listen)
	if err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	names := serverNames(listenHost, u.Hostname(), append([]string{configured}, c.cfg.Hostnames...))
	if c.store.Shared() {
		c.certs, err = sharedCA(c.store, c.cfg.Dir, names, c.cfg.Now)
		return err
	}
	c.certs, err = openCA(c.cfg.Dir, names, c.cfg.Now)
	return err
}

// Close releases what New opened. Run does it too.
func (c *Control) Close() error {
	c.closeOnce.Do(func() {
		if c.listener != nil {
			if err := c.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				c.closeErr = err
			}
		}
		if c.store != nil {
			c.closeErr = errors.Join(c.closeErr, c.store.Close())
		}
	})
	return c.closeErr
}

// Run serves until ctx ends and returns after the last goroutine. It is called once.
func (c *Control) Run(ctx context.Context) error {
	defer func() { _ = c.Close() }() // the error of serving matters more
	// Streams live until the control plane stops, so requests get a context that ends with it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.hub.rebuild(ctx); err != nil {
		return fmt.Errorf("start control: %w", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.hub.run(ctx) })
	if c.replicas != nil {
		wg.Go(func() { c.replicas.run(ctx) })
		wg.Go(func() { c.store.Watch(ctx, c.log, c.replicas) })
	}
	wg.Go(func() { c.lastSeen.run(ctx, c.store, c.log) })
	wg.Go(func() { c.lastUsed.run(ctx, c.store, c.log) })
	wg.Go(func() { c.keepHouse(ctx) })
	wg.Go(func() { c.lapsePosture(ctx) })
	srv := c.server(ctx)
	failed := make(chan error, 1)
	wg.Go(func() {
		l := netutil.LimitListener(newHostListener(c.listener, max(1, c.cfg.MaxConnections/2)), c.cfg.MaxConnections)
		failed <- srv.ServeTLS(l, "", "")
	})
	close(c.ready)
	c.log.InfoContext(ctx, "control plane ready", "url", c.publicURL)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	cancel()
	stopCtx, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer stop()
	if stopErr := srv.Shutdown(stopCtx); stopErr != nil {
		c.log.WarnContext(stopCtx, "requests did not end in time", "error", stopErr)
		err = errors.Join(err, srv.Close())
	}
	wg.Wait()
	return errors.Join(err, c.Close())
}

func (c *Control) server(ctx context.Context) *http.Server {
	var handler http.Handler = c
	if c.cfg.Around != nil {
		handler = c.cfg.Around(c)
	}
	return &http.Server{
		Handler: handler,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: c.certs.certificate,
		},
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      responseTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
}

// Ready is closed when everything answers.
func (c *Control) Ready() <-chan struct{} { return c.ready }

// URL is the public URL.
func (c *Control) URL() string { return c.publicURL }

// CAPEM is the built-in CA's certificate, nil with a certificate of one's own.
func (c *Control) CAPEM() []byte { return c.certs.caPEM() }

// AccountID is the account's ID, 32 hex digits.
func (c *Control) AccountID() string { return c.store.Account().ID }

// CreateToken makes an API token; several may have the same name. Without permissions it may do everything.
func (c *Control) CreateToken(ctx context.Context, f store.TokenFields) (token string, err error) {
	if len(f.Permissions) == 0 {
		f.Permissions = []string{PermissionAll}
	}
	if f.Permissions, err = permissionsNamed(f.Permissions); err != nil {
		return "", err
	}
	err = c.store.Update(ctx, store.System, func(tx *store.Tx) (err error) {
		_, token, err = tx.CreateToken(ctx, f)
		return err
	})
	return token, err
}

// Tokens lists the API tokens that are not revoked, and with all those that are.
func (c *Control) Tokens(ctx context.Context, all bool) (list []store.Token, err error) {
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		list, err = r.Tokens(ctx, all)
		return err
	})
	return list, err
}

// RevokeTokens ends the API tokens of a name, or the one with an ID, at once and for a control plane that runs too. It is
// kind.NotFound when there is none.
func (c *Control) RevokeTokens(ctx context.Context, nameOrID string) (n int64, err error) {
	err = c.store.Update(ctx, store.System, func(tx *store.Tx) (err error) {
		if n, err = tx.RevokeTokens(ctx, nameOrID); err == nil && n == 0 {
			err = kind.New(kind.NotFound, "there is no API token %q", nameOrID)
		}
		return err
	})
	return n, err
}

// EnsureGateway makes the gateway of a name known and gives it a new token in place of its old one.
func (c *Control) EnsureGateway(ctx context.Context, name string) (token string, err error) {
	err = c.store.Update(ctx, store.System, func(tx *store.Tx) (err error) {
		_, token, err = tx.EnsureGateway(ctx, name)
		return err
	})
	return token, err
}
