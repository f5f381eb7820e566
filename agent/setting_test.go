package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/internal/testwait"
)

func (r *running) setting(name string) localapi.Setting {
	r.tb.Helper()
	for _, s := range r.Settings().Settings {
		if s.Name == name {
			return s
		}
	}
	r.tb.Fatalf("no setting %s", name)
	return localapi.Setting{}
}

// freePort is a port that nobody listens on, for the moment.
func freePort(tb testing.TB) string {
	tb.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	must(tb, err)
	defer func() { _ = ln.Close() }()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	must(tb, err)
	return port
}

// The proxy moves, connections through its old address stay.
func TestSettings_ProxyMoves(t *testing.T) {
	w := newWorld(t)
	c := throughProxy(t, w.agent.ready.Proxy, "do-target:7")
	proxyEcho(t, c)
	port := freePort(t)
	_, err := w.agent.SetSetting(t.Context(), "proxy_port", port)
	must(t, err)
	proxyEcho(t, c)
	now := w.agent.Status().ProxyAddress
	if now != "127.0.0.1:"+port {
		t.Fatalf("the proxy listens on %s, want port %s", now, port)
	}
	d := throughProxy(t, now, "do-target:7")
	proxyEcho(t, d)
	var dialer net.Dialer
	if old, err := dialer.DialContext(t.Context(), "tcp", w.agent.ready.Proxy); err == nil {
		_ = old.Close()
		t.Error("the old port still answers")
	}

	// A port that is taken: nothing changes.
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = ln.Close() }()
	_, busy, err := net.SplitHostPort(ln.Addr().String())
	must(t, err)
	_, err = w.agent.SetSetting(t.Context(), "proxy_port", busy)
	wantFault(t, err, "conflict", "warp-cli proxy port")
	if s := w.agent.setting("proxy_port"); s.Value != port || s.Origin != "user" {
		t.Errorf("setting %+v", s)
	}
	proxyEcho(t, throughProxy(t, now, "do-target:7"))

	// No listener at all, and open connections stay.
	_, err = w.agent.SetSetting(t.Context(), "operation_mode", "tunnel_only")
	must(t, err)
	if at := w.agent.Status().ProxyAddress; at != "" {
		t.Errorf("the proxy listens on %s", at)
	}
	if c, err := dialer.DialContext(t.Context(), "tcp", now); err == nil {
		_ = c.Close()
		t.Error("the proxy still listens")
	}
	proxyEcho(t, c)
	proxyEcho(t, d)
	_, err = w.agent.SetSetting(t.Context(), "operation_mode", "proxy")
	must(t, err)

	// It is kept over a restart.
	w.agent = w.agent.restart()
	if at := w.agent.ready.Proxy; at != now {
		t.Errorf("after a restart the proxy listens on %s, want %s", at, now)
	}
	l, err := w.agent.ResetSettings(t.Context(), nil)
	must(t, err)
	for _, s := range l.Settings {
		if s.Origin == "user" {
			t.Errorf("after the reset: %+v", s)
		}
	}
}

// A chosen port that is taken at the start: the agent runs, says so, and another can be chosen.
func TestSettings_BusyAtStart(t *testing.T) {
	a := startAgent(t, testConfig(t))
	port := freePort(t)
	_, err := a.SetSetting(t.Context(), "proxy_port", port)
	must(t, err)
	a.stop()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:"+port)
	must(t, err)
	defer func() { _ = ln.Close() }()
	a = startAgent(t, a.cfg)
	if n, ok := a.notice("proxy_busy"); !ok || !strings.Contains(n.Message, "warp-cli proxy port") || a.ready.Proxy != "" {
		t.Errorf("notice %+v, proxy %q", n, a.ready.Proxy)
	}
	_, err = a.SetSetting(t.Context(), "proxy_port", freePort(t))
	must(t, err)
	if a.Status().ProxyAddress == "" {
		t.Error("the proxy does not listen")
	}
}

