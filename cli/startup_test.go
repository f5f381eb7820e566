package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
)

// forbidden is what warp-cli may not link: it starts for every ssh, and holds nothing of the data path. tablewriter, which
// takes 0.7 ms to start, is what render's tests compare with.
var forbidden = []string{
	"gvisor.dev/", "golang.zx2c4.com/", "modernc.org/", "github.com/jackc/", "github.com/quic-go/", "github.com/pressly/goose",
	"golang.org/x/crypto", "golang.org/x/net", "github.com/zalando/go-keyring", "github.com/godbus/",
	"weft/access", "weft/api", "weft/tunnel", "weft/control", "weft/gateway", "weft/connector",
	"database/sql", "github.com/olekukonko", "weft/agent/proxy", "weft/agent/localapi/server", "net/http", "crypto/tls", "testing",
}

func TestDependencies(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "../cmd/warp-cli")
			cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("go list: %v", err)
			}
			deps := strings.Fields(string(out))
			if !slices.Contains(deps, "weft/cli") {
				t.Fatalf("the list of dependencies lacks weft/cli: %d packages", len(deps))
			}
			for _, d := range deps {
				for _, f := range forbidden {
					if d == f || strings.HasPrefix(d, f) && (strings.HasSuffix(f, "/") || strings.HasPrefix(d, f+"/")) {
						t.Errorf("warp-cli links %s", d)
					}
				}
			}
		})
	}
}

const helloSource = `package main

import "fmt"

func main() { fmt.Println("hello") }
`

// BenchmarkStartup compares the wall time of a command with that of a Go program that prints one
// line, alternately in one run: `go test -run '^$' -bench Startup -benchtime 1x ./cli`. The goal is a ratio of 3, of
// 25 for a table of 10,000 rows (BenchmarkTargetList_10000 of package agent has the real agent answer).
func BenchmarkStartup(b *testing.B) {
	dir := b.TempDir()
	source := filepath.Join(dir, "hello.go")
	if err := os.WriteFile(source, []byte(helloSource), 0o600); err != nil {
		b.Fatal(err)
	}
	hello := build(b, filepath.Join(dir, "hello"), source)
	warp := build(b, filepath.Join(dir, "warp-cli"), "../cmd/warp-cli")
	w := seedWorld(b)
	for len(w.Targets.Targets) < 10 {
		w.Targets.Targets = append(w.Targets.Targets, w.Targets.Targets[0])
	}
	short, long := startAgent(b, w), startAgent(b, longWorld(b, 10_000))
	for _, bb := range []struct {
		name   string
		socket string
		rounds int
		args   []string
	}{
		{"status", short, 50, []string{"status"}},
		{"target list of ten rows", short, 50, []string{"target", "list"}},
		{"target list --json of ten rows", short, 50, []string{"target", "list", "--json"}},
		{"target list of 10000 rows", long, 15, []string{"target", "list"}},
		{"target list --sort of 10000 rows", long, 15, []string{"target", "list", "--sort", "hostname"}},
		{"target list -o jsonl of 10000 rows", long, 15, []string{"target", "list", "-o", "jsonl"}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			args, rounds := append([]string{"--socket", bb.socket}, bb.args...), bb.rounds
			for b.Loop() {
				var ours, theirs []time.Duration
				for range rounds {
					theirs = append(theirs, timeRun(b, hello))
					ours = append(ours, timeRun(b, warp, args...))
				}
				b.ReportMetric(float64(median(ours))/float64(median(theirs)), "x-hello")
				b.ReportMetric(float64(median(ours).Microseconds()), "µs/run")
				b.ReportMetric(float64(median(theirs).Microseconds()), "µs/hello")
			}
		})
	}
}

// longWorld is the seed's world with n targets.
func longWorld(tb testing.TB, n int) world {
	tb.Helper()
	w := seedWorld(tb)
	one := w.Targets.Targets[0]
	w.Targets.Targets = nil
	for i := range n {
		t := one
		t.ID, t.Hostname = fmt.Sprintf("0193f22a-9df3-78e3-b5bb-%012d", i), fmt.Sprintf("web-%d", i)
		t.Attributes = map[string]string{"hostname": t.Hostname, "env": "prod"}
		w.Targets.Targets = append(w.Targets.Targets, t)
	}
	// The answer is made beforehand: what the fake agent takes to make it says nothing.
	w.Targets.SchemaVersion = localapi.SchemaVersion
	data, err := json.Marshal(w.Targets)
	if err != nil {
		tb.Fatal(err)
	}
	w.Raw = map[string]string{"GET " + localapi.PathTargets: string(data)}
	return w
}

func build(tb testing.TB, out, what string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, what)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build %s: %v\n%s", what, err, text)
	}
	return out
}

// timeRun runs a program to its end; a run that fails or prints nothing does not count as fast.
func timeRun(tb testing.TB, program string, args ...string) time.Duration {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), program, args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	n, err := io.Copy(io.Discard, stdout)
	if werr := cmd.Wait(); err != nil || werr != nil || n == 0 {
		tb.Fatal(fmt.Errorf("run %s: %d bytes, %w, %w", program, n, err, werr))
	}
	return time.Since(begin)
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}
