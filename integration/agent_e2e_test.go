//go:build e2e && linux

package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/api"
	"weft/integration/lab"
)

const readHeaderTimeout = 10 * time.Second

// agent is one enrolled warp-svc in the client's namespace.
type agent struct {
	w      *world
	name   string
	dir    string
	socket string
	proxy  string
	svc    *lab.Process
}

var nextProxyPort = 40000

// newAgent starts, enrols and connects an agent, with network A selected.
func (w *world) newAgent(ctx context.Context, name, email string) (*agent, error) {
	a, err := w.startAgent(ctx, name)
	if err != nil {
		return nil, err
	}
	enrolment, err := w.api.CreateEnrolment(ctx, api.NewEnrolmentKey{Email: email})
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"registration", "new", enrolment}, {"connect"}, {"vnet", "a"}} {
		if _, err := a.cli(ctx, args...); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// startAgent starts warp-svc without enrolling it.
func (w *world) startAgent(ctx context.Context, name string) (*agent, error) {
	dir := w.path("agent-" + name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	a := &agent{w: w, name: name, dir: dir, socket: filepath.Join(dir, "sock"), proxy: net.JoinHostPort("127.0.0.1", strconv.Itoa(nextProxyPort))}
	nextProxyPort++
	return a, a.start(ctx)
}

func (a *agent) start(ctx context.Context) error {
	var err error
	a.svc, err = a.w.start(ctx, "warp-svc-"+a.name, a.w.net.client, a.w.bin.Svc, "run", "--state-dir", filepath.Join(a.dir, "state"),
		"--socket", a.socket, "--proxy-listen", a.proxy, "--verbose")
	if err != nil {
		return err
	}
	return a.svc.AwaitSocket(ctx, a.socket)
}

// exitError is a warp-cli that did not do what it was asked for.
type exitError struct {
	code   int
	stderr string
	args   []string
}

func (e *exitError) Error() string {
	return fmt.Sprintf("warp-cli %s: exit status %d: %s", strings.Join(e.args, " "), e.code, strings.TrimSpace(e.stderr))
}

// cli runs warp-cli for this agent.
func (a *agent) cli(ctx context.Context, args ...string) (string, error) {
	cmd := lab.Command{Netns: a.w.net.client, Args: append([]string{a.w.bin.CLI, "--socket", a.socket}, args...)}.Exec(ctx)
	out, err := cmd.Output()
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), &exitError{code: ee.ExitCode(), stderr: string(ee.Stderr), args: args}
	}
	return string(out), err
}

// mustCLI runs warp-cli, which must succeed.
func (a *agent) mustCLI(t *testing.T, args ...string) string {
	t.Helper()
	out, err := a.cli(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// failCLI runs warp-cli, which must fail with the exit code and say every one of the words.
func (a *agent) failCLI(t *testing.T, code int, says []string, args ...string) {
	t.Helper()
	out, err := a.cli(t.Context(), args...)
	ee, ok := errors.AsType[*exitError](err)
	if !ok {
		t.Fatalf("warp-cli %s: got %q, %v; want exit status %d", strings.Join(args, " "), out, err, code)
	}
	if ee.code != code {
		t.Errorf("%v; want exit status %d", ee, code)
	}
	for _, s := range says {
		if !strings.Contains(strings.ToLower(ee.stderr), strings.ToLower(s)) {
			t.Errorf("%v; it does not say %q", ee, s)
		}
	}
}

// status is what warp-cli status says; false while the agent does not answer.
func (a *agent) status(ctx context.Context) (localapi.Status, bool) {
	var s localapi.Status
	out, err := a.cli(ctx, "--json", "status")
	if err != nil {
		return s, false
	}
	return s, json.Unmarshal([]byte(out), &s) == nil
}

func (a *agent) registration(t *testing.T) localapi.Registration {
	t.Helper()
	var r localapi.Registration
	if err := json.Unmarshal([]byte(a.mustCLI(t, "--json", "registration", "show")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// freshAgent is an agent for one test.
func freshAgent(t *testing.T, email string) *agent {
	t.Helper()
	w := theWorld(t)
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	a, err := w.newAgent(t.Context(), name, email)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.svc.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	return a
}

// select makes network the one of new connections.
func (a *agent) selectVNET(t *testing.T, network string) {
	t.Helper()
	a.mustCLI(t, "vnet", network)
}

// exitCodeOf is the exit status that err is about.
func exitCodeOf(err error) int {
	if err == nil {
		return 0
	}
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		return ee.ExitCode()
	}
	return -1
}
