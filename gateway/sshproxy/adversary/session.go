package adversary

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/sshproxy"
)

func forwardingsRefused(s sshproxy.Stats) uint64 { return s.ForwardingsRefused }
func requestsRefused(s sshproxy.Stats) uint64    { return s.RequestsRefused }
func channelsOverLimit(s sshproxy.Stats) uint64  { return s.ChannelsOverLimit }
func requestsThrottled(s sshproxy.Stats) uint64  { return s.RequestsThrottled }
func envIgnored(s sshproxy.Stats) uint64         { return s.EnvIgnored }
func strayDiscards(s sshproxy.Stats) uint64      { return s.StrayStderrDiscards }

const (
	prohibited  = 1 // RFC 4254 section 5.1
	unknownType = 3
	shortage    = 4
)

func forwardingAttacks() []Attack {
	refused := func(name, does string, open channelOpen, words ...string) Attack {
		return Attack{
			Area: "forwarding", Name: name, Does: does,
			Answer: "the channel is refused, with the reason", Record: "ForwardingsRefused; the event \"refused\" with the destination",
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				a.counted(tb, "ForwardingsRefused", forwardingsRefused, 1, func() {
					answer, got, reason := w.open(tb, open)
					if answer != msgChannelRefused || got != prohibited || !strings.HasPrefix(reason, "weft: ") {
						tb.Errorf("answered by %d, code %d: %s", answer, got, reason)
					}
				})
				a.recorded(tb, append([]string{"refused", open.Type}, words...)...)
				if !w.alive(tb) {
					tb.Error("the connection ended")
				}
			},
		}
	}
	channel := func(typ string, rest any) channelOpen {
		c := channelOpen{Type: typ, ID: 7, Window: 1 << 20, MaxPk: 32 << 10}
		if rest != nil {
			c.Rest = ssh.Marshal(rest)
		}
		return c
	}
	type tcp struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}
	type socket struct {
		Path, Reserved string
		More           uint32
	}
	return []Attack{
		refused("to the SSH port of another target", "ssh -L, -W, -J, -D: asks the target to connect to 10.20.0.6:22, past the gateway's policy for that machine",
			channel("direct-tcpip", tcp{"10.20.0.6", 22, "127.0.0.1", 1}), "10.20.0.6:22"),
		refused("to the target itself", "nests SSH: asks for port 22 of the target from inside, for an unrecorded session on it",
			channel("direct-tcpip", tcp{"localhost", 22, "127.0.0.1", 1}), "localhost:22"),
		refused("to a socket", "asks for /run/docker.sock", channel("direct-streamlocal@openssh.com", socket{Path: "/run/docker.sock"}), "/run/docker.sock"),
		refused("tunnel device", "ssh -w: asks for a layer 3 device", channel("tun@openssh.com", struct{ Mode, Unit uint32 }{1, 0x7fffffff})),
		refused("x11 by the client", "opens the channel that only a server opens", channel("x11", tcp{"localhost", 6000, "", 0})),
		refused("agent by the client", "opens the channel that only a server opens", channel("auth-agent@openssh.com", nil)),
		refused("forwarded-tcpip by the client", "opens the channel that only a server opens", channel("forwarded-tcpip", tcp{"10.20.0.6", 22, "10.20.0.5", 1}), "10.20.0.6:22"),
		{
			Area: "forwarding", Name: "malformed destinations", Does: "opens direct-tcpip with nothing, half a message, a port above 65535, a name of 64 KiB and control characters",
			Answer: "each channel is refused", Record: "ForwardingsRefused; \"refused\", the destination shortened",
			Run: malformedDestinations,
		},
		{
			Area: "forwarding", Name: "beside an allowed destination", Does: "the policy allows 10.20.0.6:80, and the attacker asks for other ports, other machines, and that address as a resolver could read it: octal, hexadecimal, as one number, with a zone, a blank, a NUL",
			Answer: "addresses are compared as addresses, names as names, and what could be read in two ways is neither: each is refused, with the policy's name", Record: "ForwardingsRefused; \"refused\" with the destination",
			Rules: &access.SSHRules{LocalForwarding: &access.LocalForwarding{Destinations: []string{"10.20.0.6:80"}}},
			Run:   besideAllowed,
		},
		{
			Area: "forwarding", Name: "remote forwarding", Does: "ssh -R: asks for ports and sockets on the target",
			Answer: "the request fails, and the next session says why", Record: "ForwardingsRefused; \"refused\" with the address",
			Run: remoteForwarding,
		},
		{
			Area: "forwarding", Name: "agent and X11", Does: "ssh -A, -X: asks a session to bring the agent or the display along",
			Answer: "the request fails and never reaches the target", Record: "ForwardingsRefused; \"refused\"",
			Run: agentAndX11,
		},
		{
			Area: "forwarding", Name: "no session at all", Does: "ssh -N: logs in and opens nothing",
			Answer: "allowed: nothing happens that would have to be refused", Record: "the login",
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				a.recorded(tb, "ssh_login", a.Login)
				if !w.alive(tb) {
					tb.Error("the connection ended")
				}
			},
		},
		{
			Area: "forwarding", Name: "SSH inside a session", Does: "runs a command on the target that speaks SSH, and tunnels another connection through its input and output",
			Answer: "allowed, for the user may run commands: the target is where this has to be forbidden", Record: "\"exec\" with the whole command; the recording has both directions' sizes and the output",
			Run: nestedSSH,
		},
		{
			Area: "forwarding", Name: "unknown channel types", Does: "opens \"Session\", \"session\" with a NUL, nothing, 64 KiB, and types of other programs",
			Answer: "each is refused as unknown", Record: "RequestsRefused; \"refused\", the type shortened",
			Run: unknownChannels,
		},
	}
}

