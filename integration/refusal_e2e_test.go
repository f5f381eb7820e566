//go:build e2e && linux

package integration_test

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"weft/api"
	"weft/integration/lab"
)

// auditHas reports whether a line of the gateway's audit log holds every one of the words.
func (w *world) auditHas(t *testing.T, words ...string) bool {
	t.Helper()
	b, err := os.ReadFile(w.path("audit.jsonl"))
	if err != nil {
		t.Fatalf("read the audit log: %v", err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !json.Valid(lines.Bytes()) {
			t.Fatalf("a line of the audit log is not JSON: %s", lines.Text())
		}
		if containsAll(lines.Text(), words) {
			return true
		}
	}
	return false
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

func TestLoginNotGranted(t *testing.T) {
	w := theWorld(t)
	config := w.agent.sshConfig(t)
	w.agent.selectVNET(t, "a")
	// First the counter itself: a granted login is seen by it.
	if out := w.inClient(t, nil, "ssh", "-F", config, "counted-a", "hostname"); out != "host-a\n" {
		t.Fatalf("a granted login through the counter: %q", out)
	}
	before := w.counted.toward.Load()
	if before == 0 {
		t.Fatal("the counter counts nothing")
	}
	_, err := w.run(t.Context(), w.net.client, "ssh", "-F", config, "-l", otherUser, "counted-a", "hostname")
	if err == nil {
		t.Fatalf("%s was let in", otherUser)
	}
	if !strings.Contains(err.Error(), otherUser) || !strings.Contains(err.Error(), "counted-a") {
		t.Errorf("the refusal does not say who may not log in where: %v", err)
	}
	if after := w.counted.toward.Load(); after != before {
		t.Errorf("%d bytes reached the target's sshd", after-before)
	}
	eventually(t, 30*time.Second, "the refusal stands in the audit log", func() bool {
		return w.auditHas(t, userEmail, otherUser, "login_not_permitted")
	})
}

func TestNotAllowed(t *testing.T) {
	w := theWorld(t)
	stranger := freshAgent(t, "stranger@company.com")
	accepted := w.hosts["a"].accepted.Load()
	t.Run("another user's target", func(t *testing.T) {
		stranger.failCLI(t, 9, nil, "nc", hostIPs[0], "7000")
	})
	t.Run("another user's target by name", func(t *testing.T) {
		stranger.failCLI(t, 7, []string{"host-a"}, "nc", "host-a", "7000")
	})
	t.Run("a port that no application covers", func(t *testing.T) {
		w.agent.failCLI(t, 9, nil, "nc", "--vnet", "a", hostIPs[0], "7100")
	})
	t.Run("an address that is no target", func(t *testing.T) {
		w.agent.failCLI(t, 9, nil, "nc", "--vnet", "a", hostIPs[3], "7000")
	})
	t.Run("through SOCKS5", func(t *testing.T) {
		if c, err := stranger.socks(t.Context(), "a", hostIPs[0]+":7000"); err == nil {
			_ = c.Close()
			t.Error("connected")
		} else if !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("SOCKS5 says %v; want code 2, not allowed by ruleset", err)
		}
	})
	if out := stranger.mustCLI(t, "target", "list"); strings.Contains(out, "host-a") {
		t.Errorf("the stranger sees targets:\n%s", out)
	}
	if now := w.hosts["a"].accepted.Load(); now != accepted {
		t.Errorf("%d connections reached the services of host A", now-accepted)
	}
	eventually(t, 30*time.Second, "the refusal stands in the audit log", func() bool {
		return w.auditHas(t, "stranger@company.com", hostIPs[0])
	})
}

func TestTargetFails(t *testing.T) {
	w := theWorld(t)
	t.Run("refused", func(t *testing.T) {
		w.agent.failCLI(t, 10, []string{"refused"}, "nc", "--vnet", "a", "host-a", "7999")
	})
	t.Run("no way there", func(t *testing.T) {
		// The address is in no route of the network.
		grant(t, w, "off-route", map[string]string{"10.77.0.5": w.networks["a"]})
		w.agent.failCLI(t, 11, []string{"cannot be reached", "connector"}, "nc", "--vnet", "a", "off-route", "7000")
	})
	t.Run("no answer", func(t *testing.T) {
		start := time.Now()
		w.agent.failCLI(t, 12, nil, "nc", "--vnet", "a", "dead-a", "7000")
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it took %v to give up", took)
		}
	})
}

