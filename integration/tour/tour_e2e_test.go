//go:build e2e && linux

package tour_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/integration/lab"
	"weft/integration/tour"
)

var update = flag.Bool("update", false, "write what the commands showed into docs/tour.md")

const (
	limit = 3 * time.Minute
	// shownHome stands in the document for the home of whoever runs this.
	shownHome = "/home/jdoe"
)

// TestTour runs every command of docs/tour.md in one shell and compares what it shows with what the document shows.
// A command must end with status 0; one that fails on purpose says its status by "|| echo".
func TestTour(t *testing.T) {
	need(t, "bash", "curl", "ip", "jq", "make", "rsync", "scp", "ssh", "unshare")
	repo, err := lab.Repository()
	if err != nil {
		t.Fatal(err)
	}
	document := filepath.Join(repo, "docs", "tour.md")
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := tour.Steps(string(b))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	desk := newDesk(t, ctx, repo)
	results := desk.play(t, ctx, steps)
	outputs := make([]string, len(steps))
	for i, s := range steps {
		r := results[i]
		outputs[i] = s.Output
		if r.status != "0" {
			t.Errorf("docs/tour.md:%d: status %s\n$ %s\n%s", s.Line, r.status, s.Command, r.output)
		}
		diff := cmp.Diff(lines(tour.Mask(s.Output)), lines(tour.Mask(r.output)))
		if diff == "" {
			continue
		}
		outputs[i] = r.output
		if !*update {
			t.Errorf("docs/tour.md:%d: another output (- document, + now)\n$ %s\n%s\nnow:\n%s", s.Line, s.Command, diff, r.output)
		}
	}
	if *update {
		next, err := tour.Replace(string(b), outputs)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(document, []byte(next), 0o644); err != nil { //nolint:gosec // a document for everybody
			t.Fatal(err)
		}
	}
}

func lines(s string) []string { return strings.Split(s, "\n") }

func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
}

// desk is the machine of the tour: a network and a home of its own, and a clone in which everything is built.
type desk struct{ dir, home, clone string }

func newDesk(t *testing.T, ctx context.Context, repo string) *desk {
	t.Helper()
	if out, err := namespaced(ctx, "true").CombinedOutput(); err != nil {
		t.Skipf("namespaces cannot be made here: %v %s", err, out)
	}
	dir, err := os.MkdirTemp("/tmp", "wt") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a temporary folder
	d := &desk{dir: dir, home: filepath.Join(dir, "home"), clone: filepath.Join(dir, "weft")}
	bin := filepath.Join(d.clone, "bin")
	if err := errors.Join(os.Mkdir(d.home, 0o700), os.MkdirAll(bin, 0o700)); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", bin+"/", "./cmd/...", "./integration/tour/machines")
	build.Dir, build.Env = repo, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return d
}

// namespaced is a command in a network and a mount namespace of its own, as their root.
func namespaced(ctx context.Context, args ...string) *exec.Cmd {
	all := []string{"unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Geteuid() != 0 {
		all = append(all, "--user", "--map-root-user")
	}
	return lab.Command{Args: append(all, args...)}.Exec(ctx)
}

type result struct{ output, status string }

// The marks around each command's output: characters that no program of the tour writes.
const begin, end = "\x1e", "\x1f"

// play runs the steps in one shell. The home is mounted where the account database says, since ssh does not ask HOME;
// "make" and "go run" are done beforehand.
func (d *desk) play(t *testing.T, ctx context.Context, steps []tour.Step) []result {
	t.Helper()
	var script strings.Builder
	fmt.Fprintf(&script, `set -o pipefail
home=$(getent passwd "$(id -u)" | cut -d: -f6)
mount --bind '%s' "$home" && ip link set lo up && hostname laptop || exit 1
export HOME=$home; echo "$HOME" > '%s'
make() { :; }
go() { shift 2; machines "$@"; }
cd '%s'
`, d.home, filepath.Join(d.dir, "home-path"), d.clone)
	for i, s := range steps {
		fmt.Fprintf(&script, "printf '%s'\n%s\nprintf '%s%d:%%d%s' $?\n", begin, s.Command, end, i, end)
	}
	script.WriteString("kill $(jobs -p) 2>/dev/null; wait\n")
	file := filepath.Join(d.dir, "script")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := namespaced(ctx, "bash", file)
	cmd.Env = clean(cmd.Env)
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	runErr := cmd.Run()
	results := d.split(t, all.String())
	if runErr != nil || len(results) != len(steps) {
		t.Fatalf("%d of %d commands came to an end: %v\n%s", len(results), len(steps), runErr, tail(all.String()))
	}
	return results
}

// clean takes away what would steer the programs of the tour.
func clean(env []string) []string {
	out := []string{"TZ=UTC", "LANG=C.UTF-8"}
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case strings.HasPrefix(name, "WARP_"), strings.HasPrefix(name, "WEFT_"), strings.HasPrefix(name, "XDG_"), strings.HasPrefix(name, "LC_"),
			strings.HasPrefix(name, "SSH_"), strings.HasPrefix(name, "DBUS_"), strings.HasPrefix(name, "CLOUDFLARE_"), strings.HasSuffix(strings.ToLower(name), "_proxy"),
			name == "SSL_CERT_FILE", name == "TZ", name == "LANG":
		default:
			out = append(out, v)
		}
	}
	return out
}

var marked = regexp.MustCompile(`(?s)` + begin + `([^` + begin + `]*?)` + end + `(\d+):(\d+)` + end)

func (d *desk) split(t *testing.T, all string) []result {
	t.Helper()
	home, err := os.ReadFile(filepath.Join(d.dir, "home-path"))
	if err != nil {
		t.Fatalf("the shell did not start: %v\n%s", err, tail(all))
	}
	var results []result
	for i, m := range marked.FindAllStringSubmatch(all, -1) {
		if m[2] != strconv.Itoa(i) {
			t.Fatalf("command %d ended where %s was expected\n%s", i, m[2], tail(all))
		}
		out := strings.ReplaceAll(m[1], strings.TrimSpace(string(home)), shownHome)
		out = strings.ReplaceAll(out, "\r", "") // ssh ends its messages for terminals
		if out != "" && !strings.HasSuffix(out, "\n") {
			out += "\n"
		}
		results = append(results, result{output: out, status: m[3]})
	}
	return results
}

func tail(s string) string {
	all := lines(s)
	return strings.Join(all[max(0, len(all)-40):], "\n")
}
