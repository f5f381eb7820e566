package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/agent"
	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/api"
	"weft/internal/testwait"
)

type queryT = server.TargetQuery

var noFilter queryT

func wantFault(t *testing.T, err error, code, says string) {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != code || !strings.Contains(f.Message+" "+f.Hint, says) {
		t.Errorf("got %v (%+v); want code %s and %q", err, f, code, says)
	}
}

func runFails(t *testing.T, cfg agent.Config, says string) {
	t.Helper()
	a, err := agent.New(cfg)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := a.Run(ctx); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("Run: %v; want an error that says %q", err, says)
	}
}

func TestRegister_Fails(t *testing.T) {
	control := newFakeControl(t)
	a := startAgent(t, testConfig(t))
	good := control.enrolment("key-1", 1)
	parsed, err := api.ParseEnrolmentString(good)
	must(t, err)
	wrongCA := parsed
	wrongCA.CAFingerprint = strings.Repeat("ab", 32)
	away := parsed
	away.ControlURL = "https://127.0.0.1:1"
	for _, tt := range []struct{ name, enrolment, code, says string }{
		{"empty", "", localapi.CodeEnrolmentInvalid, "malformed"},
		{"cut off", good[:len(good)/2], localapi.CodeEnrolmentInvalid, "copy it whole"},
		{"unknown key", control.enrolment("key-2", 0), localapi.CodeEnrolmentRefused, "expired, used up or revoked"},
		{"another CA", wrongCA.Encode(), "unavailable", "not trusted"},
		{"control is away", away.Encode(), "unavailable", "was not used up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := a.Register(t.Context(), tt.enrolment)
			wantFault(t, err, tt.code, tt.says)
			if st := a.Status(); st.State != localapi.Unregistered {
				t.Errorf("state %s", st.State)
			}
		})
	}
	if _, err := a.Register(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	_, err = a.Register(t.Context(), good)
	wantFault(t, err, localapi.CodeAlreadyRegistered, "warp-cli registration delete")
	b := startAgent(t, testConfig(t))
	_, err = b.Register(t.Context(), good)
	wantFault(t, err, localapi.CodeEnrolmentRefused, "used up")
}

func TestRegister_KeepsSecretsInFile(t *testing.T) {
	w := newWorld(t)
	st := w.agent.Status()
	if st.KeyStore != "file" {
		t.Errorf("key store %q", st.KeyStore)
	}
	if n, ok := w.agent.notice("key_store_file"); !ok || !strings.Contains(n.Message, "WEFT_KEYSTORE=file") {
		t.Errorf("the file is not announced: %+v", st.Notices)
	}
	for _, name := range []string{"secrets.json", "registration.json", "settings.json"} {
		fi, err := os.Stat(filepath.Join(w.agent.cfg.StateDir, name))
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", name, fi, err)
		}
	}
	reg, err := os.ReadFile(filepath.Join(w.agent.cfg.StateDir, "registration.json"))
	must(t, err)
	var sec struct{ PrivateKey, Token string }
	b, err := os.ReadFile(filepath.Join(w.agent.cfg.StateDir, "secrets.json"))
	must(t, err)
	var raw map[string]string
	must(t, json.Unmarshal(b, &raw))
	sec.PrivateKey, sec.Token = raw["private_key"], raw["token"]
	if sec.PrivateKey == "" || sec.Token == "" || strings.Contains(string(reg), sec.PrivateKey) || strings.Contains(string(reg), sec.Token) {
		t.Errorf("secrets are missing, or also in the registration file")
	}
}