func malformedDestinations(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	rests := [][]byte{
		nil, {0, 0}, append(text("10.20.0.6"), 0, 0), ssh.Marshal(struct {
			Host       string
			Port       uint32
			OriginHost string
			OriginPort uint32
		}{strings.Repeat("a", 30<<10) + "\x1b[2J\n", 1 << 31, "\x00", 0}),
	}
	a.counted(tb, "ForwardingsRefused", forwardingsRefused, uint64(len(rests)), func() {
		for i, rest := range rests {
			answer, _, reason := w.open(tb, channelOpen{"direct-tcpip", uint32(i), 1, 1 << 15, rest})
			if answer != msgChannelRefused {
				tb.Errorf("destination %d was answered by %d: %s", i, answer, reason)
			}
		}
	})
	a.recorded(tb, "refused", "direct-tcpip")
	if a.Recorded(tb, "refused", strings.Repeat("a", 300)) {
		tb.Error("a destination of 30 KiB is on record whole")
	}
}

func besideAllowed(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	destinations := []struct {
		host string
		port uint32
	}{
		{"10.20.0.6", 22},
		{"10.20.0.6", 0},
		{"10.20.0.6", 65536 + 80},
		{"10.20.0.7", 80},
		{"localhost", 80},
		{"127.0.0.1", 80},
		{"010.20.0.6", 80},
		{"0x0a.20.0.6", 80},
		{"10.20.6", 80},
		{"169083910", 80},
		{"0xa140006", 80},
		{"012.024.0.6", 80},
		{"10.20.0.6%lo", 80},
		{" 10.20.0.6", 80},
		{"10.20.0.6 ", 80},
		{"10.20.0.6\x00", 80},
		{"[10.20.0.6]", 80},
		{"10.20.0.6:80", 22},
		{"0.0.0.0", 80},
		{"", 80},
		{"*", 80},
		{"10.20.0.6.evil.example", 80},
		{"10.20.0.6@10.20.0.7", 80},
		{"::ffff:10.20.0.7", 80},
	}
	a.counted(tb, "ForwardingsRefused", forwardingsRefused, uint64(len(destinations)), func() {
		for i, to := range destinations {
			answer, _, reason := w.open(tb, channelOpen{"direct-tcpip", uint32(i), 1 << 20, 1 << 15, ssh.Marshal(struct {
				Host       string
				Port       uint32
				OriginHost string
				OriginPort uint32
			}{to.host, to.port, "127.0.0.1", 1})})
			if answer != msgChannelRefused || !strings.HasPrefix(reason, "weft: ") {
				tb.Errorf("%q port %d was answered by %d: %s", to.host, to.port, answer, reason)
			}
		}
	})
	a.recorded(tb, "refused", "10.20.0.6:22", "engineers")
}

func remoteForwarding(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	type request struct {
		Type  string
		Reply bool
		Rest  []byte `ssh:"rest"`
	}
	address := func(host string, port uint32) []byte {
		return ssh.Marshal(struct {
			Host string
			Port uint32
		}{host, port})
	}
	requests := []request{
		{"tcpip-forward", true, address("", 0)},
		{"tcpip-forward", true, address("0.0.0.0", 22)},
		{"tcpip-forward", true, nil},
		{"streamlocal-forward@openssh.com", true, text("/tmp/x")},
	}
	a.counted(tb, "ForwardingsRefused", forwardingsRefused, uint64(len(requests)), func() {
		for _, r := range requests {
			w.message(tb, msgGlobalRequest, r)
			if p := w.expect(tb, msgRequestSuccess, msgRequestFailure); p[0] != msgRequestFailure {
				tb.Errorf("%s was granted", r.Type)
			}
		}
	})
	a.recorded(tb, "refused", "tcpip-forward", "0.0.0.0:22")
	a.recorded(tb, "refused", "streamlocal-forward@openssh.com", "/tmp/x")
}

