// Package liveness decides whether the gateway is there, and what to do when it is
// not. It knows neither stack nor sockets: a Link sends probes and forces
// handshakes, a Listener hears the verdicts. That is why its times can be tested
// in a bubble of testing/synctest.
//
// Connected means an answer through the tunnel, not a handshake. A persistent
// keepalive expects no answer and so notices nothing; WireGuard by itself needs 15 s
// to see that a gateway has lost its keys. So: a probe every ProbeIdle while nothing is
// in doubt; every ProbeDoubt while something was sent and nothing came back; after
// three that went unanswered the link is down. Then a probe every ProbeDown, and a
// forced handshake every RetryFirst, later RetryLater, at last RetryMax.
//
// A forced handshake makes the answer to an earlier one worthless. On a path whose
// round trip is longer than the interval, hasty retries would therefore never succeed:
// the interval is at least three known round trips, and while none is known every
// fourth one is long.
package liveness

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Link is what a Monitor drives. Its methods are called from Run's goroutine and
// must not block for long.
type Link interface {
	// Probe sends a probe; its answer is given to Monitor.Answer.
	Probe(seq uint64) error
	// Handshake forces a WireGuard handshake with the gateway in use.
	Handshake() error
	// Rebind reopens the sockets.
	Rebind() error
	// Next moves on to the next endpoint or gateway, and reports whether there is another.
	Next() (moved bool)
	// Traffic returns how many bytes were sent and received so far.
	Traffic() (sent, received uint64)
}

// Reason says why a link is being checked or is down.
type Reason string

// The reasons.
const (
	Starting       Reason = "starting"
	NoAnswer       Reason = "no_answer"
	GatewayRestart Reason = "gateway_restart"
	NetworkChange  Reason = "network_change"
	Wake           Reason = "wake"
)

// Outage is a time without answers that has ended.
type Outage struct {
	Reason Reason
	// Since is the last answer before it; zero: there was none.
	Since time.Time
	// Until is the answer that ended it.
	Until time.Time
}

// Listener hears the verdicts, from Run's goroutine; its methods must not block.
type Listener interface {
	// LinkUp is called when an answer ends an outage.
	LinkUp(o Outage, rtt time.Duration)
	// LinkDown is called when the link goes down, with the last answer's time.
	LinkDown(r Reason, lastAnswer time.Time)
	// LinkAnswer is called for every other answer.
	LinkAnswer(rtt time.Duration)
	// LinkFailing is called, once in an outage, when two retries went unanswered.
	LinkFailing(r Reason)
}

// Times of a Monitor; zero fields mean the defaults named.
type Times struct {
	Tick       time.Duration // how often traffic and the clock are looked at: 1 s
	ProbeIdle  time.Duration // between probes while all is well: 15 s
	ProbeDoubt time.Duration // while something is unanswered: 500 ms
	ProbeDown  time.Duration // while the link is down: 250 ms
	Timeout    time.Duration // after which a probe counts as missed: 1 s
	RetryFirst time.Duration // between forced handshakes in the first 30 s: 250 ms
	RetrySlow  time.Duration // the long interval for paths of unknown length: 1.5 s
	RetryLater time.Duration // until 2 min: 1 s
	RetryMax   time.Duration // after that: 4.5 s
	WakeJump   time.Duration // wall clock minus monotonic clock that means sleep: 5 s
}

const (
	missesUntilDown     = 3
	retriesUntilFailing = 2  // before the owner is told
	retriesUntilNext    = 4  // forced handshakes before the next endpoint is tried
	retriesUntilSlow    = 80 // before a path whose length was known is thought to be another
	fastFor             = 30 * time.Second
	laterFor            = 2 * time.Minute
	maxOutstanding      = 64
)

func (t Times) withDefaults() Times {
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{
		{&t.Tick, time.Second},
		{&t.ProbeIdle, 15 * time.Second},
		{&t.ProbeDoubt, 500 * time.Millisecond},
		{&t.ProbeDown, 250 * time.Millisecond},
		{&t.Timeout, time.Second},
		{&t.RetryFirst, 250 * time.Millisecond},
		{&t.RetrySlow, 1500 * time.Millisecond},
		{&t.RetryLater, time.Second},
		{&t.RetryMax, 4500 * time.Millisecond},
		{&t.WakeJump, 5 * time.Second},
	} {
		if *d.p == 0 {
			*d.p = d.v
		}
	}
	return t
}

// Config of a Monitor.
type Config struct {
	Link     Link
	Listener Listener
	Times    Times
	// Clock returns the wall clock and the monotonic clock; nil means this machine's.
	Clock func() (wall time.Time, mono time.Duration)
}