func TestSettings_Refuses(t *testing.T) {
	a := startAgent(t, testConfig(t))
	for _, tt := range []struct{ name, value, code string }{
		{"proxy_port", "0", "invalid"},
		{"proxy_port", "65536", "invalid"},
		{"proxy_port", "x", "invalid"},
		{"operation_mode", "warp", "invalid"},
		{"auto_connect", "1441", "invalid"},
		{"auto_connect", "-1", "invalid"},
		{"tunnel_endpoint", "gw", "invalid"},
		{"tunnel_protocol", "masque", "invalid"},
		{"switch_locked", "true", localapi.CodePermission},
		{"support_url", "https://x", localapi.CodePermission},
		{"nothing", "1", "not_found"},
	} {
		before := fmt.Sprint(a.Settings())
		_, err := a.SetSetting(t.Context(), tt.name, tt.value)
		wantFault(t, err, tt.code, "")
		if after := fmt.Sprint(a.Settings()); after != before {
			t.Errorf("%s=%s changed the settings to %s", tt.name, tt.value, after)
		}
	}
	_, err := a.ResetSettings(t.Context(), []string{"proxy_port", "nothing"})
	wantFault(t, err, "not_found", "settings list")
}

// An endpoint of one's own is used at once, and control's again after a reset.
func TestSettings_Endpoint(t *testing.T) {
	w := newWorld(t)
	real := w.agent.Tunnel().Endpoint
	_, port, err := net.SplitHostPort(real)
	must(t, err)
	f := w.echoFlow(t)
	_, err = w.agent.SetSetting(t.Context(), "tunnel_endpoint", "localhost:"+port)
	must(t, err)
	testwait.Until(t, "the endpoint by name", func() bool {
		tun := w.agent.Tunnel()
		return tun.EndpointOrigin == "user" && len(tun.Endpoints) == 1 && tun.Endpoints[0] == "localhost:"+port
	})
	_, err = w.agent.ResetSettings(t.Context(), []string{"tunnel_endpoint"})
	must(t, err)
	testwait.Until(t, "control's endpoint, connected", func() bool {
		tun := w.agent.Tunnel()
		return tun.Up && tun.Endpoint == real && tun.EndpointOrigin == "control"
	})
	echoOnce(t, f)
}

func TestPause(t *testing.T) {
	w := newWorld(t)
	st, err := w.agent.Pause(t.Context(), time.Hour)
	must(t, err)
	if st.State != localapi.Disconnected || st.ResumeAt == nil || time.Until(*st.ResumeAt) > time.Hour || time.Until(*st.ResumeAt) < 59*time.Minute {
		t.Errorf("status %+v", st)
	}
	w.connect(t) // ends the pause
	if at := w.agent.Status().ResumeAt; at != nil {
		t.Errorf("connected, and paused until %s", at)
	}
	_, err = w.agent.Pause(t.Context(), time.Second)
	must(t, err)
	w.agent.waitState(localapi.Connected)
	if at := w.agent.Status().ResumeAt; at != nil {
		t.Errorf("the pause is over, and lasts until %s", at)
	}
	// A pause goes on over a restart.
	if _, err = w.agent.Pause(t.Context(), 2*time.Second); err != nil {
		t.Fatal(err)
	}
	w.agent = w.agent.restart()
	w.agent.waitState(localapi.Connected)
	if _, err = w.agent.Disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := w.agent.Status().ResumeAt; at != nil {
		t.Errorf("a disconnection for good lasts until %s", at)
	}
}

// managed writes the administrator's file of a configuration.
func managed(tb testing.TB, path, text string) {
	tb.Helper()
	must(tb, errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, 0o600)))
}