func agentAndX11(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	x11 := ssh.Marshal(struct {
		Single         bool
		Protocol, Data string
		Screen         uint32
	}{false, "MIT-MAGIC-COOKIE-1", "00", 0})
	a.counted(tb, "ForwardingsRefused", forwardingsRefused, 3, func() {
		if w.ask(tb, peer, "auth-agent-req@openssh.com", nil) || w.ask(tb, peer, "x11-req", x11) || w.ask(tb, peer, "auth-agent-req", nil) {
			tb.Error("a forwarding was granted")
		}
	})
	a.recorded(tb, "refused", "auth-agent-req@openssh.com")
	a.recorded(tb, "refused", "x11-req")
}

func nestedSSH(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	const command = "echo SSH-2.0-inner; cat # nc 10.20.0.6 22"
	if !w.ask(tb, peer, "exec", text(command)) {
		tb.Fatal("exec was refused")
	}
	a.recorded(tb, "exec", command)
	w.message(tb, msgChannelClose, struct{ Peer uint32 }{peer})
	w.expect(tb, msgChannelClose)
}

func unknownChannels(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	types := []string{"Session", "session\x00", " session", "", strings.Repeat("s", 30<<10), "direct-tcpip ", "main@putty", "session@openssh.com", "../session"}
	a.counted(tb, "RequestsRefused", requestsRefused, uint64(len(types)), func() {
		for i, typ := range types {
			answer, code, _ := w.open(tb, channelOpen{typ, uint32(i), 1 << 20, 1 << 15, nil})
			if answer != msgChannelRefused || code != unknownType {
				tb.Errorf("%.40q was answered by %d, code %d", typ, answer, code)
			}
		}
	})
	a.recorded(tb, "refused", "session@openssh.com")
}

func programAttacks() []Attack {
	return []Attack{
		{
			Area: "program", Name: "forced terminal", Does: "ssh -tt command: asks for a terminal, and runs a command instead of a shell, to be taken for one or the other",
			Answer: "allowed; what is recorded follows the requests, so it is a terminal and a command", Record: "\"exec\" with the command; the recording has the terminal's output",
			Run: forcedTerminal,
		},
		{
			Area: "program", Name: "odd subsystems", Does: "asks for subsystems with NULs, shell characters, paths, nothing, and 64 KiB",
			Answer: "nothing, what is too long, and what is no name in SSH is refused, for sshd takes a NUL for the end; others go to the target as they are, which knows none of them", Record: "\"subsystem\" with the name, before the target is asked; RequestsRefused",
			Run: oddSubsystems,
		},
		{
			Area: "program", Name: "second program", Does: "after a command asks the same channel for a shell, another command, sftp",
			Answer: "a channel runs one program: each is refused", Record: "RequestsRefused; \"refused\"",
			Run: secondProgram,
		},
		{
			Area: "program", Name: "environment", Does: "sends LD_PRELOAD, BASH_ENV, PATH, SSH_ORIGINAL_COMMAND, LC_ and names with = and NUL, too many and too long",
			Answer: "only language and colour are passed on, so many and no more; others are not", Record: "EnvIgnored; what was passed on is in the recording",
			Run: environment,
		},
		{
			Area: "program", Name: "long command", Does: "runs a command of 200 KiB",
			Answer: "refused: no system takes more than 128 KiB, and it would go on record whole", Record: "RequestsRefused; \"refused\"",
			Run: longCommand,
		},
		{
			Area: "program", Name: "command with control characters", Does: "runs a command with line ends, escape sequences and NULs, to hide in the log what it does",
			Answer: "it goes to the target as it is", Record: "\"exec\" with every byte of it, as one line",
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				w := a.login(tb)
				const command = "echo a\r\n{\"event\":\"forged\"}\x1b[2K\x08"
				w.ask(tb, w.session(tb, 1), "exec", text(command))
				a.recorded(tb, "exec", command)
			},
		},
		{
			Area: "program", Name: "requests of a server", Does: "sends exit-status, exit-signal and unknown requests, malformed ones, and a second terminal",
			Answer: "each is refused", Record: "RequestsRefused; \"refused\" once for each kind",
			Run: serverRequests,
		},
	}
}

