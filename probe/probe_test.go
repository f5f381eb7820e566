package probe_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/internal/kind"
	"weft/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	g := startGateway(t)
	dir := t.TempDir()
	enrolment := g.enrolment
	tests := []struct {
		name    string
		target  string
		vnet    string
		timeout time.Duration
		class   probe.Class
		code    int
		says    string
	}{
		{name: "a target that accepts", target: "10.20.0.5:22", vnet: "staging"},
		{name: "the default network when none is named", target: "10.20.0.5:22"},
		{name: "the name's case does not matter", target: "10.20.0.5:22", vnet: "STAGING"},
		{name: "a target over IPv6", target: "[fd20::5]:22", vnet: "staging"},
		{name: "a target that refuses", target: "10.20.0.6:22", vnet: "staging", class: probe.Refused, code: 13, says: "refused"},
		{name: "a target that policy denies", target: "10.20.0.7:22", vnet: "staging", class: probe.Denied, code: 12, says: "administratively prohibited"},
		{name: "a target denied over IPv6", target: "[fd20::7]:22", vnet: "staging", class: probe.Denied, code: 12, says: "administratively prohibited"},
		{name: "a target without an answer", target: "10.20.0.8:22", vnet: "staging", timeout: 400 * time.Millisecond, class: probe.Timeout, code: 14, says: "no answer in time"},
		{name: "a target without a way", target: "10.20.0.9:22", vnet: "staging", class: probe.Unreachable, code: 15},
		{name: "a network that is not the device's", target: "10.20.0.5:22", vnet: "payroll", class: probe.Denied, code: 12, says: "payroll"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report, err := probe.Run(t.Context(), probe.Config{
				Enrolment: enrolment, StateDir: dir, Target: netip.MustParseAddrPort(tt.target), VNET: tt.vnet, Timeout: orDefault(tt.timeout), Version: "test",
			})
			if report == nil {
				t.Fatalf("no report: %v", err)
			}
			checkFailure(t, err, tt.class, tt.code, tt.says)
			if report.ExitCode != tt.code || report.OK != (err == nil) || report.Class != tt.class {
				t.Errorf("report says %d %v %q; want %d, %q", report.ExitCode, report.OK, report.Class, tt.code, tt.class)
			}
			if _, err := json.Marshal(report); err != nil {
				t.Errorf("report as JSON: %v", err)
			}
			if text := report.Text(); !strings.Contains(text, tt.target) {
				t.Errorf("report does not name the target:\n%s", text)
			}
		})
	}
	if n := g.enrolments.Load(); n != 1 {
		t.Errorf("%d enrolments for one state directory, want 1", n)
	}
	if src := g.lastSource.Load(); src == nil || g.block.V4.Contains(*src) == g.block.V6.Contains(*src) {
		t.Errorf("flows came from %v, outside the device's block %v", src, g.block)
	}
}

func orDefault(d time.Duration) time.Duration {
	if d == 0 {
		return 5 * time.Second
	}
	return d
}

func checkFailure(t *testing.T, err error, class probe.Class, code int, says string) {
	t.Helper()
	if class == "" {
		if err != nil {
			t.Fatalf("probe failed: %v", err)
		}
		return
	}
	f, ok := errors.AsType[*probe.Failure](err)
	if !ok {
		t.Fatalf("error is %v, not a Failure", err)
	}
	if f.Class != class || f.ExitCode() != code {
		t.Errorf("class %q, exit code %d; want %q, %d (%v)", f.Class, f.ExitCode(), class, code, err)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("message %q does not say %q", err, says)
	}
}

func TestRun_GatewayDown(t *testing.T) {
	g := startGateway(t)
	cfg := probe.Config{Enrolment: g.enrolment, StateDir: t.TempDir(), Target: netip.MustParseAddrPort("10.20.0.5:22"), Timeout: 5 * time.Second}
	if _, err := probe.Run(t.Context(), cfg); err != nil {
		t.Fatalf("probe while the gateway is up: %v", err)
	}
	g.stop()
	cfg.Timeout = 300 * time.Millisecond
	_, err := probe.Run(t.Context(), cfg)
	checkFailure(t, err, probe.Handshake, 11, "handshake")
}

func TestRun_ControlDownAfterEnrolment(t *testing.T) {
	g := startGateway(t)
	cfg := probe.Config{
		Enrolment: g.enrolment, StateDir: t.TempDir(), Target: netip.MustParseAddrPort("10.20.0.5:22"), Timeout: time.Second,
	}
	if _, err := probe.Run(t.Context(), cfg); err != nil {
		t.Fatalf("first probe: %v", err)
	}
	g.control.Close()
	report, err := probe.Run(t.Context(), cfg)
	checkFailure(t, err, probe.Control, 10, "control")
	last := report.Steps[len(report.Steps)-1]
	if last.Name != "target" || !last.OK {
		t.Errorf("with the kept state the target is still checked; last step is %+v", last)
	}
}

func TestRun_ControlNeverAnswered(t *testing.T) {
	g := startGateway(t)
	g.control.Close()
	_, err := probe.Run(t.Context(), probe.Config{
		Enrolment: g.enrolment, StateDir: t.TempDir(), Target: netip.MustParseAddrPort("10.20.0.5:22"), Timeout: time.Second,
	})
	checkFailure(t, err, probe.Control, 10, "control")
}

func TestRun_BadConfig(t *testing.T) {
	target := netip.MustParseAddrPort("10.20.0.5:22")
	tests := []struct {
		name string
		cfg  probe.Config
	}{
		{name: "no state directory", cfg: probe.Config{Target: target}},
		{name: "no target", cfg: probe.Config{StateDir: t.TempDir()}},
		{name: "no port", cfg: probe.Config{StateDir: t.TempDir(), Target: netip.AddrPortFrom(target.Addr(), 0)}},
		{name: "a negative timeout", cfg: probe.Config{StateDir: t.TempDir(), Target: target, Timeout: -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report, err := probe.Run(t.Context(), tt.cfg)
			if report != nil || !kind.Is(err, kind.Invalid) {
				t.Fatalf("got %v, %v; want kind.Invalid and no report", report, err)
			}
		})
	}
}

func TestRun_NoEnrolment(t *testing.T) {
	_, err := probe.Run(t.Context(), probe.Config{StateDir: t.TempDir(), Target: netip.MustParseAddrPort("10.20.0.5:22")})
	checkFailure(t, err, probe.Control, 10, "not registered")
}

func TestRun_DamagedRegistration(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "probe.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := probe.Run(t.Context(), probe.Config{StateDir: dir, Target: netip.MustParseAddrPort("10.20.0.5:22")})
	checkFailure(t, err, probe.Control, 10, "registration")
}

func TestRegistrationIsPrivate(t *testing.T) {
	g := startGateway(t)
	dir := t.TempDir()
	if _, err := probe.Run(t.Context(), probe.Config{Enrolment: g.enrolment, StateDir: dir, Target: netip.MustParseAddrPort("10.20.0.5:22")}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "probe.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the registration has mode %v: others can read the private key", info.Mode())
	}
}