func TestManaged_LocksSettings(t *testing.T) {
	cfg := testConfig(t)
	file := filepath.Join(t.TempDir(), "mdm.json")
	cfg.ManagedFiles = []string{file}
	port := freePort(t)
	managed(t, file, `{"organization": "acme", "proxy_port": `+port+`, "switch_locked": true}`)
	a := startAgent(t, cfg)
	if a.ready.Proxy != "127.0.0.1:"+port {
		t.Errorf("the proxy listens on %s, want port %s", a.ready.Proxy, port)
	}
	if s := a.setting("proxy_port"); s.Value != port || s.Origin != "mdm" || !s.Locked {
		t.Errorf("setting %+v", s)
	}
	_, err := a.SetSetting(t.Context(), "proxy_port", freePort(t))
	wantFault(t, err, localapi.CodePermission, "mdm")
	_, err = a.ResetSettings(t.Context(), []string{"proxy_port"})
	wantFault(t, err, localapi.CodePermission, "mdm")
	_, err = a.Pause(t.Context(), 0)
	wantFault(t, err, localapi.CodePermission, "switch_locked")

	// A damaged file changes nothing.
	managed(t, file, `{"proxy_port": 0}`)
	_, err = a.RefreshManaged(t.Context())
	wantFault(t, err, "invalid", "stays so")
	if s := a.setting("proxy_port"); s.Value != port {
		t.Errorf("setting %+v", s)
	}
	// Without the file everything is the user's again.
	must(t, os.Remove(file))
	c, err := a.RefreshManaged(t.Context())
	if err != nil || c.Path != "" || len(c.Settings) != 0 {
		t.Errorf("managed %+v, %v", c, err)
	}
	if s := a.setting("proxy_port"); s.Origin == "mdm" || s.Locked {
		t.Errorf("setting %+v", s)
	}
	c, err = a.SetManagedConfig(t.Context(), `<dict><key>auto_connect</key><integer>5</integer></dict>`)
	if err != nil || c.Path != file || a.setting("auto_connect").Value != "5" {
		t.Errorf("managed %+v, %v", c, err)
	}
	for _, bad := range []string{"", "{", `{"enrolment": "weft1.x"}`} {
		_, err = a.SetManagedConfig(t.Context(), bad)
		wantFault(t, err, "invalid", "")
	}
}

// A file that cannot be used keeps the agent from starting: to go on would free what it locks.
func TestManaged_DamagedAtStart(t *testing.T) {
	cfg := testConfig(t)
	file := filepath.Join(t.TempDir(), "mdm.json")
	cfg.ManagedFiles = []string{file}
	managed(t, file, `{"no_such_key": 1}`)
	runFails(t, cfg, "managed settings")
}

// Headless enrolment: the file names another that holds the enrolment string.
func TestManaged_Enrols(t *testing.T) {
	control, gateway := newFakeControl(t), newFakeGateway(t)
	control.set(gateway.state())
	cfg := testConfig(t)
	dir := t.TempDir()
	file, key := filepath.Join(dir, "mdm.json"), filepath.Join(dir, "enrolment")
	cfg.ManagedFiles = []string{file}
	a := startAgent(t, cfg)
	managed(t, key, control.enrolment("key-1", 1)+"\n")
	managed(t, file, fmt.Sprintf(`{"enrolment_file": %q}`, key))
	_, err := a.RefreshManaged(t.Context())
	must(t, err)
	testwait.Until(t, "registered", func() bool {
		_, err := a.Registration()
		return err == nil
	})
	gateway.admit(control.devicePublicKey())
	a.waitState(localapi.Connected)
	c := a.ManagedConfig()
	if strings.Contains(fmt.Sprint(c), "weft1.") {
		t.Errorf("the secret is shown: %+v", c)
	}
}

func TestConnectivity(t *testing.T) {
	w := newWorld(t)
	c := w.agent.Connectivity(t.Context())
	if !c.OK || len(c.Checks) != 4 {
		t.Errorf("checks %+v", c)
	}
	l, err := w.agent.Devices(t.Context())
	if err != nil || len(l.Devices) != 2 || !l.Devices[0].This || l.Devices[1].This || !l.Devices[1].Revoked {
		t.Errorf("devices %+v, %v", l, err)
	}
	w.gateway.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	c = w.agent.Connectivity(ctx)
	for _, check := range c.Checks {
		if check.Name == "gateway" && (check.OK || c.OK) {
			t.Errorf("without a gateway: %+v", c)
		}
	}
}
