package sshproxy

import (
	"sync/atomic"
	"time"
)

// Limits bound what one client connection can make the gateway do. A zero field means the default in its comment.
type Limits struct {
	Channels          int // open session channels at a time; 64
	ChannelsPerSecond int // session channels opened per second, above which they wait, after a burst of Channels; 64
	Forwards          int // connections forwarded at a time; 256
	ForwardsPending   int // of these, that the other side has not answered yet; 64
	ForwardsPerSecond int // forwarded connections per second, after a burst of Forwards; the client's wait above it, the target's are refused; 64
	TotalForwards     int // connections forwarded at a time, of all clients; 16384
	Listeners         int // remote forwardings at a time; 32
	RequestsPerSecond int // channel requests per second and channel, above which they wait; 256
	// KeyExchangesPerSecond is how many of one connection, on each side, are done without waiting, after a burst of eight times as many; 16.
	KeyExchangesPerSecond int
	EnvCount              int           // environment variables per channel; 64
	EnvBytes              int           // their names and values together; 32 KiB
	CommandBytes          int           // an exec command; 128 KiB, the longest argument that Linux passes to a program
	UsernameBytes         int           // the UNIX user name; 256
	PreAuthBytes          int64         // sent by the client before it is authenticated; 256 KiB
	Handshake             time.Duration // version and key exchange, each side; 10 s
	Authentication        time.Duration // from the first byte to the end of authentication; 30 s
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.Channels, 64)
	orDefault(&l.ChannelsPerSecond, 64)
	orDefault(&l.Forwards, 256)
	orDefault(&l.ForwardsPending, 64)
	orDefault(&l.ForwardsPerSecond, 64)
	orDefault(&l.TotalForwards, 16384)
	orDefault(&l.Listeners, 32)
	orDefault(&l.RequestsPerSecond, 256)
	orDefault(&l.KeyExchangesPerSecond, 16)
	orDefault(&l.EnvCount, 64)
	orDefault(&l.EnvBytes, 32<<10)
	orDefault(&l.CommandBytes, 128<<10)
	orDefault(&l.UsernameBytes, 256)
	orDefault(&l.PreAuthBytes, 256<<10)
	orDefault(&l.Handshake, 10*time.Second)
	orDefault(&l.Authentication, 30*time.Second)
	return l
}

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Limits that guard memory and are far from what any program sends.
const (
	maxGlobalPending   = 64       // requests of the client that wait for an answer
	maxGlobalNotices   = 8        // messages kept for the first session channel
	maxSubsystemBytes  = 256      //
	maxTermBytes       = 128      //
	maxPTYModesBytes   = 4 << 10  // RFC 4254 section 8: five bytes each, some fifty are defined
	maxUpstreamBanners = 4        // relayed from the target's sshd
	maxBannerBytes     = 16 << 10 // of one such banner
)

// The time that an end may take.
const (
	cutGrace   = 100 * time.Millisecond // to write why a session was cut; half of what may pass until both are closed
	lossGrace  = 50 * time.Millisecond  // between the end of a channel and that of its connection
	closeGrace = 100 * time.Millisecond // for the client to read it and close
	drainGrace = 5 * time.Second        // for what the target sent before it went away to reach the client
)

// Stats are counts since the start of the Proxy.
type Stats struct {
	Sessions              uint64 // Serve called
	LoginsAllowed         uint64 // client authenticated
	LoginsRefused         uint64 // by policy
	LoginsFailed          uint64 // allowed, but the target or control did not play along
	HandshakesFailed      uint64 // the client did not come as far as naming a user
	PreAuthOverflows      uint64 // more than Limits.PreAuthBytes
	SessionsCut           uint64 // ended by their context
	Channels              uint64 // session channels opened
	ChannelsOverLimit     uint64 // refused for Limits.Channels
	Forwards              uint64 // connections forwarded
	ForwardsOpen          uint64 // of these, now
	ForwardBytes          uint64 // carried by them, both ways
	ForwardsOverLimit     uint64 // refused for a limit
	ForwardingsRefused    uint64 // channels and requests of any kind of forwarding
	RequestsRefused       uint64 // other requests that were refused
	RequestsThrottled     uint64 // waited for Limits.RequestsPerSecond
	KeyExchangesThrottled uint64 // waited for Limits.KeyExchangesPerSecond
	GlobalsOverLimit      uint64 // connections that were ended because more global requests waited than maxGlobalPending
	EnvIgnored            uint64 // variables that were not on the list or over a limit
	StrayStderrDiscards   uint64 // bytes that a client sent as extended data
}

type counters struct {
	sessions, loginsAllowed, loginsRefused, loginsFailed, handshakesFailed, preAuthOverflows,
	sessionsCut, channels, channelsOverLimit, forwards, forwardBytes, forwardsOverLimit, forwardingsRefused, requestsRefused, requestsThrottled, keyExchangesThrottled, globalsOverLimit,
	envIgnored, strayStderr atomic.Uint64
}

// Stats returns the counts.
func (p *Proxy) Stats() Stats {
	c := &p.stats
	return Stats{
		Sessions:              c.sessions.Load(),
		LoginsAllowed:         c.loginsAllowed.Load(),
		LoginsRefused:         c.loginsRefused.Load(),
		LoginsFailed:          c.loginsFailed.Load(),
		HandshakesFailed:      c.handshakesFailed.Load(),
		PreAuthOverflows:      c.preAuthOverflows.Load(),
		SessionsCut:           c.sessionsCut.Load(),
		Channels:              c.channels.Load(),
		ChannelsOverLimit:     c.channelsOverLimit.Load(),
		Forwards:              c.forwards.Load(),
		ForwardsOpen:          uint64(max(p.forwards.Load(), 0)),
		ForwardBytes:          c.forwardBytes.Load(),
		ForwardsOverLimit:     c.forwardsOverLimit.Load(),
		ForwardingsRefused:    c.forwardingsRefused.Load(),
		RequestsRefused:       c.requestsRefused.Load(),
		RequestsThrottled:     c.requestsThrottled.Load(),
		KeyExchangesThrottled: c.keyExchangesThrottled.Load(),
		GlobalsOverLimit:      c.globalsOverLimit.Load(),
		EnvIgnored:            c.envIgnored.Load(),
		StrayStderrDiscards:   c.strayStderr.Load(),
	}
}
