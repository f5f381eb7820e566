package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/control/store"
	"weft/internal/kind"
	"weft/internal/pgtest"
)

// cut is where a connection to the database breaks.
type cut int32

const (
	nowhere      cut = iota
	beforeWrite      // the first statement with beforeWriteName does not arrive
	beforeCommit     // the commit does not arrive
	afterCommit      // the commit arrives, and its answer does not
	duringCommit     // the commit arrives, and the client is gone before the server has answered
)

const beforeWriteName = "before the write"

// cutter is between the store and the database. It breaks a connection at the next place that it is told of, once.
type cutter struct {
	server string
	at     atomic.Int32
	listen net.Listener
	wg     sync.WaitGroup
	mu     sync.Mutex
	open   map[net.Conn]struct{} // guarded by mu
}

// newCutter returns the URL of the database through a cutter.
func newCutter(t *testing.T, database string) (*cutter, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cut") //nolint:usetesting // the name of a socket is at most 107 bytes, which t.TempDir may exceed
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{server: pgtest.Socket(t, database), open: map[net.Conn]struct{}{}}
	if c.listen, err = (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, ".s.PGSQL.5432")); err != nil {
		t.Fatal(err)
	}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		_ = c.listen.Close() // accept notices
		c.breakAll()
		c.wg.Wait()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	return c, u.String()
}

func (c *cutter) accept() {
	for {
		client, err := c.listen.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).DialContext(context.Background(), "unix", c.server)
		if err != nil {
			_ = client.Close() // which says it all
			continue
		}
		c.mu.Lock()
		c.open[client], c.open[server] = struct{}{}, struct{}{}
		c.mu.Unlock()
		var answers atomic.Bool // whether answers are passed on
		answers.Store(true)
		answered := make(chan struct{}, 1)
		c.wg.Go(func() { c.up(client, server, &answers, answered) })
		c.wg.Go(func() { c.down(client, server, &answers, answered) })
	}
}

func (c *cutter) breakAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.Close() // to break it is the purpose
	}
	clear(c.open)
}

// up carries what the client says, up to the cut.
func (c *cutter) up(client, server net.Conn, answers *atomic.Bool, answered chan struct{}) {
	defer func() { _ = errors.Join(client.Close(), server.Close()) }() // the end of one is that of the other
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if !c.pass(buf[:n], server, answers, answered) {
			return
		}
	}
}

func (c *cutter) pass(said []byte, server net.Conn, answers *atomic.Bool, answered chan struct{}) bool {
	at := cut(c.at.Load())
	commit := bytes.Contains(said, []byte("commit\x00"))
	switch {
	case at == beforeWrite && bytes.Contains(said, []byte(beforeWriteName)), at == beforeCommit && commit:
		c.at.Store(int32(nowhere))
		return false
	case (at == afterCommit || at == duringCommit) && commit:
		c.at.Store(int32(nowhere))
		answers.Store(false)
		if _, err := server.Write(said); err == nil && at == afterCommit {
			<-answered
		}
		return false
	}
	_, err := server.Write(said)
	return err == nil
}

