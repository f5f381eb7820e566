package adversary

import (
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/sshproxy"
)

func channelAttacks() []Attack {
	return []Attack{
		{
			Area: "channel", Name: "more than the window", Does: "sends more than the window that it was given",
			Answer: "the connection ends", Record: "the end of the session",
			Run: windowExceeded,
		},
		{
			Area: "channel", Name: "window overflow", Does: "adds to a window until it would be more than 2^32",
			Answer: "the connection ends", Record: "the end of the session",
			Run: windowOverflow,
		},
		{
			Area: "channel", Name: "window of nothing", Does: "opens channels with a window of 0 or 1 byte, and packets of at most 0, 1 or 2^32-1 bytes, and has the target send",
			Answer: "absurd packet sizes are refused; otherwise the target is held up, and nothing piles up here", Record: "the login",
			Run: windowOfNothing,
		},
		{
			Area: "channel", Name: "numbers of no channel", Does: "sends data, adjustments, requests, ends and answers for channels that do not exist, are closed, or were refused",
			Answer: "the connection ends, or the message is skipped", Record: "the end of the session",
			Run: wrongChannels,
		},
		{
			Area: "channel", Name: "answers that nobody asked for", Does: "sends a hundred confirmations, refusals, successes and failures for one channel and for the connection, and leaves",
			Answer: "it holds up itself at most; when it has left, nothing remains", Record: "the end of the session",
			Run: unaskedAnswers,
		},
		{
			Area: "channel", Name: "stray data", Does: "sends extended data of all kinds, data before and after the end, and two ends",
			Answer: "what means nothing in this direction is dropped", Record: "StrayStderrDiscards",
			Run: strayData,
		},
		{
			Area: "channel", Name: "hundreds of channels", Does: "opens sessions and closes none",
			Answer: "64 are open; further ones are refused, and ever more slowly", Record: "ChannelsOverLimit; \"refused\"",
			Run: manyChannels,
		},
	}
}

func windowExceeded(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	go flood(w, w.frames(tb, 200, func(int) []byte {
		return append([]byte{msgChannelData}, ssh.Marshal(struct {
			Peer uint32
			Data []byte
		}{peer, make([]byte, 32<<10)})...)
	}))
	w.ends(tb)
}

// frames seals n packets.
func (w *wire) frames(tb testing.TB, n int, payload func(int) []byte) []byte {
	tb.Helper()
	var b []byte
	for i := range n {
		b = append(b, w.frame(payload(i))...)
	}
	return b
}

// flood writes until it is done or the other side has closed.
func flood(w *wire, b []byte) {
	_ = w.conn.SetWriteDeadline(time.Now().Add(patience)) // else the write fails
	_, _ = w.conn.Write(b)
}

func windowOverflow(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	for range 3 {
		w.message(tb, msgWindowAdjust, struct{ Peer, More uint32 }{peer, 1<<32 - 1})
	}
	w.ends(tb)
}

func windowOfNothing(tb testing.TB, a *Arena) {
	tb.Helper()
	for _, c := range []channelOpen{
		{Type: "session", ID: 1, Window: 0, MaxPk: 32 << 10},
		{Type: "session", ID: 1, Window: 1, MaxPk: 32 << 10},
		{Type: "session", ID: 1, Window: 1<<32 - 1, MaxPk: 1<<32 - 1},
		{Type: "session", ID: 1, Window: 1 << 20, MaxPk: 0},
		{Type: "session", ID: 1, Window: 1 << 20, MaxPk: 1},
	} {
		w := a.login(tb)
		w.message(tb, msgChannelOpen, c)
		p, err := w.next(msgChannelConfirm, msgChannelRefused)
		if err != nil || p[0] == msgChannelRefused {
			continue
		}
		var m struct{ ID, Peer, Window, MaxPk uint32 }
		if err := ssh.Unmarshal(p[1:], &m); err != nil {
			tb.Fatal(err)
		}
		w.ask(tb, m.Peer, "exec", text("seq 100000"))
		_ = w.conn.Close() // it must not keep the session
	}
}

