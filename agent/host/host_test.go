package host_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/agent"
	"weft/agent/fault"
	"weft/agent/host"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/localsock"
	"weft/internal/testwait"
)

// TestHost_TwoUsersTwoOrganisations: sessions of two accounts, and two profiles of one, are connected at the same time,
// each with its own key and its own way, and come back with the service.
func TestHost_TwoUsersTwoOrganisations(t *testing.T) {
	acme, globex := newOrg(t, "acme"), newOrg(t, "globex")
	h := start(t, testConfig(t))
	h.join("1000", "", acme.enrolment("alice@acme"))
	h.join("1001", "", acme.enrolment("bob@acme"))
	_, err := h.AddProfile(t.Context(), "1000", "globex")
	must(t, err)
	h.join("1000", "globex", globex.enrolment("alice@globex"))

	check := func() {
		t.Helper()
		for _, tt := range []struct{ account, profile, want string }{
			{"1000", "", "acme alice@acme"},
			{"1000", "default", "acme alice@acme"},
			{"1000", "globex", "globex alice@globex"},
			{"1001", "", "acme bob@acme"},
		} {
			testwait.Until(t, "connected", func() bool { return h.statusOf(tt.account, tt.profile).State == localapi.Connected })
			if got := h.whose(tt.account, tt.profile); got != tt.want {
				t.Errorf("%s/%s leads to %q; want %q", tt.account, tt.profile, got, tt.want)
			}
		}
	}
	check()
	if st := h.statusOf("1000", "globex"); st.Profile != "globex" || st.Email != "alice@globex" {
		t.Errorf("status %+v", st)
	}
	if st := h.statusOf("1001", ""); st.Profile != "" {
		t.Errorf("a status names the only profile: %q", st.Profile)
	}
	keys := map[string]bool{}
	for _, dir := range []string{"users/1000", "users/1001", "users/1000/profiles/*"} {
		found, err := filepath.Glob(filepath.Join(h.cfg.Agent.StateDir, dir, "secrets.json"))
		must(t, err)
		for _, path := range found {
			b, err := os.ReadFile(path)
			must(t, err)
			keys[string(b)] = true
			if fi, err := os.Stat(filepath.Dir(path)); err != nil || fi.Mode().Perm() != 0o700 {
				t.Errorf("%s has mode %v, %v", filepath.Dir(path), fi.Mode(), err)
			}
		}
	}
	if len(keys) != 3 {
		t.Errorf("%d keys in three sessions", len(keys))
	}
	if got := h.Sessions(); len(got.Sessions) != 3 {
		t.Errorf("sessions %+v", got)
	}

	h = h.restart()
	if got := h.Stats().Sessions; got != 3 {
		t.Errorf("%d sessions came back with the service; want the three that were connected", got)
	}
	check()
	// One who disconnects stays so; nobody else is touched.
	h.with("1001", "", func(a server.Agent) {
		_, err := a.Pause(t.Context(), 0)
		must(t, err)
	})
	h = h.restart()
	if got := h.Stats().Sessions; got != 2 {
		t.Errorf("%d sessions came back; want the two that were connected", got)
	}
	if st := h.statusOf("1001", ""); st.State != localapi.Disconnected || st.Email != "bob@acme" {
		t.Errorf("status %+v", st)
	}
}

