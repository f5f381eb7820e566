package liveness_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"weft/agent/liveness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a gateway behind a path, as a Link sees it: it loses its session when
// it restarts, and a forced handshake throws the client's away.
type world struct {
	mon        *liveness.Monitor
	rtt        time.Duration
	wallOffset time.Duration
	start      time.Time

	mu         sync.Mutex // guards what follows
	up         bool
	session    int // of the gateway; 0: none
	mine       int // of the client
	handshakes []time.Time
	probes     []time.Time
	rebinds    int
	nexts      int
	others     bool
	tx, rx     uint64
	events     []string
	upAt       []time.Time
}

func (w *world) Handshake() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handshakes = append(w.handshakes, time.Now())
	w.mine = 0
	n := len(w.handshakes)
	time.AfterFunc(w.rtt/2, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		// Two at one instant may arrive in either order; WireGuard's timestamp
		// makes the older one void.
		if !w.up || n < w.session {
			return
		}
		w.session = n
		time.AfterFunc(w.rtt/2, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if n == len(w.handshakes) { // an older one is worthless
				w.mine = n
			}
		})
	})
	return nil
}

// Probe waits for a session as WireGuard does, and is lost when there is none.
func (w *world) Probe(seq uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probes = append(w.probes, time.Now())
	w.tx += 100
	wait := time.Duration(0)
	if w.mine == 0 {
		wait = w.rtt
	}
	time.AfterFunc(wait+w.rtt/2, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.up && w.session != 0 && w.session == w.mine {
			time.AfterFunc(w.rtt/2, func() {
				w.mu.Lock()
				w.rx += 100
				w.mu.Unlock()
				w.mon.Answer(seq)
			})
		}
	})
	return nil
}

func (w *world) Rebind() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rebinds++
	return nil
}

func (w *world) Next() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nexts++
	return w.others
}

func (w *world) Traffic() (uint64, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tx, w.rx
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

func (w *world) LinkUp(o liveness.Outage, rtt time.Duration) {
	w.note("up after %s", o.Reason)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.upAt = append(w.upAt, time.Now())
}
func (w *world) LinkDown(r liveness.Reason, _ time.Time) { w.note("down %s", r) }
func (w *world) LinkAnswer(time.Duration)                {}
func (w *world) LinkFailing(r liveness.Reason)           { w.note("failing %s", r) }

// set changes the gateway; down or up, it has no session afterwards.
func (w *world) set(up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up, w.session = up, 0
}

func (w *world) send() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tx += 1000
}

func (w *world) lastEvent() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 {
		return ""
	}
	return w.events[len(w.events)-1]
}

func (w *world) counts() (handshakes, probes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.handshakes), len(w.probes)
}

// bubble runs f beside a monitor of a gateway rtt away.
func bubble(t *testing.T, rtt time.Duration, up bool, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{rtt: rtt, up: up, start: time.Now()}
		w.mon = liveness.New(liveness.Config{Link: w, Listener: w, Clock: func() (time.Time, time.Duration) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return time.Now().Add(w.wallOffset), time.Since(w.start)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.mon.Run(ctx) }()
		f(w)
		cancel()
		<-done
	})
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestMonitor_Connects(t *testing.T) {
	for _, rtt := range []time.Duration{time.Millisecond, 40 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond} {
		t.Run(rtt.String(), func(t *testing.T) {
			bubble(t, rtt, true, func(w *world) {
				pass(6 * time.Second)
				if e := w.lastEvent(); e != "up after starting" {
					t.Errorf("last event %q; all: %v", e, w.events)
				}
				if rtt <= 100*time.Millisecond && w.upAt[0].Sub(w.start) > 2*rtt+time.Millisecond {
					t.Errorf("up after %s; want two round trips", w.upAt[0].Sub(w.start))
				}
			})
		})
	}
}

func TestMonitor_IdleIsQuiet(t *testing.T) {
	bubble(t, 20*time.Millisecond, true, func(w *world) {
		pass(time.Second)
		h0, p0 := w.counts()
		pass(10 * time.Minute)
		h, p := w.counts()
		if h != h0 {
			t.Errorf("%d handshakes forced on a healthy link", h-h0)
		}
		if n := p - p0; n < 35 || n > 60 {
			t.Errorf("%d probes in 10 idle minutes; want one in 10 to 17 s", n)
		}
	})
}

func TestMonitor_AnsweredTrafficIsNoDoubt(t *testing.T) {
	bubble(t, 20*time.Millisecond, true, func(w *world) {
		pass(time.Second)
		_, p0 := w.counts()
		for range 600 {
			w.send()
			w.mu.Lock()
			w.rx += 1000
			w.mu.Unlock()
			pass(100 * time.Millisecond)
		}
		if _, p := w.counts(); p-p0 > 6 {
			t.Errorf("%d probes in a minute of answered traffic", p-p0)
		}
	})
}

// TestMonitor_SilentRestart measures the whole way: notice, retry, come back.
func TestMonitor_SilentRestart(t *testing.T) {
	for _, away := range []time.Duration{0, time.Second, 10 * time.Second, 60 * time.Second, 10 * time.Minute} {
		t.Run("away "+away.String(), func(t *testing.T) {
			bubble(t, 20*time.Millisecond, true, func(w *world) {
				pass(30 * time.Second)
				w.set(false)
				lost := time.Now()
				stop := time.After(away)
				for waiting := true; waiting; {
					select {
					case <-stop:
						waiting = false
					case <-time.After(100 * time.Millisecond):
						w.send() // a stream that nobody answers
					}
				}
				w.set(true)
				back := time.Now()
				for range 60 {
					w.send()
					pass(100 * time.Millisecond)
					if w.lastEvent() == "up after no_answer" {
						break
					}
				}
				if e := w.lastEvent(); e != "up after no_answer" {
					t.Fatalf("6 s after the return: %q", e)
				}
				took := w.upAt[len(w.upAt)-1].Sub(back)
				limit := 4500*time.Millisecond + 100*time.Millisecond
				if away >= time.Second*10 && away < 30*time.Second {
					limit = 400 * time.Millisecond
				}
				if took > limit {
					t.Errorf("up %s after the return, %s after the loss; want within %s", took, w.upAt[len(w.upAt)-1].Sub(lost), limit)
				}
				t.Logf("up %s after the return", took)
			})
		})
	}
}

