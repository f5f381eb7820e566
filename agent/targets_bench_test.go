package agent_test

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weft/api"
	"weft/internal/testwait"
	"weft/targets"
)

// BenchmarkTargetList_10000 is the wall time of `warp-cli target list` against a real agent that knows 10,000 rows, as a
// ratio to that of a Go program that prints one line, run alternately. The goal is 25.
func BenchmarkTargetList_10000(b *testing.B) {
	w := newWorld(b)
	state := w.gateway.state()
	state.Entries = map[string]api.AgentEntry{}
	for i := range 10_000 {
		id := fmt.Sprintf("0193f22a-9df3-78e3-b5bb-%012d", i)
		state.Entries[id+"/22/SSH"] = api.AgentEntry{
			TargetID: targets.ID(id), Hostname: fmt.Sprintf("web-%d", i), Protocol: "SSH", Port: 22,
			Usernames: []string{"alice", "bob"}, Tags: map[string]string{"env": "prod"},
			IPv4: &api.AgentAddress{Addr: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), VNET: netA},
		}
	}
	w.control.set(state)
	testwait.Until(b, "the long list", func() bool {
		l, err := w.agent.Targets(noFilter)
		return err == nil && len(l.Targets) == 10_000
	})
	dir := b.TempDir()
	source := filepath.Join(dir, "hello.go")
	must(b, os.WriteFile(source, []byte("package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n"), 0o600))
	hello, warp := build(b, filepath.Join(dir, "hello"), source), build(b, filepath.Join(dir, "warp-cli"), "../cmd/warp-cli")
	for b.Loop() {
		var ours, theirs []time.Duration
		for range 15 {
			theirs = append(theirs, timeRun(b, hello))
			ours = append(ours, timeRun(b, warp, "--socket", w.agent.cfg.Socket, "target", "list"))
		}
		b.ReportMetric(float64(median(ours))/float64(median(theirs)), "x-hello")
		b.ReportMetric(float64(median(ours).Microseconds()), "µs/run")
		b.ReportMetric(float64(median(theirs).Microseconds()), "µs/hello")
	}
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

// timeRun runs a program to its end, and reads what it prints.
func timeRun(tb testing.TB, program string, args ...string) time.Duration {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), program, args...)
	stdout, err := cmd.StdoutPipe()
	must(tb, err)
	begin := time.Now()
	must(tb, cmd.Start())
	n, err := io.Copy(io.Discard, stdout)
	must(tb, err)
	must(tb, cmd.Wait())
	if n == 0 {
		tb.Fatalf("%s printed nothing", program)
	}
	return time.Since(begin)
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}