func ptyRequest() []byte {
	return ssh.Marshal(struct {
		Term       string
		C, R, X, Y uint32
		Modes      string
	}{"xterm", 80, 24, 0, 0, ""})
}

func forcedTerminal(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	w.ask(tb, peer, "pty-req", ptyRequest()) // a target without terminals may say no
	if !w.ask(tb, peer, "exec", text("echo forced")) {
		tb.Fatal("the command was refused")
	}
	if out := w.output(tb); strings.TrimSpace(out) != "forced" {
		tb.Errorf("output %q", out)
	}
	a.recorded(tb, "exec", "echo forced")
}

func oddSubsystems(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	// sshd would take the first for "sftp".
	none := []string{"sftp\x00", "sftp\x00evil", "\x00sftp", "sftp ", "s\nftp", "sf\u200btp", "", strings.Repeat("s", 257), strings.Repeat("s", 30<<10)}
	a.counted(tb, "RequestsRefused", requestsRefused, uint64(len(none)), func() {
		for i, name := range none {
			if w.ask(tb, w.session(tb, uint32(i)), "subsystem", text(name)) {
				tb.Errorf("%.20q (%d bytes) was granted", name, len(name))
			}
		}
	})
	for i, name := range []string{"SFTP", "../sftp", "sftp;id", "$(id)", "-e", "%s", "internal-sftp"} {
		if w.ask(tb, w.session(tb, uint32(i+10)), "subsystem", text(name)) {
			tb.Errorf("%q was granted", name)
		}
		a.recorded(tb, "subsystem", name)
	}
}

func secondProgram(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	if !w.ask(tb, peer, "exec", text("cat")) {
		tb.Fatal("the first was refused")
	}
	a.counted(tb, "RequestsRefused", requestsRefused, 4, func() {
		for _, second := range []struct {
			typ  string
			rest []byte
		}{{"shell", nil}, {"exec", text("echo second")}, {"subsystem", text("sftp")}, {"pty-req", ptyRequest()}} {
			if w.ask(tb, peer, second.typ, second.rest) {
				tb.Errorf("%s was granted after exec", second.typ)
			}
		}
	})
	a.recorded(tb, "refused", "subsystem", "already started")
	if a.Recorded(tb, "echo second") {
		tb.Error("the second command is on record as one that ran")
	}
}

func environment(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	env := func(name, value string) bool {
		return w.ask(tb, peer, "env", append(text(name), text(value)...))
	}
	bad := []string{"LD_PRELOAD", "BASH_ENV", "ENV", "PATH", "IFS", "SSH_ORIGINAL_COMMAND", "SSH_AUTH_SOCK", "HOME", "LC_", "lc_all", "LANG ", " LANG", "LANG=x\x00", ""}
	a.counted(tb, "EnvIgnored", envIgnored, uint64(len(bad))+2, func() {
		for _, name := range bad {
			if env(name, "evil") {
				tb.Errorf("%q was passed on", name)
			}
		}
		if env("LC_LONG", strings.Repeat("x", 33<<10)) {
			tb.Error("33 KiB of it were passed on")
		}
		last := true
		for i := range 65 {
			last = env("LC_N"+strconv.Itoa(i), "x")
		}
		if last {
			tb.Error("the 65th was passed on")
		}
	})
}

func longCommand(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	a.counted(tb, "RequestsRefused", requestsRefused, 1, func() {
		if w.ask(tb, peer, "exec", text(strings.Repeat("x", 200<<10))) {
			tb.Error("it was granted")
		}
	})
	a.recorded(tb, "refused", "exec", "131072 bytes")
}

func serverRequests(tb testing.TB, a *Arena) {
	tb.Helper()
	w := a.login(tb)
	peer := w.session(tb, 1)
	requests := []struct {
		typ  string
		rest []byte
	}{
		{"exit-status", []byte{0, 0, 0, 0}},
		{"exit-signal", append(text("KILL"), 0)},
		{"evil@example.com", nil},
		{strings.Repeat("r", 30<<10), nil},
		{"", nil},
	}
	a.counted(tb, "RequestsRefused", requestsRefused, uint64(len(requests)), func() {
		for _, r := range requests {
			if w.ask(tb, peer, r.typ, r.rest) {
				tb.Errorf("%.20q was granted", r.typ)
			}
		}
	})
	a.recorded(tb, "refused", "exit-status")
	for _, typ := range []string{"pty-req", "env", "exec", "subsystem", "signal", "window-change", "break"} {
		if w.ask(tb, peer, typ, []byte{0xff, 0xff, 0xff, 0xff, 1}) {
			tb.Errorf("a malformed %s was granted", typ)
		}
	}
}