// Monitor watches one link. Make it with New; Run it once. The other methods are
// safe for concurrent use and never block.
type Monitor struct {
	link  Link
	to    Listener
	times Times
	clock func() (time.Time, time.Duration)

	answers chan uint64
	kicks   chan kick
	nudges  chan struct{}
	heard   atomic.Int64 // when the last answer came, in monotonic time since epoch
	epoch   time.Time
	lost    atomic.Uint64

	// What follows belongs to Run's goroutine.
	up          bool
	reason      Reason
	seq         uint64
	sent        map[uint64]time.Time
	firstMissed time.Time // when the oldest unanswered probe was sent; zero: none
	unanswered  int       // probes sent since the last answer
	lastProbe   time.Time
	lastAnswer  time.Time
	downSince   time.Time
	lastRetry   time.Time
	retries     int
	rtt         time.Duration // of the path; 0: unknown
	doubt       bool
	tx, rx      uint64
	wall        time.Time
	mono        time.Duration
}

type kick struct {
	reason Reason
	rebind bool
	check  bool // no more than a look: nothing is known to be wrong
	hope   bool
}

// New returns a monitor; it starts nothing.
func New(cfg Config) *Monitor {
	m := &Monitor{
		link: cfg.Link, to: cfg.Listener, times: cfg.Times.withDefaults(), clock: cfg.Clock,
		answers: make(chan uint64, maxOutstanding),
		kicks:   make(chan kick, 8),
		nudges:  make(chan struct{}, 1),
		epoch:   time.Now(),
		sent:    make(map[uint64]time.Time),
	}
	if m.clock == nil {
		start := time.Now()
		m.clock = func() (time.Time, time.Duration) {
			now := time.Now()
			return now.Round(0), now.Sub(start) // Round strips the monotonic reading
		}
	}
	return m
}

// Answer reports that the probe with this number was answered.
func (m *Monitor) Answer(seq uint64) {
	select {
	case m.answers <- seq:
	default:
		m.lost.Add(1) // a flood of answers; the next one will do
	}
}

// Nudge asks for a probe now, because a flow is being opened: after silence, it is
// the time to find out. It costs next to nothing while answers come.
func (m *Monitor) Nudge() {
	if h := m.heard.Load(); h != 0 && time.Since(m.epoch)-time.Duration(h) < m.times.Tick {
		return
	}
	select {
	case m.nudges <- struct{}{}:
	default:
	}
}

// Check asks for a look now, whenever the last answer came: there is a reason for doubt.
func (m *Monitor) Check() { m.kick(kick{check: true}) }

// Hope says that there is a reason to expect an answer now: an outage counts as young again.
func (m *Monitor) Hope() { m.kick(kick{check: true, hope: true}) }

// GatewayRestarted says that the gateway has lost its sessions.
func (m *Monitor) GatewayRestarted() { m.kick(kick{reason: GatewayRestart}) }

// NetworkChanged says that the way to the gateway may be another one now.
func (m *Monitor) NetworkChanged() {
	m.kick(kick{reason: NetworkChange, rebind: true})
}

// EndpointChanged says that the link uses another endpoint: it must be tried at once.
func (m *Monitor) EndpointChanged() { m.kick(kick{reason: Starting}) }

func (m *Monitor) kick(k kick) {
	select {
	case m.kicks <- k:
	default: // eight are waiting: the link is being retried already
	}
}

// Run watches until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	m.wall, m.mono = m.clock()
	m.tx, m.rx = m.link.Traffic()
	m.goDown(Starting)
	m.retry()
	next := time.Now().Add(m.wait())
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		planned := next
		select {
		case <-ctx.Done():
			return
		case seq := <-m.answers:
			m.answered(seq)
		case k := <-m.kicks:
			m.kicked(k)
		case <-m.nudges:
			m.nudge()
		case <-timer.C:
			m.tick()
			planned = time.Time{}
		}
		// Other events may call for a look sooner than was planned, never later: a
		// thousand of them a second must not put the look off for ever.
		next = time.Now().Add(m.wait())
		if !planned.IsZero() && planned.Before(next) {
			next = planned
			continue
		}
		timer.Reset(time.Until(next))
	}
}

// wait returns the time until the next tick.
func (m *Monitor) wait() time.Duration {
	switch {
	case !m.up:
		return m.times.ProbeDown
	case m.unanswered > 0 || m.doubt:
		return min(m.times.ProbeDoubt, m.times.Tick)
	default:
		return m.times.Tick
	}
}

func (m *Monitor) tick() {
	now := time.Now()
	if m.slept() {
		m.kicked(kick{reason: Wake, rebind: true})
		return
	}
	if !m.up {
		m.tickDown(now)
		return
	}
	m.observe()
	if m.unanswered >= missesUntilDown && now.Sub(m.firstMissed) >= m.times.Timeout+m.times.ProbeDoubt {
		m.goDown(NoAnswer)
		m.retry()
		return
	}
	interval := m.times.ProbeIdle
	if m.doubt || m.unanswered > 0 {
		interval = m.times.ProbeDoubt
	}
	// A tick is never exactly on time: what is almost due is due.
	if now.Sub(m.lastProbe) >= interval-interval/10 {
		m.probe()
	}
}

