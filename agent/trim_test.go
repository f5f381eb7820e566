package agent

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTrimmer: memory is given back when traffic has ended, once, and not while it goes on.
func TestTrimmer(t *testing.T) {
	pool := sync.Pool{New: func() any { return new([64 << 10]byte) }}
	burst := func() {
		var all []any
		for range 256 { // 16 MiB
			all = append(all, pool.Get())
		}
		for _, b := range all {
			pool.Put(b)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		times := 0
		tr := trimmer{collect: func() {
			times++
			collectTwice()
		}}
		moved := uint64(1 << 30)
		look := func() bool { return tr.look(time.Now(), func() uint64 { return moved }) }
		<-time.After(trimEvery)
		look() // begins to count
		<-time.After(2 * trimEvery)
		synctest.Wait() // what other tests left is gone
		times = 0

		burst()
		before := inUse()
		moved += trimQuiet
		if look() {
			t.Error("trimmed while data moved")
		}
		<-time.After(trimEvery + time.Second)
		synctest.Wait()
		if times != 1 {
			t.Errorf("trimmed %d times by itself when it was quiet", times)
		}
		if after := inUse(); after+8<<20 > before {
			t.Errorf("in use before %d MiB, after %d MiB", before>>20, after>>20)
		}
		<-time.After(trimEvery)
		if look() {
			t.Error("trimmed again for nothing")
		}
		burst()
		if look() {
			t.Error("looked too soon")
		}
		moved = 0 // another tunnel counts anew
		<-time.After(trimEvery)
		if !look() {
			t.Error("did not trim after a reconnect")
		}
		burst()
		tr.soon()
		<-time.After(trimEvery + time.Second)
		synctest.Wait()
		if times != 3 {
			t.Errorf("trimmed %d times, want 3: the tunnel's end is a reason", times)
		}
	})
}