func (c *cutter) down(client, server net.Conn, answers *atomic.Bool, answered chan struct{}) {
	defer close(answered)
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if !answers.Load() {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func createNetwork(ctx context.Context, s *store.Store, name string) error {
	return s.Update(ctx, store.System, func(tx *store.Tx) error {
		_, err := tx.CreateNetwork(ctx, store.NetworkFields{Name: name})
		return err
	})
}

func networkNames(t *testing.T, s *store.Store) (names []string) {
	t.Helper()
	if err := s.View(t.Context(), func(r *store.Reader) error {
		list, err := r.ListNetworks(t.Context(), store.NetworkFilter{})
		for _, n := range list {
			names = append(names, n.Name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// A write that fails has changed nothing, and one that changed something has not failed, wherever the connection breaks.
func TestPostgreSQL_BrokenConnections(t *testing.T) {
	database := pgtest.Database(t)
	c, through := newCutter(t, database)
	s, direct := openURL(t, through, nil), openURL(t, database, nil)
	for _, tc := range []struct {
		name string
		at   cut
		kept []bool // what may have become of the write
	}{
		{"nowhere", nowhere, []bool{true}},
		{beforeWriteName, beforeWrite, []bool{false}},
		{"before the commit", beforeCommit, []bool{false}},
		{"after the commit", afterCommit, []bool{true}},
		{"during the commit", duringCommit, []bool{true, false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i := range 5 {
				name := fmt.Sprintf("%s %d", tc.name, i)
				c.at.Store(int32(tc.at))
				err := createNetwork(t.Context(), s, name)
				kept := slices.Contains(networkNames(t, direct), name)
				if !slices.Contains(tc.kept, kept) || kept != (err == nil) {
					t.Errorf("the write is there: %t; it ended with %v", kept, err)
				}
				if err != nil && !kind.Is(err, kind.Unavailable) {
					t.Errorf("the error is %v of kind %q", err, kind.Of(err))
				}
				if err := createNetwork(t.Context(), s, name+" again"); err != nil {
					t.Errorf("the next write: %v", err)
				}
			}
		})
	}
	c.breakAll()
	networkNames(t, s) // reads on connections that are all broken
	c.breakAll()
	if err := createNetwork(t.Context(), s, "after all broke"); err != nil {
		t.Error(err)
	}
	_ = c.listen.Close() // no server any more
	c.breakAll()
	if err := createNetwork(t.Context(), s, "without a server"); !kind.Is(err, kind.Unavailable) {
		t.Errorf("without a server: %v", err)
	}
	if err := s.View(t.Context(), func(*store.Reader) error { return nil }); !kind.Is(err, kind.Unavailable) {
		t.Errorf("without a server: %v", err)
	}
}

// What the database asks to try again is tried again, and not for ever.
func TestPostgreSQL_TriesAgain(t *testing.T) {
	for _, tc := range []struct {
		name     string
		code     string
		failures int
		want     kind.Kind
	}{
		{"a serialization failure", "40001", 2, ""},
		{"a deadlock", "40P01", 3, ""},
		{"one that does not end", "40001", 1000, kind.Unavailable},
		{"another error", "22012", 1, kind.Internal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			database := pgtest.Database(t)
			s := openURL(t, database, nil)
			before := networkNames(t, s)
			pgtest.Exec(t, database, `CREATE SEQUENCE failures`, fmt.Sprintf(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF nextval('failures') <= %d THEN RAISE EXCEPTION 'injected' USING ERRCODE = '%s'; END IF;
				RETURN NEW; END $$`, tc.failures, tc.code), `CREATE TRIGGER fail BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION fail()`)
			err := createNetwork(t.Context(), s, "new")
			if kind.Of(err) != tc.want {
				t.Errorf("the error is %v of kind %q", err, kind.Of(err))
			}
			now := networkNames(t, s)
			if kept := len(now) > len(before); kept != (err == nil) {
				t.Errorf("the write is there: %t", kept)
			}
		})
	}
}

// A writer that waits for another one can give up, and so can its caller.
func TestPostgreSQL_WaitingHonoursTheContext(t *testing.T) {
	database := pgtest.Database(t)
	one, two := openURL(t, database, nil), openURL(t, database, nil)
	in, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- one.Update(context.WithoutCancel(t.Context()), store.System, func(*store.Tx) error {
			close(in)
			<-leave
			return nil
		})
	}()
	<-in
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(50*time.Millisecond, cancel)
	defer timer.Stop()
	if err := createNetwork(ctx, two, "impatient"); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := createNetwork(t.Context(), two, "patient"); err != nil {
		t.Error(err)
	}
	if names := networkNames(t, one); slices.Contains(names, "impatient") || !slices.Contains(names, "patient") {
		t.Errorf("networks %q", names)
	}
}

// Replicas that start at the same time on an empty database migrate it once and agree on one account.
func TestPostgreSQL_StartTogether(t *testing.T) {
	database := pgtest.Database(t)
	const replicas = 4
	stores := make([]*store.Store, replicas)
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() {
			s, err := store.Open(t.Context(), store.Config{URL: database, Key: testKey})
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = s
		})
	}
	wg.Wait()
	for _, s := range stores {
		if s == nil {
			continue
		}
		if s.Account() != stores[0].Account() {
			t.Errorf("accounts %+v and %+v", s.Account(), stores[0].Account())
		}
		if names := networkNames(t, s); len(names) != 1 {
			t.Errorf("networks %q", names)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// heard is a listener that keeps what it hears.
type heard struct {
	joined   chan struct{}
	messages chan string
}

func (h *heard) Joined() {
	select {
	case h.joined <- struct{}{}:
	default:
	}
}

func (h *heard) Heard(m []byte) { h.messages <- string(m) }

// Messages of any size arrive whole, in the order of each sender, also when many tell at once.
func TestPostgreSQL_TellsWholeMessages(t *testing.T) {
	database := pgtest.Database(t)
	one, two := openURL(t, database, nil), openURL(t, database, nil)
	h := &heard{joined: make(chan struct{}, 1), messages: make(chan string, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { two.Watch(ctx, discard, h) })
	defer watching.Wait()
	defer cancel()
	<-h.joined
	sizes := []int{1, 5 << 10, 5<<10 + 1, 100_000, 3_000_000}
	var wg sync.WaitGroup
	for _, from := range []*store.Store{one, one, two} {
		wg.Go(func() {
			for _, n := range sizes {
				if err := from.Tell(t.Context(), bytes.Repeat([]byte("é"[:1]), n)); err != nil { // bytes, not text
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := map[int]int{}
	for range 3 * len(sizes) {
		got[len(<-h.messages)]++
	}
	for _, n := range sizes {
		if got[n] != 3 {
			t.Errorf("%d messages of %d bytes", got[n], n)
		}
	}
	if err := one.Tell(t.Context(), make([]byte, 21<<20)); err == nil {
		t.Error("a message beyond all bounds was taken")
	}
}

func TestOpen_RefusesURLs(t *testing.T) {
	const secret = "hunter2-secret"
	for name, u := range map[string]string{
		"another scheme":     "mysql://weft:" + secret + "@db/weft",
		"no URL":             "host=db password=" + secret,
		"a bad port":         "postgres://weft:" + secret + "@db:port/weft",
		"a bad TLS mode":     "postgres://weft:" + secret + "@db/weft?sslmode=please",
		"nobody there":       "postgres://weft:" + secret + "@127.0.0.1:1/weft?connect_timeout=2",
		"no socket there":    "postgres://weft:" + secret + "@/weft?host=/nowhere",
		"no certificate":     "postgres://weft:" + secret + "@127.0.0.1:1/weft?sslmode=verify-full&sslrootcert=/nowhere",
		"a control sequence": "postgres://weft:" + secret + "@db\x00/weft",
	} {
		s, err := store.Open(t.Context(), store.Config{URL: u, Key: testKey})
		if err == nil {
			t.Errorf("%s: opened; closed with %v", name, s.Close())
			continue
		}
		if k := kind.Of(err); k != kind.Invalid && k != kind.Unavailable {
			t.Errorf("%s: %v of kind %q", name, err, k)
		}
		if bytes.Contains([]byte(err.Error()), []byte(secret)) {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

func TestPasswordInURL(t *testing.T) {
	for u, want := range map[string]bool{
		"postgres://weft@db/weft": false, "postgres:///weft?host=/run": false, "postgres://weft:x@db/weft": true,
		"postgres://weft:@db/weft": true, "postgres://db/weft?password=x": true, "postgres://\x00": true,
	} {
		if got := store.PasswordInURL(u); got != want {
			t.Errorf("%q: %t", u, got)
		}
	}
}