// TestHost_SingleRegistrationMigrates: the state of a warp-svc with one registration is that of the own account's profile
// default, without a file being moved, and the older program still reads it.
func TestHost_SingleRegistrationMigrates(t *testing.T) {
	acme := newOrg(t, "acme")
	cfg := testConfig(t)
	old := func(f func(a *agent.Agent)) {
		t.Helper()
		ready := make(chan agent.Ready, 1)
		c := cfg.Agent
		c.OnReady = func(r agent.Ready) { ready <- r }
		a, err := agent.New(c)
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		<-ready
		f(a)
		cancel()
		must(t, <-done)
	}
	files := func() map[string]string {
		t.Helper()
		out := map[string]string{}
		entries, err := os.ReadDir(cfg.Agent.StateDir)
		must(t, err)
		for _, e := range entries {
			if e.Name() == "state.json" || e.IsDir() {
				continue // what control said last, with the time
			}
			b, err := os.ReadFile(filepath.Join(cfg.Agent.StateDir, e.Name()))
			must(t, err)
			out[e.Name()] = string(b)
		}
		return out
	}
	var before localapi.Registration
	old(func(a *agent.Agent) {
		_, err := a.Register(t.Context(), acme.enrolment("jdoe@acme"))
		must(t, err)
		_, err = a.Connect(t.Context())
		must(t, err)
		_, err = a.SelectVNET(t.Context(), "acme-net")
		must(t, err)
		before, err = a.Registration()
		must(t, err)
	})
	want := files()
	h := start(t, cfg)
	testwait.Until(t, "connected by itself", func() bool { return h.statusOf("0", "").State == localapi.Connected })
	if got := h.whose("0", localapi.DefaultProfile); got != "acme jdoe@acme" {
		t.Errorf("the tunnel leads to %q", got)
	}
	h.with("0", "", func(a server.Agent) {
		after, err := a.Registration()
		if diff := cmp.Diff(before, after); err != nil || diff != "" {
			t.Errorf("registration: %v\n%s", err, diff)
		}
	})
	if st := h.statusOf("1000", ""); st.State != localapi.Unregistered {
		t.Errorf("another account has it too: %+v", st)
	}
	h.stop()
	if diff := cmp.Diff(want, files()); diff != "" {
		t.Errorf("the files changed:\n%s", diff)
	}
	old(func(a *agent.Agent) {
		testwait.Until(t, "the older program connects", func() bool { return a.Status().State == localapi.Connected })
	})
}