func wrongChannels(tb testing.TB, a *Arena) {
	tb.Helper()
	type data struct {
		Peer uint32
		Data []byte
	}
	for _, number := range []byte{msgChannelConfirm, msgChannelRefused, msgWindowAdjust, msgChannelData, msgExtendedData, msgChannelEOF, msgChannelClose, msgChannelRequest, msgChannelSuccess, msgChannelFailure} {
		for _, peer := range []uint32{1, 63, 1 << 31, 1<<32 - 1} {
			w := a.login(tb)
			w.message(tb, number, data{peer, []byte("\x00\x00\x00\x01aaaaaaaaaaaaaaaa")})
			w.alive(tb) // either will do, but silence
			_ = w.conn.Close()
		}
	}
	w := a.login(tb)
	peer := w.session(tb, 1)
	w.message(tb, msgChannelClose, struct{ Peer uint32 }{peer})
	w.expect(tb, msgChannelClose)
	w.message(tb, msgChannelData, data{peer, []byte("late")})
	w.message(tb, msgChannelClose, struct{ Peer uint32 }{peer})
	w.alive(tb)
}

func unaskedAnswers(tb testing.TB, a *Arena) {
	tb.Helper()
	for _, number := range []byte{msgRequestSuccess, msgRequestFailure, msgChannelConfirm, msgChannelRefused, msgChannelSuccess, msgChannelFailure} {
		w := a.login(tb)
		peer := w.session(tb, 1)
		flood(w, w.frames(tb, 100, func(int) []byte {
			return append([]byte{number}, ssh.Marshal(struct{ Peer, B, C, D uint32 }{peer, 0, 1 << 20, 1 << 15})...)
		}))
		_ = w.conn.Close()
	}
}

func strayData(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	type extended struct {
		Peer, Kind uint32
		Data       []byte
	}
	if !w.ask(tb, peer, "exec", text("cat")) {
		tb.Fatal("exec was refused")
	}
	a.counted(tb, "StrayStderrDiscards", strayDiscards, 5, func() {
		w.message(tb, msgExtendedData, extended{peer, 1, []byte("stray")})
	})
	w.message(tb, msgChannelData, struct {
		Peer uint32
		Data []byte
	}{peer, []byte("real")})
	w.message(tb, msgChannelEOF, struct{ Peer uint32 }{peer})
	w.message(tb, msgChannelEOF, struct{ Peer uint32 }{peer})
	if out := w.output(tb); out != "real" {
		tb.Errorf("the command got %q", out)
	}
}

func manyChannels(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	const over = 80
	a.counted(tb, "ChannelsOverLimit", channelsOverLimit, over, func() {
		var open, refused int
		go flood(w, w.frames(tb, 64+over, func(i int) []byte {
			return append([]byte{msgChannelOpen}, ssh.Marshal(channelOpen{Type: "session", ID: uint32(i), Window: 1 << 20, MaxPk: 1 << 15})...)
		}))
		for range 64 + over {
			switch answer, code, _ := w.opened(tb); {
			case answer == msgChannelConfirm:
				open++
			case code == shortage:
				refused++
			}
		}
		if open != 64 || refused != over {
			tb.Errorf("%d were opened, %d refused", open, refused)
		}
	})
	a.recorded(tb, "refused", "session", "more than 64")
}