func TestBadInput(t *testing.T) {
	w := theWorld(t)
	t.Run("unknown virtual network", func(t *testing.T) {
		w.agent.failCLI(t, 7, []string{"nowhere", "available"}, "vnet", "nowhere")
		w.agent.failCLI(t, 7, []string{"nowhere"}, "nc", "--vnet", "nowhere", "host-a", "22")
	})
	t.Run("unknown target", func(t *testing.T) {
		w.agent.failCLI(t, 7, []string{"no-such-host"}, "nc", "no-such-host", "22")
	})
	t.Run("ambiguous name", func(t *testing.T) {
		ambiguous(t, w)
	})
	t.Run("agent not running", func(t *testing.T) {
		nobody := &agent{w: w, socket: w.path("no-agent", "sock")}
		nobody.failCLI(t, 3, []string{"warp-svc"}, "status")
	})
	t.Run("another user's session", func(t *testing.T) {
		as := func(want int, args ...string) {
			t.Helper()
			cmd := lab.Command{Args: append([]string{
				"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", w.bin.CLI, "--socket", w.agent.socket,
			}, args...)}.Exec(t.Context())
			out, err := cmd.CombinedOutput()
			if err == nil || cmd.ProcessState.ExitCode() != want {
				t.Errorf("%q: got %v, %s; want exit status %d", args, err, out, want)
			}
		}
		as(5, "connect") // a session of one's own, without a registration
		as(4, "--for-user", "root", "disconnect")
	})
	t.Run("port in use", func(t *testing.T) {
		out, err := w.run(t.Context(), w.net.server, w.bin.Weft, "control", "--data-dir", t.TempDir(), "--listen", serverIP+":8443")
		if err == nil || !strings.Contains(err.Error(), "exit status 6") || !strings.Contains(err.Error(), "in use") {
			t.Errorf("got %q, %v; want exit status 6 and a word about the port", out, err)
		}
	})
	t.Run("malformed enrolment string", func(t *testing.T) {
		a := bareAgent(t)
		a.failCLI(t, 2, []string{"enrolment"}, "registration", "new", "weft1.nonsense")
	})
}

func ambiguous(t *testing.T, w *world) {
	t.Helper()
	// Two targets of one name in one network, at different addresses.
	grant(t, w, "twin", map[string]string{hostIPs[1]: w.networks["b"], hostIPs[3]: w.networks["b"]})
	w.agent.failCLI(t, 8, []string{hostIPs[1], hostIPs[3]}, "nc", "twin", "7000")
}

// grant creates targets of one name at the addresses, each in its network, and lets the user reach their echo port; it
// returns when the agent has heard of them.
func grant(t *testing.T, w *world, name string, networks map[string]string) {
	t.Helper()
	for addr, network := range networks {
		id, err := w.api.CreateTarget(t.Context(), name, netip.MustParseAddr(addr), network)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.api.DeleteTarget(cleanupContext(t), id); err != nil {
				t.Error(err)
			}
		})
	}
	app, err := w.api.CreateApplication(t.Context(), lab.Application{
		Name: name, Hostnames: []string{name}, Port: echoPort, Protocol: "TCP", Emails: []string{userEmail},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.api.DeleteApplication(cleanupContext(t), app); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 30*time.Second, "the agent hears of "+name, func() bool {
		return strings.Count(w.agent.mustCLI(t, "target", "list", "--attribute", "hostname="+name), name) == len(networks)
	})
}

// bareAgent is an agent that is not registered.
func bareAgent(t *testing.T) *agent {
	t.Helper()
	w := theWorld(t)
	a, err := w.startAgent(t.Context(), strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())))
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

func TestEnrolment(t *testing.T) {
	w := theWorld(t)
	t.Run("before it the agent says so", func(t *testing.T) {
		a := bareAgent(t)
		a.failCLI(t, 5, []string{"registration new"}, "nc", "host-a", "22")
		a.failCLI(t, 5, []string{"registration new"}, "connect")
	})
	t.Run("a string is good once", func(t *testing.T) {
		enrolment, err := w.api.CreateEnrolment(t.Context(), api.NewEnrolmentKey{Email: userEmail})
		if err != nil {
			t.Fatal(err)
		}
		first := bareAgent(t)
		first.mustCLI(t, "registration", "new", enrolment)
		first.failCLI(t, 13, nil, "registration", "new", enrolment)
		t.Run("and not on a second device", func(t *testing.T) {
			bareAgent(t).failCLI(t, 9, nil, "registration", "new", enrolment)
		})
	})
	t.Run("an expired string is refused", func(t *testing.T) {
		enrolment, err := w.api.CreateEnrolment(t.Context(), api.NewEnrolmentKey{Email: userEmail, TTLSeconds: 1})
		if err != nil {
			t.Fatal(err)
		}
		made := time.Now()
		a := bareAgent(t)
		eventually(t, 30*time.Second, "the string expires", func() bool { return time.Since(made) > 1100*time.Millisecond })
		a.failCLI(t, 9, []string{"expired", "administrator"}, "registration", "new", enrolment)
	})
	t.Run("the command line makes one", func(t *testing.T) {
		enrolment := w.inServer(t, w.bin.Weft, "enrolment", "create", "--email", userEmail, "--control", controlURL,
			"--token-file", w.path("api-token"), "--ca-file", w.caFile())
		a := bareAgent(t)
		a.mustCLI(t, "registration", "new", enrolment)
		a.mustCLI(t, "connect")
		if r := a.registration(t); r.Email != userEmail {
			t.Errorf("registered as %q", r.Email)
		}
	})
}

func (w *world) inServer(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.run(t.Context(), w.net.server, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
