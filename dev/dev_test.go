package dev_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"weft/api"
	"weft/dev"
	"weft/internal/kind"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const email = "jdoe@company.com"

// start runs a Dev and returns once it is ready, with what ends it and returns Run's error.
func start(t *testing.T, cfg dev.Config) (stop func() error) {
	t.Helper()
	d, err := dev.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("end: %v", err)
		}
	})
	select {
	case <-d.Ready():
	case err := <-done:
		stopped = true
		cancel()
		t.Fatalf("it ended before it was ready: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("not ready within 30 s")
	}
	return stop
}

func environment(t *testing.T, dir string) dev.Env {
	t.Helper()
	env, err := dev.Environment(t.Context(), dir, email)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// kept are the variables that a second start must not change.
var kept = []string{"CLOUDFLARE_BASE_URL", "CLOUDFLARE_API_HOSTNAME", "CLOUDFLARE_API_BASE_PATH", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID", "SSL_CERT_FILE"}

func TestDev_Contract(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder that is not there yet")
	stop := start(t, dev.Config{Dir: dir})
	env := environment(t, dir)

	var names []string
	for _, v := range env {
		names = append(names, v.Name)
	}
	if diff := cmp.Diff(append(kept, "WEFT_ENROLMENT"), names); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	if want := "https://" + env.Get("CLOUDFLARE_API_HOSTNAME") + env.Get("CLOUDFLARE_API_BASE_PATH"); env.Get("CLOUDFLARE_BASE_URL") != want {
		t.Errorf("the base URL is %q and its parts make %q", env.Get("CLOUDFLARE_BASE_URL"), want)
	}
	if !strings.HasPrefix(env.Get("CLOUDFLARE_API_HOSTNAME"), "127.0.0.1:") {
		t.Errorf("it listens on %s, not on the loopback address", env.Get("CLOUDFLARE_API_HOSTNAME"))
	}
	if n := len(env.Get("CLOUDFLARE_API_TOKEN")); n < 40 || n > 80 {
		t.Errorf("the API token has %d characters, not 40 to 80", n)
	}
	if _, err := api.ParseEnrolmentString(env.Get("WEFT_ENROLMENT")); err != nil {
		t.Errorf("the enrolment string: %v", err)
	}
	if again := environment(t, dir); again.Get("WEFT_ENROLMENT") == env.Get("WEFT_ENROLMENT") {
		t.Error("two calls gave the same enrolment string, which is good once")
	}
	listNetworks(t, env)

	if err := stop(); err != nil {
		t.Fatalf("end: %v", err)
	}
	if _, err := dev.Environment(t.Context(), dir, email); !kind.Is(err, kind.Unavailable) {
		t.Errorf("the environment of one that has ended: %v, want kind.Unavailable", err)
	}

	start(t, dev.Config{Dir: dir})
	second := environment(t, dir)
	for _, name := range kept {
		if second.Get(name) != env.Get(name) {
			t.Errorf("a second start changed %s from %q to %q", name, env.Get(name), second.Get(name))
		}
	}
	listNetworks(t, second)
}

// listNetworks asks as any API client does: with the bundle, the base URL and the token.
func listNetworks(t *testing.T, env dev.Env) {
	t.Helper()
	pem, err := os.ReadFile(env.Get("SSL_CERT_FILE"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	url := env.Get("CLOUDFLARE_BASE_URL") + "/accounts/" + env.Get("CLOUDFLARE_ACCOUNT_ID") + "/teamnet/virtual_networks"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+env.Get("CLOUDFLARE_API_TOKEN"))
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("GET %s: %s, %v", url, resp.Status, err)
	}
}

func TestDev_OnlyOnePerFolder(t *testing.T) {
	dir := t.TempDir()
	start(t, dev.Config{Dir: dir})
	d, err := dev.New(dev.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); !kind.Is(err, kind.Conflict) {
		t.Errorf("a second one on the same folder: %v, want kind.Conflict", err)
	}
}

func TestDev_PortInUse(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  dev.Config
	}{
		{"control", dev.Config{ControlPort: hold(t, "tcp")}},
		{"WireGuard", dev.Config{WireGuardPort: hold(t, "udp")}},
		{"connector", dev.Config{ConnectorPort: hold(t, "udp")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Dir = t.TempDir()
			d, err := dev.New(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Run(t.Context()); !kind.Is(err, kind.Conflict) || !strings.Contains(err.Error(), "in use") {
				t.Errorf("got %v, want kind.Conflict", err)
			}
		})
	}
}

func TestDev_EmbeddedConnector(t *testing.T) {
	dir := t.TempDir()
	cfg := dev.Config{Dir: dir, Connectors: []dev.Connector{{
		Tunnel: "staging", Map: map[netip.AddrPort]netip.AddrPort{netip.MustParseAddrPort("10.20.0.5:22"): netip.MustParseAddrPort("127.0.0.1:22")},
	}}}
	stop := start(t, cfg)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// The tunnel is there now, and is used again.
	start(t, cfg)
}