func TestUnregister(t *testing.T) {
	w := newWorld(t)
	must(t, w.agent.Unregister(t.Context()))
	if n := w.control.deletions(); n != 1 {
		t.Errorf("control was told %d times", n)
	}
	if st := w.agent.Status(); st.State != localapi.Unregistered || st.VNET != nil || st.Email != "" {
		t.Errorf("status %+v", st)
	}
	for _, name := range []string{"secrets.json", "registration.json", "settings.json", "state.json"} {
		if _, err := os.Stat(filepath.Join(w.agent.cfg.StateDir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v; want it gone", name, err)
		}
	}
	_, err := w.agent.Registration()
	wantFault(t, err, localapi.CodeNotRegistered, "warp-cli registration new")
	_, err = w.agent.Connect(t.Context())
	wantFault(t, err, localapi.CodeNotRegistered, "")
	wantFault(t, w.agent.Unregister(t.Context()), localapi.CodeNotRegistered, "")
	_, err = w.agent.DialFlow(t.Context(), localapi.Dial{Name: "do-target", Port: 22})
	wantFault(t, err, localapi.CodeNotRegistered, "")

	// And a new one begins afresh, with a new key.
	before := w.control.devicePublicKey()
	_, err = w.agent.Register(t.Context(), w.control.enrolment("key-2", 1))
	must(t, err)
	if w.control.devicePublicKey() == before {
		t.Error("the key was used again")
	}
	w.gateway.admit(w.control.devicePublicKey())
	w.connect(t)
}

func TestUnregister_ControlAway(t *testing.T) {
	w := newWorld(t)
	w.control.stop()
	must(t, w.agent.Unregister(t.Context()))
	if n, ok := w.agent.notice("control_not_told"); !ok || !strings.Contains(n.Message, "revoke device device-1") {
		t.Errorf("notices %+v", w.agent.Status().Notices)
	}
	if _, err := os.Stat(filepath.Join(w.agent.cfg.StateDir, "secrets.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key is still there: %v", err)
	}
}

func TestRevoked(t *testing.T) {
	w := newWorld(t)
	f := openEcho(t, w.agent)
	w.control.revoke()
	w.agent.waitState(localapi.Disconnected)
	st := w.agent.Status()
	if st.Reason != localapi.ReasonRevoked || st.VNET != nil {
		t.Errorf("status %+v", st)
	}
	if _, err := f.Read(make([]byte, 1)); err == nil {
		t.Error("a flow lives on")
	}
	_, err := w.agent.Connect(t.Context())
	wantFault(t, err, localapi.CodeRevoked, "registration delete")
	_, err = w.agent.Targets(noFilter)
	wantFault(t, err, "unavailable", "not known")
	must(t, w.agent.Unregister(t.Context()))
	if _, ok := w.agent.notice("control_not_told"); ok {
		t.Error("a revoked device's removal is reported as untold")
	}
}

// fakeKeyring can hang, fail or forget.
type fakeKeyring struct {
	hang   chan struct{} // nil: answer
	fail   error
	forget bool
	calls  atomic.Int32
	kept   atomic.Pointer[string]
}

func (k *fakeKeyring) call() error {
	k.calls.Add(1)
	if k.hang != nil {
		<-k.hang
	}
	return k.fail
}

func (k *fakeKeyring) Get(string, string) (string, error) {
	if err := k.call(); err != nil {
		return "", err
	}
	if p := k.kept.Load(); p != nil {
		return *p, nil
	}
	return "", errors.New("not found")
}

func (k *fakeKeyring) Set(_, _, v string) error {
	if !k.forget {
		k.kept.Store(&v)
	}
	return k.call()
}

func (k *fakeKeyring) Delete(string, string) error {
	k.kept.Store(nil)
	return k.call()
}

func TestKeyStore_Keyring(t *testing.T) {
	control, gateway := newFakeControl(t), newFakeGateway(t)
	control.set(gateway.state())
	ring := &fakeKeyring{}
	cfg := testConfig(t)
	cfg.ForceFile, cfg.KeyStore = false, ring
	a := startAgent(t, cfg)
	reg, err := a.Register(t.Context(), control.enrolment("key-1", 1))
	must(t, err)
	if reg.KeyStore != "keyring" || ring.kept.Load() == nil {
		t.Errorf("registration %+v", reg)
	}
	if _, err := os.Stat(filepath.Join(cfg.StateDir, "secrets.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("secrets in a file as well: %v", err)
	}
	if _, ok := a.notice("key_store_file"); ok {
		t.Error("a file is announced")
	}
	gateway.admit(control.devicePublicKey())
	b := a.restart()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = b.Connect(ctx)
	must(t, err)
	must(t, b.Unregister(t.Context()))
	if ring.kept.Load() != nil {
		t.Error("the key is still in the keyring")
	}
}

func TestKeyStore_FallsBackToFile(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for _, tt := range []struct {
		name string
		ring *fakeKeyring
		says string
	}{
		{"keyring fails", &fakeKeyring{fail: errors.New("no daemon")}, "no daemon"},
		{"keyring forgets", &fakeKeyring{forget: true}, "not found"},
		{"keyring hangs", &fakeKeyring{hang: hang}, "did not answer within 2s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			control := newFakeControl(t)
			cfg := testConfig(t)
			cfg.ForceFile, cfg.KeyStore = false, tt.ring
			a := startAgent(t, cfg)
			start := time.Now()
			reg, err := a.Register(t.Context(), control.enrolment("key-1", 1))
			must(t, err)
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("registration took %s", took)
			}
			if reg.KeyStore != "file" {
				t.Errorf("registration %+v", reg)
			}
			if n, ok := a.notice("key_store_file"); !ok || !strings.Contains(n.Message, tt.says) {
				t.Errorf("notices %+v", a.Status().Notices)
			}
		})
	}
}

func TestKeyStore_HangsLater(t *testing.T) {
	control := newFakeControl(t)
	ring := &fakeKeyring{}
	cfg := testConfig(t)
	cfg.ForceFile, cfg.KeyStore = false, ring
	a := startAgent(t, cfg)
	_, err := a.Register(t.Context(), control.enrolment("key-1", 1))
	must(t, err)
	a.stop()
	ring = &fakeKeyring{hang: make(chan struct{})}
	t.Cleanup(func() { close(ring.hang) })
	cfg.KeyStore = ring
	b := startAgent(t, cfg)
	testwait.Until(t, "the reason", func() bool { return b.Status().Reason == localapi.ReasonKeyStore })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = b.Connect(ctx)
	wantFault(t, err, "unavailable", "key cannot be read")
	start := time.Now()
	must(t, ctx.Err())
	if err := b.Unregister(t.Context()); err == nil {
		t.Error("the key could not be deleted from the keyring, and nobody says so")
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("deletion took %s", took)
	}
	if n := ring.calls.Load(); n > 6 {
		t.Errorf("%d calls of a keyring that hangs", n)
	}
	if st := b.Status(); st.State != localapi.Unregistered {
		t.Errorf("state %s", st.State)
	}
}

func TestRegistration_Shown(t *testing.T) {
	w := newWorld(t)
	got, err := w.agent.Registration()
	must(t, err)
	want := localapi.Registration{
		SchemaVersion: 1, AccountID: "account-1", DeviceID: "device-1", Email: "jdoe@company.com",
		ControlURL: "https://" + w.control.addr, PublicKey: w.control.devicePublicKey(), KeyStore: "file",
	}
	want.RegisteredAt = got.RegisteredAt
	if d := cmp.Diff(want, got); d != "" || time.Since(got.RegisteredAt) > time.Minute {
		t.Errorf("registration (-want +got):\n%s", d)
	}
}
