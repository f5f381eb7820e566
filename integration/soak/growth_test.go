package soak_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"
)

// levels are what must not grow.
type levels struct {
	goroutines, files int
	heap              int // bytes that live after a collection
}

// sample is the levels after so many cycles.
type sample struct {
	cycle int
	levels
}

// gauge takes samples.
type gauge struct {
	// settle is how long what was closed may take to end before it counts as left over.
	settle  time.Duration
	samples []sample
	low     levels // what settles are waited down to
}

// quiet is how long the levels must not have fallen to count as settled.
const quiet = 25 * time.Millisecond

// take waits until goroutines and descriptors are down to what they were before, or fall no more, or time is up, and
// notes the levels.
func (g *gauge) take(cycle int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	l := levels{goroutines: runtime.NumGoroutine(), files: openFiles()}
	if g.samples == nil {
		g.low = l
	}
	least, fell := l, time.Now()
	for end := time.Now().Add(g.settle); time.Now().Before(end) && time.Since(fell) < quiet && (l.goroutines > g.low.goroutines || l.files > g.low.files); {
		<-tick.C
		l = levels{goroutines: runtime.NumGoroutine(), files: openFiles()}
		if l.goroutines < least.goroutines || l.files < least.files {
			least, fell = levels{goroutines: min(l.goroutines, least.goroutines), files: min(l.files, least.files)}, time.Now()
		}
	}
	g.low = levels{goroutines: l.goroutines, files: l.files} // what is left over is not waited for again
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what sync.Pool keeps goes in the second
	runtime.ReadMemStats(&m)
	l.heap = int(m.HeapAlloc)
	g.samples = append(g.samples, sample{cycle, l})
}

// openFiles counts this process's descriptors; 0 where the system does not list them.
func openFiles() int {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		if names, err := os.ReadDir(dir); err == nil {
			return len(names)
		}
	}
	return 0
}

// What is allowed between the second and the last tenth of the cycles. The heap's part that does not depend on the number
// of cycles is noise: maps that double, caches of the runtime and of SQLite.
const (
	slackCount       = 6
	slackPerThousand = 20 // goroutines or descriptors
	slackHeap        = 1 << 20
	slackHeapPer     = 512 // bytes for each cycle
	// keptByHTTP is what net/http keeps of an HTTP/2 connection for SendPingTimeout after its end (Go 1.26: the timer of its
	// pings is not stopped); httpForgets is when that is over. A cycle that connects to control is allowed it, and whether
	// it goes is looked at in the end.
	keptByHTTP  = 160 << 10
	httpForgets = 40 * time.Second
	// keptByLog is what the end of an agent's log, which is kept in memory and bounded, grows by in a cycle until it is full.
	keptByLog = 2 << 10
)

// forgotten waits until the heap is down to what it was before, and says by how much it is not.
func forgotten(before levels, cycles int) string {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	g := gauge{settle: time.Second}
	for end := time.Now().Add(httpForgets); ; <-tick.C {
		g.samples = nil
		g.take(0)
		grown := g.samples[0].heap - before.heap
		if grown <= slackHeap+cycles*slackHeapPer {
			return ""
		}
		if time.Now().After(end) {
			return fmt.Sprintf("%d KiB of heap at first, %d KiB more in the end", before.heap>>10, grown>>10)
		}
	}
}

// growth says what has grown; empty: nothing. keptPerCycle bytes of heap and lateCount goroutines and descriptors in all,
// of pools that fill late, are allowed beside the slack. Two tests must agree, so that neither one burst nor one late step
// decides: the medians of the second and the last tenth, and the median slope between all pairs of samples (Theil and
// Sen), times the cycles.
func growth(samples []sample, keptPerCycle, lateCount int) string {
	if len(samples) < 20 {
		return fmt.Sprintf("only %d samples", len(samples))
	}
	n := len(samples)
	early, late := samples[n/10:n/5], samples[n-n/10:]
	cycles := late[len(late)/2].cycle - early[len(early)/2].cycle
	var found []string
	for _, q := range []struct {
		name  string
		of    func(sample) int
		slack int
	}{
		{"goroutines", func(s sample) int { return s.goroutines }, slackCount + lateCount + cycles*slackPerThousand/1000},
		{"descriptors", func(s sample) int { return s.files }, slackCount + lateCount + cycles*slackPerThousand/1000},
		{"bytes of heap", func(s sample) int { return s.heap }, slackHeap + cycles*(slackHeapPer+keptPerCycle)},
	} {
		before, after := medianOf(early, q.of), medianOf(late, q.of)
		slope := medianSlope(samples[n/10:], q.of)
		if after-before > q.slack && slope*float64(cycles) > float64(q.slack)/2 {
			found = append(found, fmt.Sprintf("%s: %d around cycle %d, %d around cycle %d (%.2f a cycle; %d more are allowed)",
				q.name, before, early[len(early)/2].cycle, after, late[len(late)/2].cycle, slope, q.slack))
		}
	}
	return strings.Join(found, "\n")
}

func medianOf(s []sample, of func(sample) int) int {
	v := make([]int, len(s))
	for i := range s {
		v[i] = of(s[i])
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func medianSlope(s []sample, of func(sample) int) float64 {
	var v []float64
	for i := range s {
		for j := range i {
			v = append(v, float64(of(s[i])-of(s[j]))/float64(s[i].cycle-s[j].cycle))
		}
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// writeProfiles keeps what is in use, where $WEFT_SOAK_PROFILES says: compare by go tool pprof -base early late.
func writeProfiles(t *testing.T, when string) {
	t.Helper()
	dir := os.Getenv("WEFT_SOAK_PROFILES")
	if dir == "" {
		return
	}
	for _, name := range []string{"heap", "goroutine"} {
		f, err := os.Create(filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+"."+name+"."+when))
		must(t, err)
		must(t, pprof.Lookup(name).WriteTo(f, 0))
		must(t, f.Close())
	}
}

// soak repeats a cycle, takes at least 25 samples, and fails the test if anything grew, beyond kept bytes a cycle that
// go later.
func soak(t *testing.T, cycles, kept int, cycle func(i int)) {
	t.Helper()
	g := gauge{settle: 2 * time.Second}
	step := max(1, cycles/25) // a collection takes longer than a cycle
	start := time.Now()
	for i := range cycles {
		cycle(i)
		if t.Failed() {
			t.Fatalf("in cycle %d", i)
		}
		if (i+1)%step == 0 {
			g.take(i + 1)
		}
		if i+1 == cycles/5 {
			writeProfiles(t, "early")
		}
	}
	defer writeProfiles(t, "late")
	first, last := g.samples[len(g.samples)/10], g.samples[len(g.samples)-1]
	t.Logf("%d cycles in %.1f s; after cycle %d and %d: goroutines %d and %d, descriptors %d and %d, heap %d and %d KiB",
		cycles, time.Since(start).Seconds(), first.cycle, last.cycle, first.goroutines, last.goroutines,
		first.files, last.files, first.heap>>10, last.heap>>10)
	if grown := growth(g.samples, kept+noisePerCycle, 3*worlds); grown != "" {
		t.Errorf("grown:\n%s", grown)
	}
}
