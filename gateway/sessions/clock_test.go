package sessions_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weft/gateway/sessions"
)

// clocked is a session with a clock in a bubble of fake time; it notes what happens, with the time since the start.
type clocked struct {
	clock *sessions.Clock
	start time.Time
	bytes atomic.Uint64

	mu    sync.Mutex // guards what follows
	told  []string
	ended string
}

// forget empties what was told.
func (c *clocked) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = nil
}

// events is what was told, and the end.
func (c *clocked) events() ([]string, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told), c.ended
}

func newClocked() *clocked {
	c := &clocked{start: time.Now()}
	c.clock = sessions.NewClock(c.start, c.bytes.Load,
		func(text string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.told = append(c.told, fmt.Sprintf("%v: %s", time.Since(c.start), text))
		},
		func(why *sessions.CutError) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.ended += fmt.Sprintf("%v: %s: %s", time.Since(c.start), why.Reason, why.Message)
		})
	return c
}

// wait lets time pass; everything that is due in it has happened afterwards.
func (c *clocked) wait(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // it is the bubble's time
	synctest.Wait()
}

func (c *clocked) expect(t *testing.T, ended string, told ...string) {
	t.Helper()
	gotTold, gotEnded := c.events()
	if gotEnded != ended {
		t.Errorf("ended %q, want %q", gotEnded, ended)
	}
	if diff := cmp.Diff(told, gotTold, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestClock_MaxDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked()
		c.clock.Set(sessions.Times{Max: 8 * time.Hour, Policy: "engineers"})
		c.wait(8*time.Hour - time.Second)
		c.expect(t, "", `7h55m0s: this session ends in 5m: the policy "engineers" allows sessions of 8h`,
			`7h59m0s: this session ends in 1m: the policy "engineers" allows sessions of 8h`)
		c.forget()
		c.wait(time.Hour)
		c.expect(t, `8h0m0s: max_duration: the policy "engineers" allows sessions of 8h`)
	})
}

func TestClock_ShortSessionsAreNotWarnedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked()
		c.clock.Set(sessions.Times{Max: 2 * time.Minute, Policy: "p"})
		c.wait(time.Hour)
		c.expect(t, `2m0s: max_duration: the policy "p" allows sessions of 2m`, `1m0s: this session ends in 1m: the policy "p" allows sessions of 2m`)
	})
	synctest.Test(t, func(t *testing.T) {
		c := newClocked()
		c.clock.Set(sessions.Times{Max: time.Second, Policy: "p"})
		c.wait(time.Hour)
		c.expect(t, `1s: max_duration: the policy "p" allows sessions of 1s`)
	})
}

func TestClock_Idle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked()
		c.clock.Set(sessions.Times{Idle: 16 * time.Minute, Policy: "p"})
		for range 10 { // used, by the client or the target
			c.wait(10 * time.Minute)
			c.bytes.Add(1)
		}
		c.expect(t, "")
		c.wait(15*time.Minute + 45*time.Second)
		c.expect(t, "", `1h55m30s: this session ends in 1m unless it is used: the policy "p" allows 16m without data`)
		c.bytes.Add(1)
		c.forget()
		c.wait(15 * time.Minute)
		c.expect(t, "")
		c.wait(2 * time.Minute)
		if told, ended := c.events(); len(told) != 1 || ended == "" {
			t.Errorf("told %q, ended %q", told, ended)
		}
	})
}

func TestClock_IdleIsNeverTooEarlyNorMuchTooLate(t *testing.T) {
	for _, idle := range []time.Duration{time.Second, 90 * time.Second, time.Hour, 366 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var ended atomic.Int64
			var bytes atomic.Uint64
			c := sessions.NewClock(time.Now(), bytes.Load, func(string) {}, func(*sessions.CutError) { ended.Store(time.Now().UnixNano()) })
			c.Set(sessions.Times{Idle: idle})
			time.Sleep(idle / 3) //nolint:forbidigo // it is the bubble's time
			bytes.Add(1)
			last := time.Now()
			time.Sleep(2 * idle) //nolint:forbidigo // as above
			synctest.Wait()
			if took := time.Unix(0, ended.Load()).Sub(last); took < idle || took > idle+idle/8 && took > idle+time.Minute {
				t.Errorf("idle limit %v: ended %v after the last byte", idle, took)
			}
		})
	}
}

func TestClock_PolicyChangesWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked()
		c.clock.Set(sessions.Times{Revision: 1}) // no limit
		c.wait(1000 * time.Hour)
		c.expect(t, "")
		c.clock.Set(sessions.Times{Revision: 5, Max: 1000*time.Hour + 3*time.Minute, Policy: "p"})
		c.expect(t, "", `1000h0m0s: this session ends in 3m: the policy "p" allows sessions of 1000h3m`)
		c.clock.Set(sessions.Times{Revision: 4}) // late news of an older state
		c.wait(2 * time.Minute)
		told, _ := c.events()
		if len(told) != 2 {
			t.Errorf("told %q", told)
		}
		c.clock.Set(sessions.Times{Revision: 6}) // the limit is taken away
		c.wait(1000 * time.Hour)
		c.expect(t, "", told...)
		c.clock.Set(sessions.Times{Revision: 7, Idle: time.Hour, Policy: "p"}) // idleness counts from now on
		c.wait(58 * time.Minute)
		c.expect(t, "", told...)
		c.clock.Set(sessions.Times{Revision: 8, Max: time.Hour, Policy: "p"}) // that long it has lasted already
		synctest.Wait()
		c.expect(t, `2001h0m0s: max_duration: the policy "p" allows sessions of 1h`, told...)
	})
}

func TestClock_Stop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClocked()
		c.clock.Set(sessions.Times{Max: time.Minute, Idle: time.Second})
		c.clock.Stop()
		c.wait(time.Hour)
		c.clock.Set(sessions.Times{Max: time.Minute, Revision: 9})
		c.wait(time.Hour)
		c.expect(t, "")
	})
}
