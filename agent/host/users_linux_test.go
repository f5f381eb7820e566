package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
)

// envChild makes the test binary a user's warp-cli: it does what envDo says at that socket.
const (
	envChild = "WEFT_HOST_TEST_SOCKET"
	envDo    = "WEFT_HOST_TEST_DO"
)

func child(socket string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := client.New(socket)
	var v any
	var err error
	verb, rest, _ := strings.Cut(os.Getenv(envDo), " ")
	switch verb {
	case "status":
		c.InSession("", rest)
		v, err = c.Status(ctx)
	case "register":
		v, err = c.Register(ctx, rest)
	case "connect":
		v, err = c.Connect(ctx, 10*time.Second)
	case "sessions":
		v, err = c.Sessions(ctx)
	case "proxy":
		v, err = throughProxy(ctx, rest)
	}
	if err != nil {
		_, _ = fmt.Fprint(os.Stdout, err)
		return 1
	}
	return map[bool]int{true: 0, false: 2}[json.NewEncoder(os.Stdout).Encode(v) == nil]
}

// throughProxy speaks HTTP CONNECT.
func throughProxy(ctx context.Context, addr string) (string, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "%s web-1:%d HTTP/1.1\r\nHost: web-1\r\n\r\n", http.MethodConnect, namePort); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// TestHost_RealUsers: processes of different accounts at one service, told apart by the kernel.
func TestHost_RealUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to run processes as other users")
	}
	acme := newOrg(t, "acme")
	cfg := testConfig(t)
	cfg.Owner = nil // this process, which is root's
	must(t, os.Chmod(filepath.Dir(cfg.Agent.Socket), 0o755))
	bin := filepath.Join(filepath.Dir(cfg.Agent.Socket), "child")
	exe, err := os.Executable()
	must(t, err)
	b, err := os.ReadFile(exe)
	must(t, err)
	must(t, os.WriteFile(bin, b, 0o755))
	h := start(t, cfg)
	as := func(uid uint32, do string) (string, error) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bin)
		cmd.Env = []string{envChild + "=" + cfg.Agent.Socket, envDo + "=" + do}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.Output()
		return string(out), err
	}
	ok := func(uid uint32, do, want string) {
		t.Helper()
		if out, err := as(uid, do); err != nil || !strings.Contains(out, want) {
			t.Errorf("uid %d, %s: %s, %v; want %s", uid, do, out, err, want)
		}
	}
	refused := func(uid uint32, do, want string) {
		t.Helper()
		if out, err := as(uid, do); err == nil || !strings.Contains(out, want) {
			t.Errorf("uid %d, %s: %s, %v; want a refusal: %s", uid, do, out, err, want)
		}
	}
	for uid, email := range map[uint32]string{54321: "alice@acme", 54322: "bob@acme"} {
		ok(uid, "status", `"state":"unregistered"`)
		ok(uid, "register "+acme.enrolment(email), email)
		ok(uid, "connect", `"state":"connected"`)
		ok(uid, "status", email)
		ok(uid, "proxy "+h.ready.Proxy, "acme "+email)
	}
	ok(0, "status", `"state":"unregistered"`)
	ok(0, "status 54321", "alice@acme")
	ok(0, "sessions", "bob@acme")
	ok(54323, "status", `"state":"unregistered"`)
	refused(54322, "status 54321", "may not act for another user")
	refused(54322, "status 0", "may not act for another user")
	refused(54322, "sessions", "administrators")
	if out, err := as(54323, "proxy "+h.ready.Proxy); err != nil || strings.Contains(out, "acme ") || !strings.Contains(out, "not registered") {
		t.Errorf("the proxy of a user without a registration: %q, %v", out, err)
	}
	if st := h.statusOf("54321", ""); st.State != localapi.Connected {
		t.Errorf("status %+v", st)
	}
}