// tickDown probes and forces handshakes until an answer comes.
func (m *Monitor) tickDown(now time.Time) {
	if now.Sub(m.lastRetry) >= m.retryInterval(now) {
		m.retry()
		return
	}
	if now.Sub(m.downSince) < fastFor {
		m.probe()
	}
}

// retryInterval grows with the outage, with a fifth of jitter: the agents of a
// gateway that went down must not come back in one beat.
func (m *Monitor) retryInterval(now time.Time) time.Duration {
	d := m.times.RetryMax
	switch age := now.Sub(m.downSince); {
	case age < fastFor:
		d = m.hasty()
	case age < laterFor:
		d = max(m.times.RetryLater, m.hasty())
	}
	return d - rand.N(d/5+1)
}

// hasty is the shortest interval that the path allows.
func (m *Monitor) hasty() time.Duration {
	d := max(m.times.RetryFirst, min(3*m.rtt, m.times.RetryMax))
	unknown := m.rtt == 0 || m.reason == NetworkChange || m.reason == Wake
	if unknown {
		d = max(d, 2*m.times.RetryFirst)
	}
	if unknown && m.retries%retriesUntilNext == 0 || m.retries%retriesUntilSlow == 0 {
		d = max(d, m.times.RetrySlow)
	}
	return d
}

// retry forces a handshake and sends a probe behind it, which WireGuard keeps until
// the handshake is done.
func (m *Monitor) retry() {
	if m.retries == retriesUntilFailing {
		m.to.LinkFailing(m.reason)
	}
	if m.retries > 0 && m.retries%retriesUntilNext == 0 {
		if m.link.Next() {
			m.rtt = 0
		}
	}
	m.retries++
	m.lastRetry = time.Now()
	_ = m.link.Handshake() // the link logs; the next retry is the remedy
	m.probe()
}

func (m *Monitor) probe() {
	now := time.Now()
	if len(m.sent) >= maxOutstanding {
		clear(m.sent)
	}
	m.seq++
	m.lastProbe = now
	m.sent[m.seq] = now
	if m.unanswered == 0 {
		m.firstMissed = now
	}
	m.unanswered++
	_ = m.link.Probe(m.seq) // a probe that was not sent is one that is not answered
}

func (m *Monitor) answered(seq uint64) {
	at, ok := m.sent[seq]
	if !ok {
		return // an answer to nobody's question, or twice
	}
	now := time.Now()
	rtt := now.Sub(at)
	if !m.up && at.Before(m.lastRetry) {
		rtt = now.Sub(m.lastRetry) // it waited for a handshake that came to nothing
	}
	clear(m.sent)
	m.heard.Store(int64(now.Sub(m.epoch)))
	before := m.lastAnswer
	m.lastAnswer, m.unanswered, m.firstMissed, m.doubt = now, 0, time.Time{}, false
	m.tx, m.rx = m.link.Traffic()
	if m.up {
		m.rtt = rtt
		m.to.LinkAnswer(rtt)
		return
	}
	m.up, m.retries = true, 0
	m.to.LinkUp(Outage{Reason: m.reason, Since: before, Until: now}, rtt)
	// This answer waited for a handshake; another tells how long the path is.
	m.probe()
}

// observe compares the counters: bytes out and none in mean doubt.
func (m *Monitor) observe() {
	tx, rx := m.link.Traffic()
	switch {
	case rx != m.rx:
		m.doubt = false
	case tx != m.tx:
		m.doubt = true
	}
	m.tx, m.rx = tx, rx
}

// slept reports whether the machine was asleep since the last look: the wall
// clock went on and the monotonic one stood still.
func (m *Monitor) slept() bool {
	wall, mono := m.clock()
	jump := wall.Sub(m.wall) - (mono - m.mono)
	m.wall, m.mono = wall, mono
	return jump > m.times.WakeJump
}

func (m *Monitor) kicked(k kick) {
	if k.check {
		m.check(k.hope)
		return
	}
	if m.up {
		m.goDown(k.reason)
	} else {
		m.reason = k.reason
		m.downSince = time.Now() // news is a reason to be fast again
	}
	if k.rebind {
		_ = m.link.Rebind() // the link logs
	}
	m.retry()
}

func (m *Monitor) check(hope bool) {
	now := time.Now()
	if m.up {
		m.probe()
		return
	}
	if hope {
		m.downSince = now
	}
	if now.Sub(m.lastRetry) >= m.times.RetryFirst {
		m.retry()
	}
}

func (m *Monitor) nudge() {
	switch now := time.Now(); {
	case !m.up:
		if now.Sub(m.downSince) >= fastFor && now.Sub(m.lastRetry) >= m.times.RetryFirst {
			m.retry()
		}
	case m.unanswered == 0 && now.Sub(m.lastAnswer) >= m.times.Tick:
		m.probe()
	}
}

func (m *Monitor) goDown(r Reason) {
	m.up, m.reason, m.retries = false, r, 0
	m.downSince = time.Now()
	clear(m.sent)
	m.to.LinkDown(r, m.lastAnswer)
}