func floodAttacks() []Attack {
	return []Attack{
		{
			Area: "flood", Name: "global requests", Does: "sends unknown global requests as fast as it can, without wanting answers",
			Answer: "50 a second are dealt with after a burst of 100; 64 may wait, and more end the connection", Record: "RequestsThrottled or GlobalsOverLimit, RequestsRefused; \"refused\", each that was dealt with",
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				held := func(s sshproxy.Stats) uint64 { return s.RequestsThrottled + s.GlobalsOverLimit }
				a.counted(tb, "RequestsThrottled or GlobalsOverLimit", held, 1, func() {
					go flood(w, w.frames(tb, 300, func(int) []byte {
						return append([]byte{msgGlobalRequest}, ssh.Marshal(struct {
							Type  string
							Reply bool
						}{"flood@example.com", false})...)
					}))
					a.Honest(tb)
				})
				a.recorded(tb, "refused", "flood@example.com")
			},
		},
		{
			Area: "flood", Name: "keepalives", Does: "sends ten thousand keepalives that want answers, and reads none",
			Answer: "it holds up itself; when it has left, nothing remains", Record: "the end of the session",
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				sent := make(chan struct{})
				b := w.frames(tb, 10_000, func(int) []byte {
					return append([]byte{msgGlobalRequest}, ssh.Marshal(struct {
						Type  string
						Reply bool
					}{"keepalive@openssh.com", true})...)
				})
				go func() {
					defer close(sent)
					flood(w, b)
				}()
				a.Honest(tb)
				_ = w.conn.Close()
				<-sent
			},
		},
		{
			Area: "flood", Name: "channel requests", Does: "sends window changes as fast as it can",
			Answer: "256 a second and channel are dealt with; the rest wait in its own connection", Record: "RequestsThrottled",
			Limits: &sshproxy.Limits{RequestsPerSecond: 20},
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				peer := w.session(tb, 1)
				a.counted(tb, "RequestsThrottled", requestsThrottled, 1, func() {
					go flood(w, w.frames(tb, 100, func(int) []byte {
						return append([]byte{msgChannelRequest}, ssh.Marshal(channelRequest{peer, "window-change", false, ssh.Marshal(struct{ C, R, X, Y uint32 }{80, 24, 0, 0})})...)
					}))
					a.Honest(tb)
				})
			},
		},
		{
			Area: "flood", Name: "channels opened and closed", Does: "opens and closes sessions as fast as it can",
			Answer: "64 a second after the first 64; the rest wait in its own connection", Record: "RequestsThrottled",
			Limits: &sshproxy.Limits{Channels: 4, ChannelsPerSecond: 1},
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				a.counted(tb, "RequestsThrottled", requestsThrottled, 1, func() {
					for i := range 8 {
						peer := w.session(tb, uint32(i))
						w.message(tb, msgChannelClose, struct{ Peer uint32 }{peer})
						w.expect(tb, msgChannelClose)
					}
				})
			},
		},
		{
			Area: "flood", Name: "new keys", Does: "exchanges keys again and again, to have the gateway reckon",
			Answer: "after a burst of 128, 16 a second; the dear group of 4096 bits is not offered", Record: "KeyExchangesThrottled",
			Limits: &sshproxy.Limits{KeyExchangesPerSecond: 1}, Run: newKeys,
		},
		{
			Area: "flood", Name: "proposals without keys", Does: "begins key exchanges and never ends one: a proposal, and then data, or a hundred proposals",
			Answer: "the connection ends", Record: "the end of the session",
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				p := proposal()
				b := w.frames(tb, 100, func(int) []byte { return p.marshal() })
				go flood(w, b)
				w.ends(tb)
			},
		},
		{
			Area: "flood", Name: "slow readers", Does: "has the target send without end on many connections, and reads nothing",
			Answer: "each holds what its windows allow and no more; others are served meanwhile", Record: "the logins",
			Run: slowReaders,
		},
		{
			Area: "flood", Name: "half-open connections", Does: "holds two hundred connections that say nothing",
			Answer: "each costs a few KiB until its time is over; others are served meanwhile", Record: "HandshakesFailed",
			Limits: quick(),
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				const n = 200
				a.counted(tb, "HandshakesFailed", handshakesFailed, n, func() {
					var ends sync.WaitGroup
					for range n {
						c := a.Dial(tb)
						ends.Go(func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() })
					}
					a.Honest(tb)
					ends.Wait()
				})
			},
		},
	}
}

func newKeys(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	if slices.Contains(w.proposal.Kex, "diffie-hellman-group16-sha512") {
		tb.Error("a key exchange that costs forty milliseconds is offered")
	}
	a.counted(tb, "KeyExchangesThrottled", func(s sshproxy.Stats) uint64 { return s.KeyExchangesThrottled }, 2, func() {
		for range 12 {
			w.kex(tb, proposal())
		}
	})
	if !w.alive(tb) {
		tb.Error("the connection ended")
	}
}

// slowHeapBytes is what one connection that is not read may keep: windows and packets of both sides, and their copies.
const slowHeapBytes = 8 << 20

func slowReaders(tb testing.TB, a *Arena) {
	tb.Helper()
	const readers = 8
	var before uint64
	if a.Heap != nil {
		before = a.Heap()
	}
	for range readers {
		w := a.login(tb)
		answer, peer, reason := w.open(tb, channelOpen{Type: "session", ID: 1, Window: 1<<32 - 1, MaxPk: 32 << 10})
		if answer != msgChannelConfirm {
			tb.Fatalf("refused: %s", reason)
		}
		if !w.ask(tb, peer, "exec", text("seq 100000000")) {
			tb.Fatal("the command was refused")
		}
	}
	a.Honest(tb)
	if a.Heap == nil {
		return
	}
	if now := a.Heap(); now > before+readers*slowHeapBytes {
		tb.Errorf("%d connections that do not read hold %d MiB", readers, (now-before)>>20)
	}
}

