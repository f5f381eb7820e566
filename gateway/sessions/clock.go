package sessions

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"weft/access"
)

// The reasons of a session that its policy's limits ended.
const (
	ReasonMaxDuration access.Reason = "max_duration"
	ReasonIdleTimeout access.Reason = "idle_timeout"
)

// warnings are how long before the end of a session its user is told.
var warnings = [...]time.Duration{5 * time.Minute, time.Minute}

// idleWarning is how long before the end for want of data its user is told, when the limit is more than twice that.
const idleWarning = time.Minute

// How often a clock looks whether bytes have moved: idleLooks times in the limit, within bounds. A session may be idle for
// that much longer than its limit.
const (
	idleLooks   = 16
	idleLookMin = 50 * time.Millisecond
	idleLookMax = 30 * time.Second
)

// Times are the limits of a session by its policy; zero is none.
type Times struct {
	Max, Idle time.Duration
	Policy    string // its name
	Revision  uint64 // of the state that says so
}

// Clock ends a session when its time is over. It costs nothing while there is no limit. Safe for concurrent use.
type Clock struct {
	start time.Time
	moved func() uint64
	tell  func(text string)
	end   func(*CutError)

	mu         sync.Mutex
	times      Times
	set        bool
	stopped    bool
	timer      *time.Timer
	bytes      uint64    // when it was last looked
	active     time.Time // when bytes were seen to have moved
	warned     int       // warnings that need not be given any more
	idleWarned bool
}

// NewClock makes the clock of a session that began at start. moved counts the bytes that went over it, tell shows its user a
// line, end ends it; both are called without locks and must not block.
func NewClock(start time.Time, moved func() uint64, tell func(string), end func(*CutError)) *Clock {
	return &Clock{start: start, moved: moved, tell: tell, end: end}
}

// Set changes the limits, unless a newer state has set them. They count from the start of the session, and idleness from now on
// if there was no such limit before.
func (c *Clock) Set(t Times) {
	c.mu.Lock()
	if c.stopped || c.set && t.Revision < c.times.Revision {
		c.mu.Unlock()
		return
	}
	now := time.Now()
	first := !c.set
	old := c.times
	c.times, c.set = t, true
	if t.Idle > 0 && old.Idle == 0 {
		c.bytes, c.active = c.moved(), now
	}
	if t.Idle != old.Idle {
		c.idleWarned = false
	}
	if t.Max != old.Max {
		c.warned = 0
		// Of a session that may not last longer than that anyway its user need not be told when it begins.
		for first && c.warned < len(warnings) && t.Max <= warnings[c.warned] {
			c.warned++
		}
	}
	c.mu.Unlock()
	c.tick()
}

// Stop ends the clock.
func (c *Clock) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// tick does what is due and sets the timer for what comes next.
func (c *Clock) tick() {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return
	}
	now := time.Now()
	say, over, next := "", (*CutError)(nil), time.Duration(0)
	if c.times.Max > 0 {
		say, over, next = c.maxLocked(now)
	}
	if c.times.Idle > 0 && over == nil {
		idleSay, idleOver, idleNext := c.idleLocked(now)
		if say == "" {
			say = idleSay
		}
		over = idleOver
		if next == 0 || idleNext < next {
			next = idleNext
		}
	}
	switch {
	case over != nil:
		c.stopped = true
	case next > 0 && c.timer == nil:
		c.timer = time.AfterFunc(next, c.tick)
	case next > 0:
		c.timer.Reset(next)
	case c.timer != nil:
		c.timer.Stop()
	}
	c.mu.Unlock()
	if say != "" && over == nil {
		c.tell(say)
	}
	if over != nil {
		c.end(over)
	}
}

func (c *Clock) maxLocked(now time.Time) (say string, over *CutError, next time.Duration) {
	left := c.start.Add(c.times.Max).Sub(now)
	allows := fmt.Sprintf("the policy %q allows sessions of %s", c.times.Policy, Duration(c.times.Max))
	if left <= 0 {
		return "", &CutError{Reason: ReasonMaxDuration, Message: allows}, 0
	}
	for c.warned < len(warnings) && left <= warnings[c.warned] {
		c.warned++
		say = fmt.Sprintf("this session ends in %s: %s", Duration(max(left.Round(time.Second), time.Second)), allows)
	}
	next = left
	if c.warned < len(warnings) {
		next = left - warnings[c.warned]
	}
	return say, nil, next
}

func (c *Clock) idleLocked(now time.Time) (say string, over *CutError, next time.Duration) {
	if n := c.moved(); n != c.bytes {
		c.bytes, c.active, c.idleWarned = n, now, false
	}
	left := c.active.Add(c.times.Idle).Sub(now)
	allows := fmt.Sprintf("the policy %q allows %s without data", c.times.Policy, Duration(c.times.Idle))
	if left <= 0 {
		return "", &CutError{Reason: ReasonIdleTimeout, Message: allows}, 0
	}
	if !c.idleWarned && c.times.Idle > 2*idleWarning && left <= idleWarning {
		c.idleWarned = true
		say = fmt.Sprintf("this session ends in %s unless it is used: %s", Duration(max(left.Round(time.Second), time.Second)), allows)
	}
	look := min(max(c.times.Idle/idleLooks, idleLookMin), idleLookMax)
	return say, nil, min(left, look)
}

// Duration is d as people write it: 8h, not 8h0m0s.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Terminal is where the user of a session can be told something.
type Terminal interface {
	// Tell shows a line and does not wait until it was read.
	Tell(text string)
}

// Bind gives s a terminal and a clock, which it stops when the session ends.
func (s *Session) Bind(t Terminal, c *Clock) {
	s.mu.Lock()
	s.terminal, s.clock = t, c
	closed := s.closed
	s.mu.Unlock()
	if closed {
		c.Stop()
	}
}

// Tell shows the user a line, where there is a terminal.
func (s *Session) Tell(text string) {
	s.mu.Lock()
	t := s.terminal
	s.mu.Unlock()
	if t != nil {
		t.Tell(text)
	}
}

// Clock is what ends the session in time; nil: nothing does.
func (s *Session) Clock() *Clock {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}