func TestMonitor_RetriesBackOff(t *testing.T) {
	bubble(t, 20*time.Millisecond, true, func(w *world) {
		pass(5 * time.Second)
		w.set(false)
		w.mon.Check()
		pass(30 * time.Second)
		h1, _ := w.counts()
		pass(10 * time.Minute)
		h2, _ := w.counts()
		pass(10 * time.Minute)
		h3, _ := w.counts()
		if h1 < 60 || h1 > 160 {
			t.Errorf("%d handshakes in the first 30 s", h1)
		}
		if n := h3 - h2; n < 120 || n > 180 {
			t.Errorf("%d handshakes in 10 min of a long outage; want one in 3.6 to 4.5 s", n)
		}
		if w.nexts == 0 || w.lastEvent() != "failing no_answer" {
			t.Errorf("%d times another endpoint, last event %q", w.nexts, w.lastEvent())
		}
		// News makes it fast again.
		w.set(true)
		back := time.Now()
		w.mon.GatewayRestarted()
		pass(time.Second)
		if took := w.upAt[len(w.upAt)-1].Sub(back); took > 100*time.Millisecond {
			t.Errorf("up %s after the news", took)
		}
	})
}

func TestMonitor_GatewayRestarted(t *testing.T) {
	bubble(t, 20*time.Millisecond, true, func(w *world) {
		pass(5 * time.Second)
		w.set(true) // a new life without sessions
		back := time.Now()
		w.mon.GatewayRestarted()
		pass(time.Second)
		if e := w.lastEvent(); e != "up after gateway_restart" {
			t.Fatalf("last event %q", e)
		}
		if took := w.upAt[1].Sub(back); took > 50*time.Millisecond {
			t.Errorf("up after %s; want two round trips", took)
		}
	})
}

func TestMonitor_Sleep(t *testing.T) {
	bubble(t, 20*time.Millisecond, true, func(w *world) {
		pass(5 * time.Second)
		w.mu.Lock()
		w.wallOffset = 4 * time.Second // a clock that was set is no sleep
		w.mu.Unlock()
		pass(5 * time.Second)
		if w.rebinds != 0 {
			t.Error("a small step of the clock was taken for sleep")
		}
		w.mu.Lock()
		w.wallOffset += time.Hour
		w.session = 0 // the gateway's keys have expired
		w.mu.Unlock()
		pass(2 * time.Second)
		if e := w.lastEvent(); e != "up after wake" || w.rebinds != 1 {
			t.Errorf("last event %q, %d rebinds", e, w.rebinds)
		}
	})
}

func TestMonitor_NetworkChanged(t *testing.T) {
	bubble(t, 20*time.Millisecond, true, func(w *world) {
		pass(5 * time.Second)
		w.mon.NetworkChanged()
		pass(time.Second)
		if e := w.lastEvent(); e != "up after network_change" || w.rebinds != 1 {
			t.Errorf("last event %q, %d rebinds", e, w.rebinds)
		}
	})
}

// TestMonitor_SlowPathAfterFastOne: the known round trip is no longer true.
func TestMonitor_SlowPathAfterFastOne(t *testing.T) {
	bubble(t, 2*time.Millisecond, true, func(w *world) {
		pass(5 * time.Second)
		w.mu.Lock()
		w.rtt = 600 * time.Millisecond
		w.mu.Unlock()
		w.mon.NetworkChanged()
		pass(8 * time.Second)
		if e := w.lastEvent(); e != "up after network_change" {
			t.Errorf("last event %q", e)
		}
	})
}

func TestMonitor_TriesOthers(t *testing.T) {
	bubble(t, 20*time.Millisecond, false, func(w *world) {
		w.mu.Lock()
		w.others = true
		w.mu.Unlock()
		pass(10 * time.Second)
		if w.nexts < 2 || w.nexts > 5 {
			t.Errorf("moved on %d times in 10 s", w.nexts)
		}
	})
}

// TestMonitor_NudgeStorm: however many flows are opened, the looks go on.
func TestMonitor_NudgeStorm(t *testing.T) {
	bubble(t, 20*time.Millisecond, true, func(w *world) {
		pass(30 * time.Second)
		_, p0 := w.counts()
		w.mon.Nudge() // after silence: a probe at once
		synctest.Wait()
		if _, p := w.counts(); p != p0+1 {
			t.Errorf("%d probes for the first nudge", p-p0)
		}
		w.set(false)
		for range 3000 {
			w.mon.Nudge()
			pass(time.Millisecond)
		}
		if e := w.lastEvent(); e != "down no_answer" && e != "failing no_answer" {
			t.Errorf("3 s of nudges on a dead link: %q", e)
		}
	})
}

func TestMonitor_StrayAnswers(t *testing.T) {
	bubble(t, 20*time.Millisecond, false, func(w *world) {
		for i := range uint64(500) {
			w.mon.Answer(i + 1000)
		}
		pass(time.Second)
		if len(w.upAt) != 0 {
			t.Error("answers to nobody's question brought the link up")
		}
	})
}
