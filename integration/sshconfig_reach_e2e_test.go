//go:build e2e && linux

package integration_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/integration/lab"
)

// desk is a user's account on the client: a home of its own, into which ssh-config was installed, so that every program
// finds ~/.ssh/config by itself.
type desk struct {
	a    *agent
	home string
}

func newDesk(t *testing.T, a *agent) *desk {
	t.Helper()
	need(t, "unshare")
	d := &desk{a: a, home: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(d.home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	// What a user may have had before: it must keep its effect.
	if err := os.WriteFile(filepath.Join(d.home, ".ssh", "config"), []byte("Host *\n  BatchMode yes\n  IdentityFile none\nHost mine\n  HostName host-b.b\n  User root\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	d.must(t, "", a.w.bin.CLI, "--socket", a.socket, "ssh-config", "--install")
	return d
}

// command is a program in the client's namespace whose home is the desk's.
func (d *desk) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	// The home is mounted where the account database says, since ssh does not ask HOME.
	script := `home=$1; shift; mount --bind "$0" "$home" && cd "$home" && HOME=$home exec "$@"`
	all := append([]string{"unshare", "--mount", "sh", "-c", script, d.home, accountHome()}, args...)
	return lab.Command{Netns: d.a.w.net.client, Args: all}.Exec(t.Context())
}

func (d *desk) run(t *testing.T, stdin string, args ...string) (string, string, error) {
	t.Helper()
	cmd := d.command(t, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	return stdout.String(), stderr.String(), err
}

func (d *desk) must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, stderr, err := d.run(t, stdin, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, stderr)
	}
	return out
}

func TestReach_SSHConfig(t *testing.T) {
	w := theWorld(t)
	w.agent.selectVNET(t, "a")
	d := newDesk(t, w.agent)
	t.Run("names", func(t *testing.T) {
		for _, tt := range []struct{ name, host, want string }{
			{"in a network", "root@host-a.a", "host-a\n"},
			{"in another network", "root@host-b.b", "host-b\n"},
			{"in the selected network", "root@host-a", "host-a\n"},
			{"by a name of the user's own", "mine", "host-b\n"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if out := d.must(t, "", "ssh", tt.host, "hostname"); out != tt.want {
					t.Errorf("got %q, want %q", out, tt.want)
				}
			})
		}
	})
	t.Run("the second time without a word", func(t *testing.T) {
		_, stderr, err := d.run(t, "", "ssh", "root@host-a.a", "true")
		if err != nil || stderr != "" {
			t.Errorf("%v; stderr %q", err, stderr)
		}
	})
	t.Run("both networks at the same time", func(t *testing.T) { d.bothAtOnce(t) })
	t.Run("other names go their own way", func(t *testing.T) {
		for host, want := range map[string]string{"github.com": "", "10.20.0.5": "", "host-x.a": "", "localhost": ""} {
			out := d.must(t, "", "ssh", "-G", host)
			if strings.Contains(out, "warp-cli nc") != (want != "") {
				t.Errorf("%s: %s", host, grepLines(out, "proxycommand"))
			}
		}
	})
	t.Run("the user's own way to a target stands", func(t *testing.T) {
		out := d.must(t, "", "ssh", "-G", "-o", "ProxyCommand=mine %h", "host-a.a")
		if got := grepLines(out, "proxycommand"); got != "proxycommand mine %h" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a name that breaks out of quotes is not run", func(t *testing.T) {
		mark := filepath.Join(shortDir(t), "mark") // ssh makes names lower-case
		evil := filepath.Join(d.home, "evil")
		if err := os.WriteFile(evil, fmt.Appendf(nil, "Include ~/.ssh/weft/config\nHost q\n  HostName \"x'$(touch %s)'\"\n", mark), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := d.run(t, "", "ssh", "-F", filepath.Join(accountHome(), "evil"), "-o", "ConnectTimeout=1", "q", "true")
		if _, serr := os.Stat(mark); err == nil || !errors.Is(serr, os.ErrNotExist) {
			t.Errorf("ssh: %v; the mark: %v", err, serr)
		}
	})
	t.Run("files", func(t *testing.T) { d.files(t) })
	t.Run("git", func(t *testing.T) { d.git(t) })
	t.Run("many channels beside a SOCKS port", func(t *testing.T) { d.editor(t) })
	t.Run("ansible", func(t *testing.T) {
		need(t, "ansible")
		out := d.must(t, "", "ansible", "all", "-i", "host-a.a,host-b.b,", "-u", "root", "-m", "ping")
		if strings.Count(out, "SUCCESS") != 2 {
			t.Errorf("got %s", out)
		}
	})
	t.Run("uninstalled", func(t *testing.T) {
		d.must(t, "", w.bin.CLI, "--socket", w.agent.socket, "ssh-config", "--uninstall")
		if out := d.must(t, "", "ssh", "-G", "host-a.a"); strings.Contains(out, "proxycommand") {
			t.Errorf("still there: %s", out)
		}
	})
}

func grepLines(text, word string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "\n")
}

// bothAtOnce holds a session in each network while both answer.
func (d *desk) bothAtOnce(t *testing.T) {
	t.Helper()
	hosts := []struct{ login, name string }{{"root@host-a.a", "host-a"}, {"root@host-b.b", "host-b"}}
	var wg sync.WaitGroup
	var feeds []*io.PipeWriter
	for _, h := range hosts {
		in, feed := io.Pipe()
		feeds = append(feeds, feed)
		cmd := d.command(t, "ssh", h.login, "hostname; cat")
		cmd.Stdin = in
		wg.Go(func() {
			if out, err := cmd.Output(); err != nil || string(out) != h.name+"\nend" {
				t.Errorf("%s: %q, %v %s", h.login, out, err, stderrOf(err))
			}
		})
	}
	for _, h := range hosts {
		if out := d.must(t, "", "ssh", h.login, "hostname"); out != h.name+"\n" {
			t.Errorf("beside the others %s is %q", h.login, out)
		}
	}
	for _, feed := range feeds {
		if _, err := io.WriteString(feed, "end"); err != nil {
			t.Error(err)
		}
		_ = feed.Close() // never fails
	}
	wg.Wait()
}

func (d *desk) files(t *testing.T) {
	t.Helper()
	data := make([]byte, 200_000)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.home, "with blank"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		tool  string
		args  []string
		stdin string
	}{
		{"scp", []string{"scp", "with blank", "root@host-b.b:by scp"}, ""},
		{"scp", []string{"scp", "-O", "with blank", "root@host-b.b:by-scp-O"}, ""},
		{"sftp", []string{"sftp", "-b", "-", "root@host-b.b"}, "put \"with blank\" \"by sftp\"\n"},
		{"rsync", []string{"rsync", "-a", "with blank", "root@host-b.b:by-rsync"}, ""},
	} {
		t.Run(strings.Join(tt.args[:2], " "), func(t *testing.T) {
			need(t, tt.tool)
			d.must(t, tt.stdin, tt.args...)
		})
	}
	for _, name := range []string{"by scp", "by-scp-O", "by sftp", "by-rsync"} {
		got, err := os.ReadFile(d.a.w.path("home-b", name))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func (d *desk) git(t *testing.T) {
	t.Helper()
	need(t, "git")
	d.must(t, "", "ssh", "root@host-a.a", "git init -q --bare -b main repo.git")
	script := `set -e
git clone -q root@host-a.a:repo.git clone 2>/dev/null
cd clone
git -c user.name=x -c user.email=x@y.z commit -q --allow-empty -m first
git push -q origin HEAD:main
git ls-remote "ssh://root@host-a.a$HOME/repo.git" main`
	if out := d.must(t, "", "sh", "-c", script); !strings.HasSuffix(out, "\trefs/heads/main\n") {
		t.Errorf("got %q", out)
	}
}

// editor is what editors do: one connection with a SOCKS port of its own and a shell on standard input, and many
// channels beside it.
func (d *desk) editor(t *testing.T) {
	t.Helper()
	cmd := d.command(t, "ssh", "-T", "-M", "-S", "master", "-D", "127.0.0.1:18080", "-o", "ConnectTimeout=15", "root@host-a.a", "sh")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	master := filepath.Join(d.home, "master")
	eventually(t, 15*time.Second, "a master connection", func() bool {
		_, err := os.Stat(master)
		return err == nil
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			want := fmt.Sprintf("channel %d of host-a\n", i)
			got, e, err := d.run(t, want, "ssh", "-S", "master", "root@host-a.a", "cat")
			if err != nil || got != want {
				t.Errorf("channel %d: %q, %v %s", i, got, err, e)
			}
		})
	}
	wg.Wait()
	if _, err := io.WriteString(in, "hostname; exit 3\n"); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if exitCodeOf(err) != 3 || out.String() != "host-a\n" {
		t.Errorf("the shell: %q, %v %s", out.String(), err, stderr.String())
	}
}