func targetAttacks() []Attack {
	return []Attack{
		{
			Area: "target", Name: "channels unasked", Does: "the target opens agent, X11, forwarded and session channels towards the client, to use what the client has",
			Answer: "each is refused, and the client never hears of it", Record: "ForwardingsRefused, RequestsRefused; \"refused\", each",
			Target: unasked,
			Run:    neverHears,
		},
		{
			Area: "target", Name: "more than was granted", Does: "the policy allows the login its agent and a port at the target, the user asks for neither, and the target opens their channels all the same",
			Answer: "what the client did not ask for, and have granted, is refused", Record: "ForwardingsRefused; \"refused\", each",
			Rules:  &access.SSHRules{AgentForwarding: true, RemoteForwarding: &access.RemoteForwarding{Listen: []string{"localhost:8080"}}},
			Target: unasked,
			Run:    neverHears,
		},
		{
			Area: "target", Name: "global requests", Does: "the target offers host keys, asks for forwardings and unknown things, five hundred times",
			Answer: "each fails, and the client never hears of it", Record: "nothing: they have no effect",
			Target: func(c *ssh.ServerConn, chans <-chan ssh.NewChannel) {
				for range 500 {
					for _, typ := range []string{"hostkeys-00@openssh.com", "tcpip-forward", "evil@example.com"} {
						_, _, _ = c.SendRequest(typ, true, nil) // refused, or over
					}
				}
				rejectAll(chans)
			},
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				if !w.alive(tb) {
					tb.Error("the connection ended")
				}
			},
		},
		{
			Area: "target", Name: "escape sequences", Does: "the target refuses a channel with text that would be obeyed by a terminal",
			Answer: "control characters are replaced", Record: "nothing: it was not opened",
			Target: func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel) {
				for nc := range chans {
					_ = nc.Reject(ssh.Prohibited, "\x1b]0;owned\x07\x1b[2J"+strings.Repeat("x", 100<<10)) // an error is the end
				}
			},
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				answer, _, reason := w.open(tb, channelOpen{Type: "session", ID: 1, Window: 1 << 20, MaxPk: 1 << 15})
				if answer != msgChannelRefused || strings.ContainsAny(reason, "\x1b\x07") || len(reason) > 1024 {
					tb.Errorf("answered by %d, %.80q (%d bytes)", answer, reason, len(reason))
				}
			},
		},
		{
			Area: "target", Name: "requests on a channel", Does: "the target sends X11 and agent requests, floods of exit statuses, and malformed ones",
			Answer: "only a well-formed end and eow go on to the client", Record: "\"exit\"",
			Target: func(_ *ssh.ServerConn, chans <-chan ssh.NewChannel) {
				for nc := range chans {
					ch, reqs, err := nc.Accept()
					if err != nil {
						return
					}
					go func() {
						for r := range reqs {
							_ = r.Reply(true, nil) // it may be over
							for _, evil := range []string{"x11-req", "auth-agent-req@openssh.com", "exec", "shell", "exit-signal", "exit-status"} {
								_, _ = ch.SendRequest(evil, false, []byte{1})
							}
							_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 9})
							_ = ch.Close()
						}
					}()
				}
			},
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				peer := w.session(tb, 1)
				w.message(tb, msgChannelRequest, channelRequest{peer, "exec", true, text("x")})
				for {
					p := w.expect(tb, msgChannelRequest, msgChannelClose)
					if p[0] == msgChannelClose {
						break
					}
					var m channelRequest
					if err := ssh.Unmarshal(p[1:], &m); err != nil {
						tb.Fatal(err)
					}
					if m.Type != "exit-status" || len(m.Rest) != 4 {
						tb.Errorf("the client was sent %s %x", m.Type, m.Rest)
					}
				}
				a.recorded(tb, "exit", "9")
			},
		},
	}
}

// unaskedTypes are what a target may open only when it was asked to, or never.
var unaskedTypes = []string{"auth-agent@openssh.com", "x11", "forwarded-tcpip", "forwarded-streamlocal@openssh.com", "session", "direct-tcpip"}

func unasked(c *ssh.ServerConn, chans <-chan ssh.NewChannel) {
	for _, typ := range unaskedTypes {
		if ch, _, err := c.OpenChannel(typ, nil); err == nil {
			_ = ch.Close()
		}
	}
	rejectAll(chans)
}

func neverHears(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	for _, typ := range unaskedTypes {
		a.recorded(tb, "refused", typ)
	}
	w.message(tb, msgGlobalRequest, struct {
		Type  string
		Reply bool
	}{"keepalive@openssh.com", true})
	for _, number := range drainUntil(w, msgRequestFailure) {
		if number == msgChannelOpen {
			tb.Error("the client was asked for a channel")
		}
	}
}

func rejectAll(chans <-chan ssh.NewChannel) {
	for nc := range chans {
		_ = nc.Reject(ssh.Prohibited, "no") // an error is the end
	}
}
