package control_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
	"weft/control/store"
	"weft/internal/kind"
)

// "weft control token create" writes to the database of a control plane that runs. What it wrote raised the revision
// without the running one hearing of it, and from then on every new stream and every certificate waited for a view of
// a revision that nobody was going to build.
func TestAnotherProcessWrites_regression(t *testing.T) {
	dir := t.TempDir()
	s := controltest.Start(t, control.Config{Dir: dir})
	device := s.ClientWith(api.Secret(s.Enrol("jdoe@company.com", "laptop").Token))
	other, err := control.New(control.Config{Dir: dir, Database: s.Config.Database, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.CreateToken(t.Context(), store.TokenFields{Name: "another"}); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	watch[api.AgentState](t, device, api.PathAgentSync).until(t, "a state", func(*api.AgentState) bool { return true })
}

// A token that was replaced because it leaked must not go on to read the policy over a stream that it opened before.
func TestGatewayToken_ReplacedEndsItsStream_regression(t *testing.T) {
	s := controltest.New(t)
	old, err := s.Control.EnsureGateway(t.Context(), "gw")
	if err != nil {
		t.Fatal(err)
	}
	w := watch[api.GatewayState](t, s.ClientWith(api.Secret(old)), api.PathGatewaySync)
	w.until(t, "a state", func(*api.GatewayState) bool { return true })
	fresh, err := s.Control.EnsureGateway(t.Context(), "gw")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ended(t); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("the old token's stream ended with %v", err)
	}
	watch[api.GatewayState](t, s.ClientWith(api.Secret(fresh)), api.PathGatewaySync).
		until(t, "a state for the new token", func(*api.GatewayState) bool { return true })
}

// The body of an enrolment is read before anybody is known: it must be small.
func TestEnrol_BodyOfAStrangerIsSmall_regression(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	r := c.do(t, http.MethodPost, api.PathEnrol, "", `{"key":"`+strings.Repeat("k", 64<<10)+`"}`)
	if r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("64 KiB from a stranger: status %d: %s", r.status, r.raw)
	}
}

// The decoder matches the name of a field as Unicode folds it: the long s is an s to it. The check for keys that
// stand twice has to see what the decoder sees.
func TestJSON_KeyTwiceByFolding_regression(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	for _, body := range []string{
		`{"hostname":"one","hoſtname":"two","ip":{"ipv4":{"ip_addr":"10.0.0.1"}}}`,
		`{"hostname":"one","ip":{"ipv4":{"ip_addr":"10.0.0.1","virtual_networK_id":"x","virtual_network_id":"y"}}}`,
	} {
		r := c.admin(t, http.MethodPost, "~/infrastructure/targets", body)
		if r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "stands twice") {
			t.Errorf("%s: status %d: %s", body, r.status, r.raw)
		}
	}
}

// The directory may exist before, with a mode that lets others look in.
func TestFiles_ArePrivateInAnOpenDirectory_regression(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows keeps permissions elsewhere")
	}
	dir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := controltest.Start(t, control.Config{Dir: dir})
	s.VNET("staging")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if f.Name() != "ca.pem" && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", f.Name(), info.Mode().Perm())
		}
	}
}

// Each kind of credential is worth nothing where another is asked for.
func TestCredentials_AreNotExchangeable_regression(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	_, connector := s.Tunnel("lab")
	tokens := map[string]string{
		"api": s.Token, "device": s.Enrol("jdoe@company.com", "laptop").Token, "gateway": s.Gateway("gw").Token, "connector": connector,
		"account": s.AccountID,
	}
	for _, e := range []struct{ kind, method, path string }{
		{"api", http.MethodGet, "~/infrastructure/targets"},
		{"api", http.MethodGet, "~/no/such/path"},
		{"api", http.MethodPost, api.PathEnrolmentKeys},
		{"api", http.MethodPost, api.PathGateways},
		{"device", http.MethodGet, api.PathAgentSelf},
		{"device", http.MethodDelete, api.PathAgentSelf},
		{"device", http.MethodGet, api.PathAgentSync},
		{"gateway", http.MethodPut, api.PathGatewaySelf},
		{"gateway", http.MethodGet, api.PathGatewaySync},
		{"gateway", http.MethodPost, api.PathGatewayCertificate},
		{"connector", http.MethodGet, api.PathConnectorSync},
	} {
		for name, token := range tokens {
			if name == e.kind {
				continue
			}
			if r := c.do(t, e.method, e.path, token, ""); r.status != http.StatusUnauthorized {
				t.Errorf("%s %s with the %s token: status %d: %s", e.method, e.path, name, r.status, r.raw)
			}
		}
		if r := c.do(t, e.method, e.path, "", ""); r.status != http.StatusBadRequest {
			t.Errorf("%s %s without a token: status %d: %s", e.method, e.path, r.status, r.raw)
		}
	}
}

