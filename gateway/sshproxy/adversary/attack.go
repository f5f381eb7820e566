// Package adversary is what an attacker tries on the SSH proxy of a gateway: a table of attacks, each with what must
// become of it. The table is run against a proxy in this process, and in the end-to-end tests against a real gateway through
// agent and tunnel; docs/ssh-threats.md is made from it.
//
// It holds no defence and is part of no program. An attack ends the test that runs it when it is not met as the table says; the
// test then asks whether others are still served.
package adversary

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/sshproxy"
)

// Attack is one row of the table.
type Attack struct {
	Area string // what is attacked
	Name string // unique, as the test is called
	Does string // what the attacker does
	// Answer is what it meets with, Record what remains of it: a counter, an event of the audit log, or both.
	Answer, Record string
	// Limits replace the proxy's own where waiting for those would take long. Nil: the defaults.
	Limits *sshproxy.Limits
	// Target is a target in the attacker's hands, which serves the proxy's connection. Nil: an honest one.
	Target func(*ssh.ServerConn, <-chan ssh.NewChannel)
	// Control replaces what the control plane answers to a request for a certificate. Nil: it answers as it should.
	Control func(honest *ssh.Certificate, ca ssh.Signer) *ssh.Certificate
	// Rules are those of the policy that grants the login. Nil: it says nothing of forwardings.
	Rules *access.SSHRules
	// Run is the attack.
	Run func(tb testing.TB, a *Arena)
}

// Local says whether the attack needs a proxy of its own, with other limits, or other company.
func (k *Attack) Local() bool {
	return k.Limits != nil || k.Target != nil || k.Control != nil || k.Rules != nil
}

// Arena is where an attack takes place.
type Arena struct {
	// Login is a UNIX user that the policy grants, and that the target has.
	Login string
	// Dial connects to the proxy as a program on the attacker's machine does.
	Dial func(testing.TB) net.Conn
	// Recorded says whether one entry of the record holds all the words. They are compared as JSON writes them.
	Recorded func(tb testing.TB, words ...string) bool
	// Stats are the proxy's counters; nil: unknown.
	Stats func(testing.TB) sshproxy.Stats
	// Reached is how many bytes the target has been sent; nil: unknown.
	Reached func() int64
	// Heap is the proxy's heap in use after a collection; nil: unknown.
	Heap func() uint64
}

// Attacks is the table.
func Attacks() []Attack {
	return slices.Concat(transportAttacks(), authenticationAttacks(), certificateAttacks(), forwardingAttacks(), programAttacks(),
		channelAttacks(), floodAttacks(), targetAttacks())
}

// connect exchanges keys.
func (a *Arena) connect(tb testing.TB) *wire {
	tb.Helper()
	w := newWire(tb, a.Dial(tb))
	w.kex(tb, proposal())
	return w
}

// login is in.
func (a *Arena) login(tb testing.TB) *wire {
	tb.Helper()
	w := a.connect(tb)
	w.service(tb)
	if answer, banner := w.auth(tb, a.Login, "none"); answer != msgUserauthSuccess {
		tb.Fatalf("the honest login was answered by %d: %s", answer, banner)
	}
	return w
}

// recorded waits until the record has an entry with all the words.
func (a *Arena) recorded(tb testing.TB, words ...string) {
	tb.Helper()
	eventually(tb, "on record: "+quoteAll(words), func() bool { return a.Recorded(tb, words...) })
}

// counted runs do, which must make a counter grow by n or more.
func (a *Arena) counted(tb testing.TB, name string, counter func(sshproxy.Stats) uint64, n uint64, do func()) {
	tb.Helper()
	if a.Stats == nil {
		do()
		return
	}
	before := counter(a.Stats(tb))
	do()
	eventually(tb, "the counter "+name+" has grown", func() bool { return counter(a.Stats(tb))-before >= n })
}

// eventually polls ok until it holds.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// client is an ordinary one of the SSH library, logged in.
func (a *Arena) client(tb testing.TB) *ssh.Client {
	tb.Helper()
	conn := a.Dial(tb)
	c, chans, reqs, err := ssh.NewClientConn(conn, "target", a.config(a.Login))
	if err != nil {
		tb.Fatalf("an honest client: %v", err)
	}
	client := ssh.NewClient(c, chans, reqs)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

func (a *Arena) config(user string, auth ...ssh.AuthMethod) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User: user, Auth: auth, Timeout: patience,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // the attacker does not care, and the honest one shares its code
	}
}

// Honest logs in as anybody would and has the target say something; it fails the test when that does not work.
func (a *Arena) Honest(tb testing.TB) {
	tb.Helper()
	c := a.client(tb)
	defer func() { _ = c.Close() }()
	s, err := c.NewSession()
	if err != nil {
		tb.Fatalf("an honest session: %v", err)
	}
	if out, err := s.Output("echo served"); err != nil || string(out) != "served\n" {
		tb.Fatalf("an honest command: %q, %v", out, err)
	}
}
