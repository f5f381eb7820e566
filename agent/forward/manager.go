package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/relay"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// Dialer opens flows to targets. Its errors are *fault.Error.
type Dialer interface {
	DialFlow(ctx context.Context, d localapi.Dial) (relay.Flow, error)
	DialPacket(ctx context.Context, d localapi.Dial) (net.Conn, error)
}

// Store keeps one JSON file; *statefile.Dir is one.
type Store interface {
	Read(name string, out any) error
	Write(name string, v any) error
}

// Config of a Manager; zero limits and times mean the defaults named.
type Config struct {
	Dialer Dialer
	Store  Store
	// Allow reports whether an account may use the forwards of this agent.
	Allow func(localsock.Caller) bool
	// Restricted says that the process has rights which the owner of the forwards has not: then there are no sockets in
	// the file system and no ports below 1024, which the owner could not have made either.
	Restricted bool
	Logger     *slog.Logger
	// MaxForwards bounds the forwards; 0 means 64. MaxConns those of one forward, and of UDP the clients; 0 means 512.
	MaxForwards, MaxConns int
	// DialTimeout bounds a dial; 0 means 10 s. UDPIdle ends the flow of a silent client; 0 means 60 s.
	DialTimeout, UDPIdle time.Duration
	// Retry is how often a busy port is tried again; 0 means 5 s.
	Retry time.Duration
}

// file is the name of the kept file.
const file = "forwards.json"

// kept is its content.
type kept struct {
	Forwards []Spec `json:"forwards"`
}

// Manager keeps the forwards. Safe for concurrent use.
type Manager struct {
	cfg Config
	log *slog.Logger

	change sync.Mutex // held over a change of what is kept, disk included

	mu       sync.Mutex // guards what follows
	forwards map[string]*forward
	spawn    func(f *forward, ln listener) // nil unless Run runs
	broken   error                         // why the file cannot be read; then nothing is written
}

// New returns a manager; it starts nothing and reads nothing.
func New(cfg Config) (*Manager, error) {
	if cfg.Dialer == nil || cfg.Store == nil || cfg.Allow == nil {
		return nil, errors.New("make forwards: dialer, store and Allow are needed")
	}
	setDefault(&cfg.MaxForwards, 64)
	setDefault(&cfg.MaxConns, 512)
	setDefault(&cfg.DialTimeout, 10*time.Second)
	setDefault(&cfg.UDPIdle, time.Minute)
	setDefault(&cfg.Retry, 5*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Manager{cfg: cfg, log: cfg.Logger, forwards: map[string]*forward{}}, nil
}

func setDefault[T int | time.Duration](p *T, d T) {
	if *p == 0 {
		*p = d
	}
}

// Load reads what is kept. A file that cannot be read is left alone, and nothing is added beside it.
func (m *Manager) Load() error {
	var k kept
	err := m.cfg.Store.Read(file, &k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && len(k.Forwards) > m.cfg.MaxForwards {
		err = fmt.Errorf("more than %d forwards", m.cfg.MaxForwards)
	}
	for _, s := range k.Forwards {
		if err == nil {
			err = m.valid(&s)
		}
	}
	if err != nil {
		m.broken = err
		return fmt.Errorf("read forwards: %w", err)
	}
	for _, s := range k.Forwards {
		m.forwards[s.Name] = newForward(m, s)
	}
	return nil
}

// Run serves the forwards until ctx ends, and returns after the last connection.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	spawn := func(f *forward, ln listener) {
		fctx, stop := context.WithCancel(ctx)
		f.stop.Store(&stop)
		wg.Go(func() {
			defer stop()
			f.run(fctx, ln)
		})
	}
	m.mu.Lock()
	m.spawn = spawn
	for _, f := range m.forwards {
		spawn(f, nil)
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.spawn = nil
	m.mu.Unlock()
	cancel()
	wg.Wait()
	return nil
}

// Add listens, keeps the forward, and serves it.
func (m *Manager) Add(ctx context.Context, s Spec) (Status, error) {
	m.change.Lock()
	defer m.change.Unlock()
	if err := m.admit(&s); err != nil {
		return Status{}, err
	}
	f := newForward(m, s)
	ln, err := f.listen(ctx)
	if err != nil {
		return Status{}, err
	}
	f.spec.Listen = ln.address() // port 0 became a port, which stays
	if err := m.write(append(m.specs(), f.spec)); err != nil {
		return Status{}, errors.Join(err, ln.Close())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forwards[s.Name] = f
	if m.spawn == nil {
		return Status{}, errors.Join(fault.New(string(kind.Unavailable), "the agent is ending"), ln.Close())
	}
	f.setState(localapi.ForwardListening, "")
	m.spawn(f, ln)
	return f.status(), nil
}

// admit checks a forward against the others and gives it a name.
func (m *Manager) admit(s *Spec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.spawn == nil:
		return fault.New(string(kind.Unavailable), "the agent is starting or ending")
	case m.broken != nil:
		return fault.New(string(kind.Unavailable), "the forwards that are kept cannot be read").
			WithHint("move %s in the agent's state directory away and start the agent again", file).WithCause(m.broken)
	case len(m.forwards) >= m.cfg.MaxForwards:
		return fault.New(string(kind.Limit), "there are %d forwards already", len(m.forwards)).
			WithHint("remove one: warp-cli forward remove NAME")
	}
	if s.Name == "" {
		s.Name = m.freeNameLocked(s)
	}
	if err := m.valid(s); err != nil {
		return err
	}
	if _, taken := m.forwards[s.Name]; taken {
		return fault.New(string(kind.Conflict), "there is a forward called %s already", s.Name).
			WithHint("remove it first: warp-cli forward remove %s", s.Name)
	}
	for _, f := range m.forwards {
		if f.spec.Network == s.Network && f.spec.Listen == s.Listen {
			return fault.New(string(kind.Conflict), "%s is used by the forward %s", s.Listen, f.spec.Name).
				WithHint("remove it first: warp-cli forward remove %s", f.spec.Name)
		}
	}
	return nil
}

// Kept reports whether there are forwards in a state directory that no manager uses. What cannot be read counts as none:
// the manager says what is wrong with it when it is next started.
func Kept(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return false
	}
	var k kept
	return json.Unmarshal(b, &k) == nil && len(k.Forwards) > 0
}