func names(l localapi.ProfileList) string {
	var out []string
	for _, p := range l.Profiles {
		name := p.Name
		if p.Current {
			name += "*"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

func TestHost_Profiles(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxProfiles = 3
	h := start(t, cfg)
	ctx := t.Context()
	step := func(what string) func(localapi.ProfileList, error) func(want, wantCode string) {
		return func(l localapi.ProfileList, err error) func(string, string) {
			return func(want, wantCode string) {
				t.Helper()
				if got := names(l); code(err) != wantCode || err == nil && got != want {
					t.Errorf("%s: %q, %v; want %q, %q", what, got, err, want, wantCode)
				}
			}
		}
	}
	step("list")(h.Profiles(ctx, "1000"))("default*", "")
	step("add")(h.AddProfile(ctx, "1000", "acme"))("acme default*", "")
	step("add twice")(h.AddProfile(ctx, "1000", "acme"))("", "conflict")
	step("add a path")(h.AddProfile(ctx, "1000", "../acme"))("", "invalid")
	step("use")(h.UseProfile(ctx, "1000", "acme"))("acme* default", "")
	step("use nothing")(h.UseProfile(ctx, "1000", "nowhere"))("", localapi.CodeUnknownProfile)
	step("rename the current one")(h.RenameProfile(ctx, "1000", "acme", "acme-eu"))("acme-eu* default", "")
	step("rename to one that is there")(h.RenameProfile(ctx, "1000", "acme-eu", "default"))("", "conflict")
	step("rename nothing")(h.RenameProfile(ctx, "1000", "acme", "x"))("", localapi.CodeUnknownProfile)
	step("add a third")(h.AddProfile(ctx, "1000", "globex"))("acme-eu* default globex", "")
	step("add a fourth")(h.AddProfile(ctx, "1000", "initech"))("", "limit")
	step("another account")(h.Profiles(ctx, "1001"))("default*", "")
	if n := h.Stats().ProfilesRefused; n != 1 {
		t.Errorf("%d refusals counted", n)
	}
	if st := h.statusOf("1000", ""); st.Profile != "acme-eu" {
		t.Errorf("the current one is %q", st.Profile)
	}
	h = h.restart()
	step("after a restart")(h.Profiles(ctx, "1000"))("acme-eu* default globex", "")
	step("remove")(h.RemoveProfile(ctx, "1000", "acme-eu", false))("default* globex", "")
	step("remove again")(h.RemoveProfile(ctx, "1000", "acme-eu", false))("", localapi.CodeUnknownProfile)
	step("remove the first")(h.RemoveProfile(ctx, "1000", "default", false))("globex*", "")
	step("remove the last")(h.RemoveProfile(ctx, "1000", "globex", false))("default*", "")
	if _, _, err := h.Session(ctx, "1000", "acme-eu"); code(err) != localapi.CodeUnknownProfile {
		t.Errorf("a session of a removed profile: %v", err)
	}
	if _, _, err := h.Session(ctx, "../../etc", ""); err == nil {
		t.Error("a session of a path")
	}
}

// TestHost_RemoveWipes: nothing of a removed profile is left, neither here nor at control; a connected one needs force.
func TestHost_RemoveWipes(t *testing.T) {
	acme := newOrg(t, "acme")
	h := start(t, testConfig(t))
	ctx := t.Context()
	_, err := h.AddProfile(ctx, "1000", "acme")
	must(t, err)
	for _, profile := range []string{"default", "acme"} {
		h.join("1000", profile, acme.enrolment(profile+"@acme"))
		if _, err := h.RemoveProfile(ctx, "1000", profile, false); code(err) != "conflict" || !strings.Contains(fault.From(err).Hint, "--force") {
			t.Errorf("remove %s while it is connected: %v", profile, err)
		}
		if got := h.whose("1000", profile); got != "acme "+profile+"@acme" {
			t.Errorf("after the refusal it leads to %q", got)
		}
	}
	for i, profile := range []string{"default", "acme"} {
		_, err := h.RemoveProfile(ctx, "1000", profile, true)
		must(t, err)
		if n := acme.deletions(); n != i+1 {
			t.Errorf("control was told of %d ends; want %d", n, i+1)
		}
	}
	must(t, filepath.WalkDir(filepath.Join(h.cfg.Agent.StateDir, "users"), func(path string, d os.DirEntry, err error) error {
		if name := d.Name(); err == nil && !d.IsDir() && name != "lock" && name != "profiles.json" {
			t.Errorf("left over: %s", path)
		}
		return err
	}))
	if l, err := h.Profiles(ctx, "1000"); err != nil || names(l) != "default*" || l.Profiles[0].State != localapi.Unregistered {
		t.Errorf("profiles %+v, %v", l, err)
	}
}

// TestHost_RemoveDamaged: a registration that cannot be read can still be removed.
func TestHost_RemoveDamaged(t *testing.T) {
	cfg := testConfig(t)
	dir := filepath.Join(cfg.Agent.StateDir, "users", "1000")
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "registration.json"), []byte("{"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "secrets.json"), []byte("{}"), 0o600))
	h := start(t, cfg)
	if _, _, err := h.Session(t.Context(), "1000", ""); code(err) != "invalid" {
		t.Errorf("a damaged registration: %v", err)
	}
	if st := h.statusOf("1001", ""); st.State != localapi.Unregistered {
		t.Errorf("another account suffers: %+v", st)
	}
	_, err := h.RemoveProfile(t.Context(), "1000", "default", false)
	must(t, err)
	if st := h.statusOf("1000", ""); st.State != localapi.Unregistered {
		t.Errorf("after the removal: %+v", st)
	}
	if _, err := os.Stat(filepath.Join(dir, "secrets.json")); !os.IsNotExist(err) {
		t.Errorf("the key is left: %v", err)
	}
}

