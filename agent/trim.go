package agent

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// trimEvery is the least time between two looks.
	trimEvery = 5 * time.Second
	// trimQuiet is what may have moved since the last look in a moment that counts as quiet.
	trimQuiet = 1 << 20
	// trimGain is what must have come since the last trim to make another worthwhile.
	trimGain = 4 << 20
)

// trimmer gives back what a burst of traffic left behind, when traffic has calmed down. WireGuard and the netstack keep
// their buffers in pools (64 KiB for each packet that was ever under way at once), which Go empties only after two
// collections, and goroutines keep the stacks that they once needed; an agent that is idle allocates nothing, so there is
// no collection for two minutes, and then the memory goes back slowly. Collecting more often while data moves would
// empty the pools that make it fast.
//
// Measured after 1,000 connections that moved 2 MiB each: 90 MiB before, 33 MiB after. It costs some milliseconds of
// one processor, at most every five seconds.
type trimmer struct {
	collect func() // GC, twice; replaced in tests

	mu    sync.Mutex // guards what follows
	last  time.Time
	moved uint64
	base  uint64 // in use after the last trim
	again bool   // another look will follow
}

// look trims if it is quiet and worthwhile, and looks again by itself as long as data moves; moved is all that the tunnel
// has carried. It reports whether it trimmed.
func (t *trimmer) look(now time.Time, moved func() uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.last) < trimEvery {
		return false
	}
	n := moved()
	quiet := n-min(n, t.moved) < trimQuiet
	t.last, t.moved = now, n
	if !quiet {
		t.againLocked(moved)
	}
	if !quiet || inUse() < t.base+trimGain {
		return false
	}
	t.collect()
	t.base = inUse()
	return true
}

// soon looks when what just ended has calmed down.
func (t *trimmer) soon() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.againLocked(func() uint64 { return 0 })
}

func (t *trimmer) againLocked(moved func() uint64) {
	if t.again {
		return
	}
	t.again = true
	time.AfterFunc(trimEvery, func() {
		t.mu.Lock()
		t.again = false
		t.mu.Unlock()
		t.look(time.Now(), moved)
	})
}

// collectTwice empties what sync.Pool keeps: it lets go of things in the second collection after their last use.
func collectTwice() {
	runtime.GC()
	debug.FreeOSMemory()
}

// inUse is what the heap and the stacks hold of the system's memory.
func inUse() uint64 {
	s := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(s)
	var n uint64
	for _, v := range s {
		n += v.Value.Uint64()
	}
	return n
}