// valid checks a forward by itself.
func (m *Manager) valid(s *Spec) error {
	if err := s.validate(); err != nil || !m.cfg.Restricted {
		return err
	}
	if s.Network == Unix {
		return fault.New(localapi.CodePermission, "this agent has rights that you have not, so it makes no sockets for you").
			WithHint("use a port, or: warp-cli target connect TARGET --unix PATH")
	}
	if ap := netip.MustParseAddrPort(s.Listen); ap.Port() != 0 && ap.Port() < 1024 { // validate has read it
		return fault.New(localapi.CodePermission, "this agent has rights that you have not, so it takes no port below 1024 for you").
			WithHint("choose a port from 1024 on")
	}
	return nil
}

func (m *Manager) freeNameLocked(s *Spec) string {
	clean := func(r rune) rune {
		if r < 0x80 && validName("x"+string(r)) {
			return r
		}
		return '-'
	}
	base := fmt.Sprintf("%s-%d", mapName(s.Target, clean), s.Port)
	for i := 1; ; i++ {
		name := base
		if i > 1 {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		if _, taken := m.forwards[name]; !taken {
			return name
		}
	}
}

func mapName(s string, f func(rune) rune) string {
	if len(s) > maxNameBytes-16 {
		s = s[:maxNameBytes-16]
	}
	out := []rune("")
	for _, r := range s {
		out = append(out, f(r))
	}
	if len(out) == 0 || out[0] == '-' || out[0] == '.' {
		out = append([]rune("f"), out...)
	}
	return string(out)
}

// Remove ends a forward with its connections and forgets it.
func (m *Manager) Remove(name string) error {
	m.change.Lock()
	defer m.change.Unlock()
	m.mu.Lock()
	f, ok := m.forwards[name]
	m.mu.Unlock()
	if !ok {
		return fault.New(string(kind.NotFound), "there is no forward called %q", fault.Clip(name)).WithHint("see them: warp-cli forward list")
	}
	rest := slices.DeleteFunc(m.specs(), func(s Spec) bool { return s.Name == name })
	if err := m.write(rest); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.forwards, name)
	m.mu.Unlock()
	f.end()
	return nil
}

func (m *Manager) write(specs []Spec) error {
	slices.SortFunc(specs, func(a, b Spec) int { return cmpStrings(a.Name, b.Name) })
	return m.cfg.Store.Write(file, kept{Forwards: specs})
}

// specs returns what is kept.
func (m *Manager) specs() []Spec {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Spec, 0, len(m.forwards)+1)
	for _, f := range m.forwards {
		out = append(out, f.spec)
	}
	return out
}

// List returns every forward, by name.
func (m *Manager) List() []Status {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.forwards))
	m.mu.Unlock()
	out := make([]Status, 0, len(all))
	for _, f := range all {
		out = append(out, f.status())
	}
	slices.SortFunc(out, func(a, b Status) int { return cmpStrings(a.Name, b.Name) })
	return out
}

func cmpStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
