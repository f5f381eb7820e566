//go:build e2e && linux

package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/integration/lab"
)

// pgPort is where the PostgreSQL server of host A listens during its test.
const pgPort = 5432

// grantPort makes an application for one more port of the hosts, for the time of a test.
func grantPort(t *testing.T, w *world, name string, port uint16, protocol string, usernames ...string) {
	t.Helper()
	id, err := w.api.CreateApplication(t.Context(), lab.Application{
		Name: name, Port: port, Protocol: protocol, Usernames: usernames, Hostnames: []string{"host-a", "host-b"}, Emails: []string{userEmail},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.api.DeleteApplication(context.WithoutCancel(t.Context()), id); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 10*time.Second, name+" in the target list", func() bool {
		out, err := w.agent.cli(t.Context(), "target", "list", "--port", strconv.Itoa(int(port)))
		return err == nil && strings.Contains(out, protocol)
	})
}

func TestReach_Psql(t *testing.T) {
	w := theWorld(t)
	for _, tool := range []string{"psql", "initdb", "postgres", "setpriv"} {
		need(t, tool)
	}
	dir := t.TempDir()
	startPostgres(t, w, dir)
	grantPort(t, w, "database", pgPort, "POSTGRES")
	conf := filepath.Join(dir, "conf")
	if err := os.MkdirAll(filepath.Join(conf, "weft"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Run("by the protocol", func(t *testing.T) {
		cmd := lab.Command{
			Netns: w.net.client, Env: []string{"PGDATABASE=postgres"},
			Args: []string{w.bin.CLI, "--socket", w.agent.socket, "target", "connect", "host-a.a:5432", "--user", "postgres"},
		}.Exec(t.Context())
		cmd.Stdin = strings.NewReader("\\t on\nselect 6*7, current_user;\n")
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), "42 | postgres") {
			t.Errorf("got %q, %v %s", out, err, stderrOf(err))
		}
	})
	t.Run("the status is the program's", func(t *testing.T) {
		w.agent.failCLI(t, 3, []string{"no_such"}, "target", "connect", "host-a.a:5432", "--",
			"psql", "-h", "{host}", "-p", "{port}", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-f", sqlFile(t, "select * from no_such;"), "postgres")
	})
	t.Run("through a Unix socket", func(t *testing.T) {
		// libpq wants a folder with the socket under its own name.
		sock := filepath.Join(shortDir(t), ".s.PGSQL.5432")
		out := w.agent.mustCLI(t, "target", "connect", "host-a.a:5432", "--unix", sock, "--",
			"psql", "-h", filepath.Dir(sock), "-U", "postgres", "-Atc", "select 6*7", "postgres")
		if out != "42\n" {
			t.Errorf("got %q", out)
		}
	})
	t.Run("through a forward", func(t *testing.T) {
		w.agent.mustCLI(t, "forward", "add", "127.0.0.1:15432", "host-a.a:5432", "--name", "pg")
		defer w.agent.mustCLI(t, "forward", "remove", "pg")
		out, err := w.run(t.Context(), w.net.client, "psql", "-h", "127.0.0.1", "-p", "15432", "-U", "postgres", "-Atc", "select 6*7", "postgres")
		if err != nil || out != "42" {
			t.Errorf("got %q, %v", out, err)
		}
	})
}

func sqlFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shortDir is a folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "wr") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// startPostgres runs a real server on host A as an ordinary user, which it insists on.
func startPostgres(t *testing.T, w *world, dir string) {
	t.Helper()
	data := filepath.Join(shortDir(t), "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	// The account "nobody" exists everywhere.
	for _, p := range []string{filepath.Dir(data), data} {
		if err := os.Chown(p, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	as := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}
	if _, err := w.run(t.Context(), "", append(as, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "--locale=C")...); err != nil {
		t.Skipf("no PostgreSQL server can be made here: %v", err)
	}
	hba := filepath.Join(data, "pg_hba.conf")
	if err := os.WriteFile(hba, []byte("host all all 0.0.0.0/0 trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := lab.Start(t.Context(), lab.Command{Name: "postgres", LogDir: dir, Netns: w.net.hostA, Args: append(as,
		"postgres", "-D", data, "-c", "listen_addresses="+hostIPs[0], "-c", "unix_socket_directories=", "-p", strconv.Itoa(pgPort), "-F")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(5 * time.Second) })
	eventually(t, 20*time.Second, "PostgreSQL", func() bool {
		c, err := dialIn(t.Context(), w.net.hostA, "tcp", fmt.Sprintf("%s:%d", hostIPs[0], pgPort))
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

func TestReach_Connect(t *testing.T) {
	w := theWorld(t)
	w.agent.selectVNET(t, "a")
	t.Run("a machine-readable address", func(t *testing.T) {
		cmd := lab.Command{Netns: w.net.client, Args: []string{
			w.bin.CLI, "--json", "--socket", w.agent.socket, "target", "connect", "host-b.b:" + strconv.Itoa(echoPort), "--print",
		}}.Exec(t.Context())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var ans struct {
			Address string `json:"address"`
			VNET    string `json:"vnet"`
		}
		if err := json.NewDecoder(out).Decode(&ans); err != nil {
			t.Fatal(err)
		}
		if got := sayHello(t, w, ans.Address); got != "host-b" || ans.VNET != "b" {
			t.Errorf("%+v leads to %q", ans, got)
		}
		// A change of the selected network does not lead an open port elsewhere.
		w.agent.selectVNET(t, "b")
		w.agent.selectVNET(t, "a")
		if got := sayHello(t, w, ans.Address); got != "host-b" {
			t.Errorf("after a switch %s leads to %q", ans.Address, got)
		}
		// Another account gets nothing.
		_, err = w.run(t.Context(), w.net.client, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
			"sh", "-c", "printf 'who\\n' | timeout 5 nc -N "+strings.ReplaceAll(ans.Address, ":", " ")+" | grep -q host")
		if err == nil {
			t.Error("another account was served")
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); exitCodeOf(err) != 130 {
			t.Errorf("after an interrupt: %v", err)
		}
	})
	t.Run("HTTP by curl", func(t *testing.T) {
		need(t, "curl")
		out := w.agent.mustCLI(t, "target", "connect", "host-b.b:"+strconv.Itoa(webPort), "--", "curl", "-sS", "http://{addr}/name")
		if out != "host-b" {
			t.Errorf("got %q", out)
		}
	})
	t.Run("SSH", func(t *testing.T) {
		out := w.agent.mustCLI(t, "target", "connect", "host-b.b:22", "--", "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-p", "{port}", "root@{host}", "hostname")
		if out != "host-b\n" {
			t.Errorf("got %q", out)
		}
	})
	t.Run("a closed port looks refused", func(t *testing.T) {
		_, err := w.agent.cli(t.Context(), "target", "connect", "host-b.b:"+strconv.Itoa(closedPort), "--", "curl", "-sS", "http://{addr}/")
		if err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("got %v", err)
		}
	})
}

func TestReach_Redis(t *testing.T) {
	w := theWorld(t)
	need(t, "redis-server")
	need(t, "redis-cli")
	p, err := lab.Start(t.Context(), lab.Command{Name: "redis", LogDir: t.TempDir(), Netns: w.net.hostA, Args: []string{
		"redis-server", "--port", "6379", "--bind", hostIPs[0], "--save", "", "--protected-mode", "no",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(5 * time.Second) })
	eventually(t, 20*time.Second, "Redis", func() bool {
		c, err := dialIn(t.Context(), w.net.hostA, "tcp", hostIPs[0]+":6379")
		return err == nil && c.Close() == nil
	})
	grantPort(t, w, "cache", 6379, "REDIS")
	out := w.agent.mustCLI(t, "target", "connect", "host-a.a:6379", "--", "redis-cli", "-h", "{host}", "-p", "{port}", "SET", "k", "v")
	if strings.TrimSpace(out) != "OK" {
		t.Errorf("got %q", out)
	}
}

// sayHello asks the echo service behind a local address who it is.
func sayHello(t *testing.T, w *world, addr string) string {
	t.Helper()
	c, err := dialIn(t.Context(), w.net.client, "tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("who\n")); err != nil {
		return err.Error()
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err.Error()
	}
	name, _, _ := strings.Cut(line, " ")
	return name
}

func (a *agent) forwardState(t *testing.T, name string) localapi.Forward {
	t.Helper()
	var l localapi.ForwardList
	if err := json.Unmarshal([]byte(a.mustCLI(t, "--json", "forward", "list")), &l); err != nil {
		t.Fatal(err)
	}
	for _, f := range l.Forwards {
		if f.Name == name {
			return f
		}
	}
	return localapi.Forward{}
}

func TestReach_Forward(t *testing.T) {
	a := freshAgent(t, userEmail)
	w := a.w
	sock := filepath.Join(shortDir(t), "echo.sock")
	echo := strconv.Itoa(echoPort)
	a.mustCLI(t, "forward", "add", "127.0.0.1:17000", "host-a.a:"+echo, "--name", "tcp")
	a.mustCLI(t, "forward", "add", "unix:"+sock, "host-b.b:"+echo, "--name", "unix")
	a.mustCLI(t, "forward", "add", "127.0.0.1:17001", "host-b.b:"+strconv.Itoa(udpPort), "--name", "udp")
	a.failCLI(t, 13, []string{"forward tcp"}, "forward", "add", "17000", "host-b.b:"+echo)
	a.failCLI(t, 2, []string{"loopback"}, "forward", "add", "0.0.0.0:17002", "host-b.b:"+echo)
	a.failCLI(t, 7, nil, "forward", "add", "17002", "host-x:"+echo)
	works := func(t *testing.T) {
		t.Helper()
		if got := sayHello(t, w, "127.0.0.1:17000"); got != "host-a" {
			t.Errorf("TCP: %q", got)
		}
		if out, err := w.run(t.Context(), w.net.client, "sh", "-c", "printf 'who\\n' | timeout 5 nc -N -U "+sock); err != nil || out != "host-b who" {
			t.Errorf("Unix: %q, %v", out, err)
		}
		if got := w.sayDatagram(t, "127.0.0.1:17001"); got != "host-b who" {
			t.Errorf("UDP: %q", got)
		}
	}
	t.Run("carry", works)
	t.Run("the socket is for its account alone", func(t *testing.T) {
		fi, err := os.Stat(sock)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", fi, err)
		}
	})
	t.Run("another account gets nothing", func(t *testing.T) {
		for _, script := range []string{"printf 'who\\n' | timeout 2 nc -N 127.0.0.1 17000", "printf 'who\\n' | timeout 2 nc -u -w1 127.0.0.1 17001"} {
			out, _ := w.run(t.Context(), w.net.client, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", script)
			if strings.Contains(out, "host-") {
				t.Errorf("%s: %q", script, out)
			}
		}
	})
	t.Run("a switch leads nothing elsewhere", func(t *testing.T) {
		a.selectVNET(t, "b")
		works(t)
		a.selectVNET(t, "a")
	})
	t.Run("refused at once while disconnected", func(t *testing.T) {
		a.mustCLI(t, "disconnect")
		start := time.Now()
		if got := sayHello(t, w, "127.0.0.1:17000"); strings.HasPrefix(got, "host-") || time.Since(start) > 8*time.Second {
			t.Errorf("%q after %v", got, time.Since(start))
		}
		if f := a.forwardState(t, "tcp"); f.State != localapi.ForwardDisconnected || f.Refused == 0 {
			t.Errorf("state %+v", f)
		}
		a.mustCLI(t, "connect")
		works(t)
	})
	t.Run("a kill and a start", func(t *testing.T) {
		if err := a.svc.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := a.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The socket of the killed one is still there.
		eventually(t, 10*time.Second, "the new agent", func() bool {
			_, err := a.cli(t.Context(), "connect")
			return err == nil
		})
		works(t)
	})
	t.Run("a target that goes and comes", func(t *testing.T) { forwardTargetGone(t, a) })
	t.Run("removed", func(t *testing.T) {
		for _, n := range []string{"tcp", "unix", "udp"} {
			a.mustCLI(t, "forward", "remove", n)
		}
		if _, err := os.Lstat(sock); err == nil {
			t.Error("the socket is still there")
		}
		if got := sayHello(t, w, "127.0.0.1:17000"); !strings.Contains(got, "refused") {
			t.Errorf("got %q", got)
		}
	})
}

// forwardTargetGone: a machine that replaces another under its name is reached; in between the list says what is missing.
func forwardTargetGone(t *testing.T, a *agent) {
	t.Helper()
	w := a.w
	create := func() string {
		id, err := w.api.CreateTarget(t.Context(), "fleeting", netip.MustParseAddr(hostIPs[1]), w.networks["a"])
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	id := create()
	app, err := w.api.CreateApplication(t.Context(), lab.Application{
		Name: "fleeting", Port: echoPort, Protocol: "TCP", Hostnames: []string{"fleeting"}, Emails: []string{userEmail},
	})
	if err != nil {
		t.Fatal(err)
	}
	added := func() bool {
		_, err := a.cli(t.Context(), "forward", "add", "127.0.0.1:17003", "fleeting.a")
		return err == nil
	}
	eventually(t, 10*time.Second, "a forward to the new target", added)
	name := "fleeting-" + strconv.Itoa(echoPort)
	eventually(t, 10*time.Second, "an answer", func() bool { return sayHello(t, w, "127.0.0.1:17003") == "host-a" })
	if err := w.api.DeleteTarget(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "state target_gone", func() bool { return a.forwardState(t, name).State == localapi.ForwardTargetGone })
	if got := sayHello(t, w, "127.0.0.1:17003"); strings.HasPrefix(got, "host-") {
		t.Errorf("a target that is gone answers %q", got)
	}
	id = create()
	eventually(t, 10*time.Second, "an answer of the new one", func() bool { return sayHello(t, w, "127.0.0.1:17003") == "host-a" })
	a.mustCLI(t, "forward", "remove", name)
	if err := errors.Join(w.api.DeleteApplication(t.Context(), app), w.api.DeleteTarget(t.Context(), id)); err != nil {
		t.Error(err)
	}
}

// sayDatagram asks the UDP service behind a local address who it is; a datagram may be lost.
func (w *world) sayDatagram(t *testing.T, addr string) string {
	t.Helper()
	c, err := dialIn(t.Context(), w.net.client, "udp", addr)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, 2048)
	last := ""
	for range 5 {
		if _, err := c.Write([]byte("who")); err != nil {
			continue // what an earlier datagram met
		}
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(buf)
		if err == nil {
			return string(bytes.TrimSpace(buf[:n]))
		}
		last = err.Error()
	}
	return last
}