func TestHost_DamagedIndex(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":                  "{",
		"no profile":                `{"current":"a","profiles":[]}`,
		"a current that is not one": `{"current":"b","profiles":[{"name":"a","dir":"."}]}`,
		"a directory elsewhere":     `{"current":"a","profiles":[{"name":"a","dir":"../../1001"}]}`,
		"a directory twice":         `{"current":"a","profiles":[{"name":"a","dir":"."},{"name":"b","dir":"."}]}`,
		"a name twice":              `{"current":"a","profiles":[{"name":"a","dir":"."},{"name":"a","dir":"p00000000"}]}`,
		"a name that is none":       `{"current":"A","profiles":[{"name":"A","dir":"."}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			dir := filepath.Join(cfg.Agent.StateDir, "users", "1000")
			must(t, os.MkdirAll(dir, 0o700))
			must(t, os.WriteFile(filepath.Join(dir, "profiles.json"), []byte(text), 0o600))
			h := start(t, cfg)
			for range 2 { // the second must not hang on the first
				if _, err := h.Profiles(t.Context(), "1000"); code(err) != "invalid" {
					t.Errorf("got %v", err)
				}
			}
			if b, err := os.ReadFile(filepath.Join(dir, "profiles.json")); err != nil || string(b) != text {
				t.Errorf("the file was touched: %q, %v", b, err)
			}
			if st := h.statusOf("1001", ""); st.State != localapi.Unregistered {
				t.Errorf("another account suffers: %+v", st)
			}
		})
	}
}

// TestHost_SessionLimit: the limit holds, sessions in use stay, an idle one makes place, and every refusal is counted.
func TestHost_SessionLimit(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxSessions = 2
	h := start(t, cfg)
	ctx := t.Context()
	_, release1, err := h.Session(ctx, "1001", "")
	must(t, err)
	_, release2, err := h.Session(ctx, "1002", "")
	must(t, err)
	if _, _, err := h.Session(ctx, "1003", ""); code(err) != "limit" {
		t.Errorf("a session over the limit: %v", err)
	}
	if s := h.Stats(); s.SessionsRefused != 1 || s.Sessions != 2 {
		t.Errorf("stats %+v", s)
	}
	release2()
	_, release3, err := h.Session(ctx, "1003", "")
	must(t, err)
	if s := h.Stats(); s.Dropped != 1 || s.Sessions != 2 {
		t.Errorf("stats %+v", s)
	}
	if _, err := os.Stat(filepath.Join(cfg.Agent.StateDir, "users", "1002")); !os.IsNotExist(err) {
		t.Errorf("an account that kept nothing left its directory: %v", err)
	}
	release1()
	release3()
}

// TestHost_IdleSessionsEnd: what nobody uses and nobody would miss ends; what is connected stays.
func TestHost_IdleSessionsEnd(t *testing.T) {
	acme := newOrg(t, "acme")
	cfg := testConfig(t)
	cfg.IdleAfter = 50 * time.Millisecond
	h := start(t, cfg)
	h.join("1000", "", acme.enrolment("alice@acme"))
	h.statusOf("1001", "")
	var held func()
	h.with("1002", "", func(server.Agent) {})
	_, held, err := h.Session(t.Context(), "1003", "")
	must(t, err)
	testwait.Until(t, "the idle ones end", func() bool { return h.Stats().Sessions == 2 })
	var left []string
	for _, s := range h.Sessions().Sessions {
		left = append(left, s.UserID)
	}
	if diff := cmp.Diff([]string{"1000", "1003"}, left); diff != "" {
		t.Errorf("sessions left:\n%s", diff)
	}
	held()
	testwait.Until(t, "the one that was in use", func() bool { return h.Stats().Sessions == 1 })
	if got := h.whose("1000", ""); got != "acme alice@acme" {
		t.Errorf("the connected one leads to %q", got)
	}
}

// TestHost_Concurrent: many first uses of few sessions make each once, while they are dropped and profiles change.
func TestHost_Concurrent(t *testing.T) {
	cfg := testConfig(t)
	cfg.IdleAfter = 2 * time.Millisecond
	cfg.MaxSessions = 4
	h := start(t, cfg)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			account := []string{"1000", "1001", "1002", "1003", "1004", "1005"}[i%6]
			for range 30 {
				a, release, err := h.Session(t.Context(), account, "")
				if err != nil {
					if code(err) != "limit" {
						t.Error(err)
					}
					continue
				}
				if st := a.Status(); st.State != localapi.Unregistered {
					t.Errorf("status %+v", st)
				}
				release()
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if _, err := h.AddProfile(t.Context(), "1000", "x"); err != nil && code(err) != "limit" {
				t.Error(err)
			}
			if _, err := h.RemoveProfile(t.Context(), "1000", "x", true); err != nil && code(err) != "limit" && code(err) != localapi.CodeUnknownProfile {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if s := h.Stats(); s.Sessions > 4 || s.Accounts > 4 {
		t.Errorf("stats %+v", s)
	}
}

// TestHost_UnprivilegedServesItself: state of others in the directory of an ordinary user's service starts nothing.
func TestHost_UnprivilegedServesItself(t *testing.T) {
	acme := newOrg(t, "acme")
	cfg := testConfig(t)
	h := start(t, cfg)
	h.join("1000", "", acme.enrolment("alice@acme"))
	h.stop()
	cfg.Owner = &localsock.Caller{UID: 1001}
	h = start(t, cfg)
	if s := h.Stats(); s.Started != 0 {
		t.Errorf("stats %+v", s)
	}
}

var _ server.Sessions = (*host.Host)(nil)

// TestHost_ActsForOthers: an agent knows whose it is, and that the process must not lend it its rights.
func TestHost_ActsForOthers(t *testing.T) {
	me, err := localsock.Self()
	must(t, err)
	cfg := testConfig(t)
	cfg.Owner = &localsock.Caller{UID: me.UID, GID: me.GID, SID: me.SID, Privileged: true}
	h := start(t, cfg)
	for account, want := range map[string]bool{me.Account(): false, "54321": true, "S-1-5-21-1-2-3-1001": true} {
		h.with(account, "", func(a server.Agent) {
			owner, err := a.(*agent.Agent).Owner()
			if err != nil || owner.Account() != account || owner.Privileged == want {
				t.Errorf("the agent of %s is that of %+v, %v", account, owner, err)
			}
			if got := a.(*agent.Agent).ForAnother(); got != want {
				t.Errorf("the agent of %s acts for another: %v", account, got)
			}
		})
	}
}

func TestHost_AliveAndSummary(t *testing.T) {
	cfg := testConfig(t)
	h := start(t, cfg)
	h.statusOf("1000", "")
	h.statusOf("1001", "")
	must(t, h.Alive(t.Context()))
	if got := h.Summary(); got != "2 sessions, 0 connected" {
		t.Errorf("summary %q", got)
	}
	h.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := h.Alive(ctx); err == nil {
		t.Error("alive after its end")
	}
}

// stuckRing is a keyring that takes keys and, once stuck, never answers.
type stuckRing struct {
	mu    sync.Mutex // guards what follows
	keys  map[string]string
	stuck chan struct{} // calls wait for its end; nil: they do not wait
}

func (r *stuckRing) wait() {
	r.mu.Lock()
	stuck := r.stuck
	r.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
}

func (r *stuckRing) Get(_, user string) (string, error) {
	r.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[user], nil
}

func (r *stuckRing) Set(_, user, secret string) error {
	r.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[user] = secret
	return nil
}

func (r *stuckRing) Delete(_, user string) error {
	r.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.keys, user)
	return nil
}

// TestHost_KeyringHangs: a removal waits for a keyring only so long, and a session of another account goes on
// meanwhile. What the keyring was asked to delete it deletes when it answers again.
func TestHost_KeyringHangs(t *testing.T) {
	acme := newOrg(t, "acme")
	ring := &stuckRing{keys: map[string]string{}}
	cfg := testConfig(t)
	cfg.Agent.ForceFile, cfg.Agent.KeyStore = false, ring
	h := start(t, cfg)
	h.join("1000", "", acme.enrolment("alice@acme"))
	h.join("1001", "", acme.enrolment("bob@acme"))
	if len(ring.keys) != 2 {
		t.Fatalf("%d keys in the keyring", len(ring.keys))
	}
	ring.mu.Lock()
	ring.stuck = make(chan struct{})
	ring.mu.Unlock()
	begin := time.Now()
	if _, err := h.RemoveProfile(t.Context(), "1000", "default", true); err != nil {
		t.Errorf("with force: %v", err)
	}
	if took := time.Since(begin); took > 25*time.Second {
		t.Errorf("it took %s", took)
	}
	if got := h.whose("1001", ""); got != "acme bob@acme" {
		t.Errorf("the other account's tunnel leads to %q", got)
	}
	ring.mu.Lock()
	close(ring.stuck)
	ring.stuck = nil
	ring.mu.Unlock()
	_, err := h.RemoveProfile(t.Context(), "1001", "default", true)
	must(t, err)
	testwait.Until(t, "the keys are gone", func() bool {
		ring.mu.Lock()
		defer ring.mu.Unlock()
		return len(ring.keys) == 0
	})
}