// An enrolled device that comes from another address with every request must not have the control plane write a
// revision, and tell everybody, for each.
func TestSync_DeviceThatMovesAllTheTime_regression(t *testing.T) {
	s := controltest.New(t)
	device := s.Enrol("jdoe@company.com", "laptop").Token
	limited := 0
	for i := range 200 {
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
		tr := &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{RootCAs: s.Roots}, DisableKeepAlives: true}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+api.PathAgentSync, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+device)
		resp, err := (&http.Client{Transport: tr}).Do(req)
		if err != nil {
			t.Skipf("no connection from 127.0.1.%d: %v", i+1, err) // only Linux has all of 127/8
		}
		if resp.StatusCode == http.StatusTooManyRequests {
			limited++
		}
		cancel()
		_ = resp.Body.Close() // cut on purpose
	}
	if limited < 100 {
		t.Errorf("of 200 moves in a row %d were refused", limited)
	}
}

func TestPanic_AnswersAnEnvelope_regression(t *testing.T) {
	s := controltest.New(t)
	s.Control.PanicForTest("GET /panic")
	r := newRawClient(t, s).do(t, http.MethodGet, "/panic", "", "")
	if r.status != http.StatusInternalServerError || strings.Contains(string(r.raw), "secret of the panic") {
		t.Errorf("status %d: %s", r.status, r.raw)
	}
}

// Connections cost no credential: one host must not be able to hold all that there are.
func TestConnections_OneHostCannotTakeAll_regression(t *testing.T) {
	s := controltest.Start(t, control.Config{Dir: t.TempDir(), MaxConnections: 16})
	addr := strings.TrimPrefix(s.URL, "https://")
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}}
	for range 20 {
		c, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Skipf("no connection from 127.0.0.66: %v", err) // only Linux has all of 127/8
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // less than silence is suffered
	defer cancel()
	if err := s.Client.Do(ctx, http.MethodGet, api.PathHealth, nil, nil); err != nil {
		t.Errorf("another host: %v", err)
	}
}

// Two mailboxes that only Unicode folding makes equal are two users: the policy tells them apart, and enrolment must not
// give a device of the one the identity of the other.
func TestEnrol_MailboxesThatFoldToOne_regression(t *testing.T) {
	s := controltest.New(t)
	one, two := s.Enrol("kim@company.com", "laptop"), s.Enrol("\u212aim@company.com", "laptop")
	if one.Email == two.Email {
		t.Errorf("both are %q", one.Email)
	}
	if same := s.Enrol("KIM@company.com", "phone"); same.Email != one.Email {
		t.Errorf("ASCII case makes a user of its own: %q", same.Email)
	}
}

// A token that leaked must be revocable, by another process than the one that serves.
func TestRevokeTokens_WhileAnotherProcessServes_regression(t *testing.T) {
	dir := t.TempDir()
	s := controltest.Start(t, control.Config{Dir: dir})
	c := newRawClient(t, s)
	c.good(t, http.MethodGet, "~/infrastructure/targets", "")
	other, err := control.New(control.Config{Dir: dir, Database: s.Config.Database, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }() // read only from here on
	if n, err := other.RevokeTokens(t.Context(), "test"); err != nil || n != 1 {
		t.Fatalf("revoked %d, %v", n, err)
	}
	if r := c.admin(t, http.MethodGet, "~/infrastructure/targets", ""); r.status != http.StatusUnauthorized {
		t.Errorf("status %d: %s", r.status, r.raw)
	}
	if _, err := other.RevokeTokens(t.Context(), "test"); !kind.Is(err, kind.NotFound) {
		t.Errorf("a second time: %v", err)
	}
}
