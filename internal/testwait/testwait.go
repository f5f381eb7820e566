// Package testwait waits, in tests of real time, for what other goroutines or processes do.
package testwait

import (
	"testing"
	"time"
)

// Patience is how long Until waits: a busy machine under the race detector is slow, and what never comes costs a failed
// run anyhow.
const Patience = 30 * time.Second

// Until polls ok until it holds, for at most Patience; what says what was waited for.
func Until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(Patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			tb.Fatalf("not within %s: %s", Patience, what)
		}
	}
}
