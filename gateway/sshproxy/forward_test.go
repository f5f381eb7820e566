package sshproxy_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/gateway/sshproxy"
)

// permit gives every login these rules, which can be replaced, and their extensions in its certificate.
func (w *world) permit(rules access.SSHRules) *atomic.Pointer[access.SSHRules] {
	var now atomic.Pointer[access.SSHRules]
	now.Store(&rules)
	w.mu.Lock()
	defer w.mu.Unlock()
	authorize, certify := w.session.Authorize, w.session.Certify
	w.session.Authorize = func(login string) access.Decision {
		d := authorize(login)
		d.Policy = &access.Policy{ID: "p1", Name: "ops", SSH: now.Load()}
		return d
	}
	w.session.Certify = func(ctx context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error) {
		cert, err := certify(ctx, pub, login)
		if err != nil {
			return nil, err
		}
		cert.Extensions = make(map[string]string)
		for _, e := range now.Load().Extensions() {
			cert.Extensions[e] = ""
		}
		return cert, cert.SignCert(rand.Reader, w.ca)
	}
	return &now
}

func destinations(to ...string) access.SSHRules {
	return access.SSHRules{LocalForwarding: &access.LocalForwarding{Destinations: to}}
}

func listening(on ...string) access.SSHRules {
	return access.SSHRules{RemoteForwarding: &access.RemoteForwarding{Listen: on}}
}

// details are the events of a type, without the number of the channel.
func (w *world) details(typ string) []map[string]string {
	var out []map[string]string
	for _, e := range w.eventsOf(typ) {
		d := make(map[string]string)
		for k, v := range e.Detail {
			if k != "channel" && k != "origin" {
				d[k] = v
			}
		}
		out = append(out, d)
	}
	return out
}

// target is a scripted target that tells what it is asked for.
type target struct {
	conn  *ssh.ServerConn
	chans <-chan ssh.NewChannel
	reqs  <-chan *ssh.Request
}

// newTarget starts one that is served by serve, a login at a time. It ends when its connection does.
func newTarget(t *testing.T, serve func(*target)) string {
	t.Helper()
	cfg := &ssh.ServerConfig{NoClientAuth: true}
	cfg.AddHostKey(newSigner(t))
	ln := listenLoopback(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				conn, chans, reqs, err := ssh.NewServerConn(c, cfg)
				if err != nil {
					return
				}
				serve(&target{conn, chans, reqs})
				_ = conn.Wait()
				for nc := range chans {
					_ = nc.Reject(ssh.Prohibited, "over")
				}
				ssh.DiscardRequests(reqs)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// tcpPayload opens direct-tcpip and forwarded-tcpip.
func tcpPayload(host string, port uint32) []byte {
	return ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{host, port, "192.0.2.1", 1234})
}

func hostPortPayload(host string, port uint32) []byte {
	return ssh.Marshal(struct {
		Host string
		Port uint32
	}{host, port})
}

// echoTarget accepts every channel, echoes what comes, and passes on how it was opened.
func echoTarget(t *testing.T, opened chan<- string) string {
	t.Helper()
	return newTarget(t, func(tg *target) {
		go ssh.DiscardRequests(tg.reqs)
		for nc := range tg.chans {
			opened <- fmt.Sprintf("%s %q", nc.ChannelType(), nc.ExtraData())
			ch, reqs, err := nc.Accept()
			if err != nil {
				return
			}
			go ssh.DiscardRequests(reqs)
			go func() {
				_, _ = io.Copy(ch, ch)
				_ = ch.CloseWrite()
				_ = ch.Close()
			}()
		}
	})
}

// What the target is asked for is what the policy means, in one spelling, whatever the client wrote.
func TestForward_LocalAsksAsThePolicyDoes(t *testing.T) {
	opened := make(chan string, 1)
	w := newWorld(t, newSigner(t), echoTarget(t, opened))
	w.permit(destinations("DB.internal.:5432", "10.0.0.0/8:443", "unix:/run/app.sock"))
	c := w.dial("root")
	tests := []struct {
		name, typ     string
		data          []byte
		want, destiny string
	}{
		{"a name", "direct-tcpip", tcpPayload("db.INTERNAL", 5432), fmt.Sprintf("direct-tcpip %q", tcpPayload("db.internal.", 5432)), "db.internal.:5432"},
		{"a mapped address", "direct-tcpip", tcpPayload("::ffff:10.1.2.3", 443), fmt.Sprintf("direct-tcpip %q", tcpPayload("10.1.2.3", 443)), "10.1.2.3:443"},
		{
			"a socket, with something behind its path", "direct-streamlocal@openssh.com", ssh.Marshal(struct {
				Path, Reserved string
				N              uint32
			}{"/run/app.sock", "x", 7}),
			fmt.Sprintf("direct-streamlocal@openssh.com %q", ssh.Marshal(struct {
				Path, Reserved string
				N              uint32
			}{"/run/app.sock", "", 0})),
			"unix:/run/app.sock",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ch, reqs, err := c.OpenChannel(tt.typ, tt.data)
			if err != nil {
				t.Fatal(err)
			}
			go ssh.DiscardRequests(reqs)
			if got := <-opened; got != tt.want {
				t.Errorf("the target was asked for %s, want %s", got, tt.want)
			}
			if _, err := io.WriteString(ch, "hello"); err != nil {
				t.Fatal(err)
			}
			if ok, err := ch.SendRequest("keepalive@openssh.com", true, nil); ok || err != nil {
				t.Errorf("a request on it: %v, %v", ok, err)
			}
			if err := ch.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(ch); err != nil || string(b) != "hello" {
				t.Errorf("%q, %v", b, err)
			}
			_ = ch.Close() // by now it may be closed
			eventually(t, "the end is on record", func() bool { return w.proxy.Stats().ForwardsOpen == 0 })
			ends := w.details(sshproxy.EventForwardEnd)
			want := map[string]string{"direction": "local", "destination": tt.destiny, "bytes_up": "5", "bytes_down": "5"}
			if diff := cmp.Diff(want, ends[len(ends)-1]); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := w.proxy.Stats(); got.Forwards != 3 || got.ForwardBytes != 30 {
		t.Errorf("stats %+v", got)
	}
}

// No byte and no channel reaches the target for what is not on the list.
func TestForward_LocalRefused(t *testing.T) {
	opened := make(chan string, 100)
	w := newWorld(t, newSigner(t), echoTarget(t, opened))
	w.permit(destinations("db.internal:5432", "127.0.0.1:8000-8100", "unix:/run/app.sock"))
	c := w.dial("root")
	tests := []struct {
		name, typ string
		data      []byte
	}{
		{"another port", "direct-tcpip", tcpPayload("db.internal", 22)},
		{"the SSH port of the target itself", "direct-tcpip", tcpPayload("127.0.0.1", 22)},
		{"localhost is not 127.0.0.1", "direct-tcpip", tcpPayload("localhost", 8000)},
		{"a decimal number", "direct-tcpip", tcpPayload("2130706433", 8000)},
		{"a hexadecimal number", "direct-tcpip", tcpPayload("0x7f.1", 8000)},
		{"leading zeros", "direct-tcpip", tcpPayload("0127.0.0.1", 8000)},
		{"a zone", "direct-tcpip", tcpPayload("::ffff:127.0.0.1%lo", 8000)},
		{"an empty host", "direct-tcpip", tcpPayload("", 8000)},
		{"a NUL", "direct-tcpip", tcpPayload("127.0.0.1\x00", 8000)},
		{"a port that wraps round", "direct-tcpip", tcpPayload("127.0.0.1", 8000+65536)},
		{"a path as a host", "direct-tcpip", tcpPayload("/run/app.sock", 8000)},
		{"a very long host", "direct-tcpip", tcpPayload(strings.Repeat("a", 1<<14), 8000)},
		{"cut short", "direct-tcpip", tcpPayload("127.0.0.1", 8000)[:20]},
		{"with more behind", "direct-tcpip", append(tcpPayload("127.0.0.1", 8000), 0)},
		{"another socket", "direct-streamlocal@openssh.com", ssh.Marshal(struct {
			Path, Reserved string
			N              uint32
		}{"/run/app.sock2", "", 0})},
		{"a detour to the socket", "direct-streamlocal@openssh.com", ssh.Marshal(struct {
			Path, Reserved string
			N              uint32
		}{"/run/../run/app.sock", "", 0})},
		{"a channel that only targets open", "forwarded-tcpip", tcpPayload("127.0.0.1", 8000)},
		{"an agent", "auth-agent@openssh.com", nil},
		{"a display", "x11", nil},
		{"a tunnel device", "tun@openssh.com", ssh.Marshal(struct{ Mode, Unit uint32 }{1, 0})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := c.OpenChannel(tt.typ, tt.data)
			if refusal, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || refusal.Reason == ssh.ConnectionFailed || !strings.HasPrefix(refusal.Message, "weft: ") {
				t.Errorf("%v", err)
			}
		})
	}
	if got := w.eventsOf(sshproxy.EventRefused); len(got) != len(tests) {
		t.Errorf("%d events, want %d", len(got), len(tests))
	}
	if got := w.eventsOf(sshproxy.EventForward); len(got) != 0 || len(opened) != 0 {
		t.Errorf("forwarded: %v, %d channels", got, len(opened))
	}
	_, _, err := c.OpenChannel("direct-tcpip", tcpPayload("db.internal", 22))
	if err == nil || !strings.Contains(err.Error(), "does not allow forwarding to db.internal:22") {
		t.Errorf("the reason: %v", err)
	}
}

// The record comes first; when it cannot be written, nothing is opened.
func TestForward_NotOnRecordNotOpened(t *testing.T) {
	opened := make(chan string, 1)
	w := newWorld(t, newSigner(t), echoTarget(t, opened))
	w.permit(destinations("db.internal:5432"))
	w.session.OnEvent = func(e sshproxy.Event) {
		if e.Type == sshproxy.EventForward {
			w.cut(errors.New("the disk is full"))
		}
	}
	c := w.dial("root")
	if _, _, err := c.OpenChannel("direct-tcpip", tcpPayload("db.internal", 5432)); err == nil {
		t.Error("it opened")
	}
	w.result()
	if len(opened) != 0 {
		t.Error("the target was asked")
	}
}

// remoteTarget grants every remote forwarding and hands its connection out, for the test to open channels.
func remoteTarget(t *testing.T, port uint32, conns chan<- *ssh.ServerConn, asked chan<- string) string {
	t.Helper()
	return newTarget(t, func(tg *target) {
		conns <- tg.conn
		go func() {
			for nc := range tg.chans {
				ch, reqs, err := nc.Accept()
				if err != nil {
					continue
				}
				go func() {
					for r := range reqs {
						asked <- fmt.Sprintf("%s %q", r.Type, r.Payload)
						_ = r.Reply(true, nil)
					}
					_ = ch.Close()
				}()
			}
		}()
		for r := range tg.reqs {
			asked <- fmt.Sprintf("%s %q", r.Type, r.Payload)
			var payload []byte
			if r.Type == "tcpip-forward" {
				payload = ssh.Marshal(struct{ Port uint32 }{port})
			}
			_ = r.Reply(true, payload)
		}
	})
}

func TestForward_RemoteOnlyWhatWasGranted(t *testing.T) {
	conns, asked := make(chan *ssh.ServerConn, 1), make(chan string, 20)
	w := newWorld(t, newSigner(t), remoteTarget(t, 40001, conns, asked))
	w.permit(listening("localhost:8080", "127.0.0.1:0", "unix:/run/back.sock"))
	c := w.dial("root")
	tg := <-conns
	back := make(chan string, 10)
	serve := func(typ string) {
		chans := c.HandleChannelOpen(typ)
		go func() {
			for nc := range chans {
				back <- fmt.Sprintf("%s %q", nc.ChannelType(), nc.ExtraData())
				if ch, reqs, err := nc.Accept(); err == nil {
					go ssh.DiscardRequests(reqs)
					go func() {
						_, _ = io.Copy(ch, ch)
						_ = ch.Close()
					}()
				}
			}
		}()
	}
	serve("forwarded-tcpip")
	serve("forwarded-streamlocal@openssh.com")
	open := func(typ string, data []byte) error {
		ch, reqs, err := tg.OpenChannel(typ, data)
		if err != nil {
			return err
		}
		go ssh.DiscardRequests(reqs)
		if _, err := io.WriteString(ch, "hi"); err != nil {
			return err
		}
		if err := ch.CloseWrite(); err != nil {
			return err
		}
		if b, err := io.ReadAll(ch); err != nil || string(b) != "hi" {
			return fmt.Errorf("%q, %w", b, err)
		}
		_ = ch.Close() // the client has closed by now
		return nil
	}
	refused := func(what, typ string, data []byte) {
		t.Helper()
		if err := open(typ, data); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, want a refusal", what, err)
		}
	}
	socket := ssh.Marshal(struct{ Path, Reserved string }{"/run/back.sock", ""})
	refused("before anything was asked for", "forwarded-tcpip", tcpPayload("localhost", 8080))

	for _, tt := range []struct {
		name, typ string
		data      []byte
		ok        bool
	}{
		{"not listed", "tcpip-forward", hostPortPayload("localhost", 8081), false},
		{"all addresses", "tcpip-forward", hostPortPayload("", 8080), false},
		{"another spelling", "tcpip-forward", hostPortPayload("LOCALHOST", 8080), false},
		{"a port that wraps round", "tcpip-forward", hostPortPayload("localhost", 8080+65536), false},
		{"cut short", "tcpip-forward", hostPortPayload("localhost", 8080)[:9], false},
		{"another socket", "streamlocal-forward@openssh.com", ssh.Marshal(struct{ P string }{"/run/other.sock"}), false},
		{"cancelled before it was asked for", "cancel-tcpip-forward", hostPortPayload("localhost", 8080), false},
		{"listed", "tcpip-forward", hostPortPayload("localhost", 8080), true},
		{"listed, twice", "tcpip-forward", hostPortPayload("localhost", 8080), false},
		{"any port", "tcpip-forward", hostPortPayload("127.0.0.1", 0), true},
		{"a socket", "streamlocal-forward@openssh.com", ssh.Marshal(struct{ P string }{"/run/back.sock"}), true},
	} {
		ok, payload, err := c.SendRequest(tt.typ, true, tt.data)
		if ok != tt.ok || err != nil {
			t.Errorf("%s: %v, %v", tt.name, ok, err)
		}
		if want := strings.HasPrefix(tt.name, "any port"); want != (len(payload) == 4) {
			t.Errorf("%s: answer %x", tt.name, payload)
		}
	}
	if len(asked) != 3 {
		t.Errorf("the target was asked %d times, want 3", len(asked))
	}
	refused("a port that was not granted", "forwarded-tcpip", tcpPayload("localhost", 8081))
	refused("another spelling", "forwarded-tcpip", tcpPayload("127.0.0.1", 8080))
	refused("the port that was asked for instead of the one chosen", "forwarded-tcpip", tcpPayload("127.0.0.1", 0))
	refused("another socket", "forwarded-streamlocal@openssh.com", ssh.Marshal(struct{ P, R string }{"/run/other.sock", ""}))
	refused("an agent", "auth-agent@openssh.com", nil)
	refused("a display", "x11", ssh.Marshal(struct {
		H string
		P uint32
	}{"127.0.0.1", 1}))
	refused("a session", "session", nil)
	refused("a local forwarding", "direct-tcpip", tcpPayload("localhost", 8080))
	if len(back) != 0 {
		t.Errorf("the client was asked: %s", <-back)
	}
	for what, data := range map[string][]byte{"forwarded-tcpip": tcpPayload("localhost", 8080), "forwarded-streamlocal@openssh.com": socket} {
		if err := open(what, data); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got, want := <-back, fmt.Sprintf("%s %q", what, data); got != want {
			t.Errorf("the client got %s, want %s", got, want)
		}
	}
	if err := open("forwarded-tcpip", tcpPayload("127.0.0.1", 40001)); err != nil {
		t.Errorf("the chosen port: %v", err)
	}
	<-back
	if ok, _, err := c.SendRequest("cancel-tcpip-forward", true, hostPortPayload("localhost", 8080)); !ok || err != nil {
		t.Errorf("cancel: %v, %v", ok, err)
	}
	refused("after it was cancelled", "forwarded-tcpip", tcpPayload("localhost", 8080))
	eventually(t, "all connections have ended", func() bool { return w.proxy.Stats().ForwardsOpen == 0 })
	var listens []string
	for _, e := range w.details(sshproxy.EventForward) {
		if e["direction"] == sshproxy.ForwardListen {
			listens = append(listens, e["destination"])
		}
	}
	if diff := cmp.Diff([]string{"localhost:8080", "127.0.0.1:0", "127.0.0.1:40001", "unix:/run/back.sock"}, listens); diff != "" {
		t.Error(diff)
	}
}

// A target that opens connections before it has said where it listens is kept waiting, and refused if it says no.
func TestForward_RemoteBeforeTheAnswer(t *testing.T) {
	for _, grant := range []bool{true, false} {
		t.Run(fmt.Sprintf("granted %t", grant), func(t *testing.T) {
			results := make(chan error, 30)
			target := newTarget(t, func(tg *target) {
				r, ok := <-tg.reqs
				if !ok {
					return
				}
				var wg sync.WaitGroup
				for range cap(results) { // more than the library's queues hold
					wg.Go(func() {
						ch, reqs, err := tg.conn.OpenChannel("forwarded-tcpip", tcpPayload("localhost", 40001))
						if err == nil {
							go ssh.DiscardRequests(reqs)
							_ = ch.Close()
						}
						results <- err
					})
				}
				_ = r.Reply(grant, ssh.Marshal(struct{ P uint32 }{40001}))
				wg.Wait()
			})
			w := newWorld(t, newSigner(t), target)
			w.permit(listening("localhost:0"))
			c := w.dial("root")
			chans := c.HandleChannelOpen("forwarded-tcpip")
			go func() {
				for nc := range chans {
					if ch, reqs, err := nc.Accept(); err == nil {
						go ssh.DiscardRequests(reqs)
						_ = ch.Close()
					}
				}
			}()
			ok, payload, err := c.SendRequest("tcpip-forward", true, hostPortPayload("localhost", 0))
			if ok != grant || err != nil || grant != (len(payload) == 4) {
				t.Errorf("%v, %x, %v", ok, payload, err)
			}
			for range cap(results) {
				if err := <-results; (err == nil) != grant {
					t.Errorf("open: %v", err)
				}
			}
		})
	}
}

// The agent and the display: only after a request that was accepted, and a single connection is one.
func TestForward_AgentAndX11(t *testing.T) {
	conns, asked := make(chan *ssh.ServerConn, 1), make(chan string, 20)
	w := newWorld(t, newSigner(t), remoteTarget(t, 1, conns, asked))
	w.permit(access.SSHRules{AgentForwarding: true, X11Forwarding: true})
	c := w.dial("root")
	tg := <-conns
	for _, typ := range []string{"auth-agent@openssh.com", "x11"} {
		chans := c.HandleChannelOpen(typ)
		go func() {
			for nc := range chans {
				if ch, reqs, err := nc.Accept(); err == nil {
					go ssh.DiscardRequests(reqs)
					_ = ch.Close()
				}
			}
		}()
	}
	display := ssh.Marshal(struct {
		H string
		P uint32
	}{"127.0.0.1", 6010})
	open := func(typ string, data []byte) bool {
		ch, reqs, err := tg.OpenChannel(typ, data)
		if err != nil {
			return false
		}
		go ssh.DiscardRequests(reqs)
		_ = ch.Close()
		return true
	}
	if open("auth-agent@openssh.com", nil) || open("x11", display) {
		t.Error("opened before it was asked for")
	}
	s := newSSHSession(t, c)
	if ok, err := s.SendRequest("auth-agent-req@openssh.com", true, nil); !ok || err != nil {
		t.Fatalf("agent: %v, %v", ok, err)
	}
	for range 2 {
		if !open("auth-agent@openssh.com", nil) {
			t.Error("the agent is not reached")
		}
	}
	if open("auth-agent@openssh.com", []byte("x")) || open("auth-agent", nil) || open("x11", display) {
		t.Error("something else opened")
	}
	x11 := func(single bool) []byte {
		return ssh.Marshal(struct {
			Single          bool
			Protocol, Cooky string
			Screen          uint32
		}{single, "MIT-MAGIC-COOKIE-1", "c0ffee", 0})
	}
	if ok, err := s.SendRequest("x11-req", true, x11(true)[:9]); ok || err != nil {
		t.Errorf("a malformed request: %v, %v", ok, err)
	}
	if ok, err := s.SendRequest("x11-req", true, x11(true)); !ok || err != nil {
		t.Fatalf("x11: %v, %v", ok, err)
	}
	if ok, err := s.SendRequest("x11-req", true, x11(false)); ok || err != nil {
		t.Errorf("a second request: %v, %v", ok, err)
	}
	<-asked
	if got, want := <-asked, fmt.Sprintf("x11-req %q", x11(true)); got != want {
		t.Errorf("the target got %s, want %s", got, want)
	}
	if !open("x11", display) {
		t.Error("the display is not reached")
	}
	if open("x11", display) {
		t.Error("a single connection was two")
	}
	many := newSSHSession(t, c)
	if ok, err := many.SendRequest("x11-req", true, x11(false)); !ok || err != nil {
		t.Fatalf("x11: %v, %v", ok, err)
	}
	for range 2 {
		if !open("x11", display) {
			t.Error("the display is not reached any more")
		}
	}
	if open("x11", nil) {
		t.Error("a malformed channel opened")
	}
	if err := many.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the grant ends with its channel", func() bool { return !open("x11", display) })
	for _, e := range w.events {
		for k, v := range e.Detail {
			if strings.Contains(v, "c0ffee") {
				t.Errorf("the cookie is on record, as %s", k)
			}
		}
	}
}

// What is forwarded is held to the rules of now, and what is asked for next too.
func TestForward_RulesChange(t *testing.T) {
	conns, asked := make(chan *ssh.ServerConn, 1), make(chan string, 20)
	w := newWorld(t, newSigner(t), remoteTarget(t, 1, conns, asked))
	all := access.SSHRules{
		LocalForwarding:  &access.LocalForwarding{Destinations: []string{"a:1", "b:2"}},
		RemoteForwarding: &access.RemoteForwarding{Listen: []string{"localhost:8080"}},
		AgentForwarding:  true, X11Forwarding: true,
	}
	rules := w.permit(all)
	w.session.Forwards = sshproxy.NewForwards()
	forwards := w.session.Forwards
	without := func(f func(*access.SSHRules)) *access.SSHRules {
		r := all
		f(&r)
		return &r
	}
	c := w.dial("root")
	<-conns
	if got := forwards.Uncovered(nil); got != "" {
		t.Errorf("nothing is forwarded, and %q", got)
	}
	ch, reqs, err := c.OpenChannel("direct-tcpip", tcpPayload("A.", 1))
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	if ok, _, err := c.SendRequest("tcpip-forward", true, hostPortPayload("localhost", 8080)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	noLocal := without(func(r *access.SSHRules) { r.LocalForwarding = nil })
	for _, tt := range []struct {
		name, want string
		rules      *access.SSHRules
	}{
		{"the same", "", &all},
		{"without what is not used", "", without(func(r *access.SSHRules) { r.AgentForwarding, r.X11Forwarding = false, false })},
		{"with another destination", "", without(func(r *access.SSHRules) { r.LocalForwarding = &access.LocalForwarding{Destinations: []string{"a:1-9"}} })},
		{"in a spelling that asks for something else", "forwarding to a:1", without(func(r *access.SSHRules) { r.LocalForwarding = &access.LocalForwarding{Destinations: []string{"a.:1"}} })},
		{"without the destination", "forwarding to a:1", without(func(r *access.SSHRules) { r.LocalForwarding = &access.LocalForwarding{Destinations: []string{"b:2"}} })},
		{"without local forwarding", "forwarding to a:1", noLocal},
		{"without remote forwarding", "forwarding of localhost:8080 on the target", without(func(r *access.SSHRules) { r.RemoteForwarding = nil })},
	} {
		if got := forwards.Uncovered(tt.rules); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	_ = ch.Close()
	eventually(t, "what has ended is not held against the session", func() bool { return forwards.Uncovered(noLocal) == "" })
	rules.Store(noLocal)
	if _, _, err := c.OpenChannel("direct-tcpip", tcpPayload("a", 1)); err == nil {
		t.Error("opened under the old rules")
	}
	s := newSSHSession(t, c)
	if ok, err := s.SendRequest("auth-agent-req@openssh.com", true, nil); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := forwards.Uncovered(without(func(r *access.SSHRules) { r.AgentForwarding = false })); got != "agent forwarding" {
		t.Errorf("%q", got)
	}
}

// A connection is held to the rules also when what it came by is gone: the listener that was cancelled, the channel that asked
// for X11.
func TestForward_RulesChangeForWhatOutlivesItsGrant(t *testing.T) {
	conns, asked := make(chan *ssh.ServerConn, 1), make(chan string, 20)
	w := newWorld(t, newSigner(t), remoteTarget(t, 1, conns, asked))
	w.permit(access.SSHRules{RemoteForwarding: &access.RemoteForwarding{Listen: []string{"localhost:8080"}}, X11Forwarding: true})
	w.session.Forwards = sshproxy.NewForwards()
	forwards := w.session.Forwards
	c := w.dial("root")
	tg := <-conns
	for _, typ := range []string{"forwarded-tcpip", "x11"} {
		chans := c.HandleChannelOpen(typ)
		go func() {
			for nc := range chans {
				if ch, reqs, err := nc.Accept(); err == nil {
					go ssh.DiscardRequests(reqs)
					go func() { _, _ = io.Copy(io.Discard, ch) }() // it stays open until the target closes it
				}
			}
		}()
	}
	open := func(typ string, data []byte) ssh.Channel {
		t.Helper()
		ch, reqs, err := tg.OpenChannel(typ, data)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(reqs)
		return ch
	}
	uncovered := func(want string) {
		t.Helper()
		if got := forwards.Uncovered(&access.SSHRules{}); got != want {
			t.Errorf("uncovered %q, want %q", got, want)
		}
	}

	if ok, _, err := c.SendRequest("tcpip-forward", true, hostPortPayload("localhost", 8080)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	remote := open("forwarded-tcpip", tcpPayload("localhost", 8080))
	if ok, _, err := c.SendRequest("cancel-tcpip-forward", true, hostPortPayload("localhost", 8080)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	uncovered("forwarding of localhost:8080 on the target")
	_ = remote.Close()
	eventually(t, "the connection has ended", func() bool { return forwards.Uncovered(&access.SSHRules{}) == "" })

	s := newSSHSession(t, c)
	request := ssh.Marshal(struct {
		Single          bool
		Protocol, Cooky string
		Screen          uint32
	}{false, "MIT-MAGIC-COOKIE-1", "c0ffee", 0})
	if ok, err := s.SendRequest("x11-req", true, request); !ok || err != nil {
		t.Fatal(ok, err)
	}
	display := ssh.Marshal(struct {
		H string
		P uint32
	}{"127.0.0.1", 6010})
	x11 := open("x11", display)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the grant has ended with its channel", func() bool {
		_, _, err := tg.OpenChannel("x11", display)
		return err != nil
	})
	uncovered("X11 forwarding")
	_ = x11.Close()
}

func TestForward_Limits(t *testing.T) {
	release := make(chan struct{})
	target := newTarget(t, func(tg *target) {
		go func() {
			for r := range tg.reqs {
				_ = r.Reply(true, nil)
			}
		}()
		for nc := range tg.chans {
			go func() {
				if strings.Contains(string(nc.ExtraData()), "slow") {
					<-release
				}
				if ch, reqs, err := nc.Accept(); err == nil {
					ssh.DiscardRequests(reqs)
					_ = ch.Close()
				}
			}()
		}
	})
	w := newWorld(t, newSigner(t), target, limit(sshproxy.Limits{Forwards: 4, ForwardsPending: 2, TotalForwards: 5, Listeners: 1}))
	rules := destinations("*:1-9")
	rules.RemoteForwarding = &access.RemoteForwarding{Listen: []string{"localhost:1", "localhost:2"}}
	w.permit(rules)
	open := func(c *ssh.Client, host string) (ssh.Channel, error) {
		ch, reqs, err := c.OpenChannel("direct-tcpip", tcpPayload(host, 1))
		if err == nil {
			go ssh.DiscardRequests(reqs)
		}
		return ch, err
	}
	shortage := func(what string, err error) {
		t.Helper()
		if refusal, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || refusal.Reason != ssh.ResourceShortage {
			t.Errorf("%s: %v", what, err)
		}
	}
	c := w.dial("root")
	var slow sync.WaitGroup
	for range 2 {
		slow.Go(func() {
			if ch, err := open(c, "slow"); err == nil {
				_ = ch.Close()
			}
		})
	}
	eventually(t, "two are being opened", func() bool { return w.proxy.Stats().Forwards == 2 })
	_, err := open(c, "fast")
	shortage("a third that is pending", err)
	close(release)
	slow.Wait()
	eventually(t, "they have ended", func() bool { return w.proxy.Stats().ForwardsOpen == 0 })
	var last ssh.Channel
	for range 4 {
		if last, err = open(c, "fast"); err != nil {
			t.Fatal(err)
		}
	}
	_, err = open(c, "fast")
	shortage("a fifth on one connection", err)
	other := w.dial("alice")
	if _, err := open(other, "fast"); err != nil {
		t.Fatal(err)
	}
	_, err = open(other, "fast")
	shortage("a sixth in all", err)
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a place is free again", func() bool {
		_, err := open(other, "fast")
		return err == nil
	})
	for port, want := range map[uint32]bool{1: true} {
		if ok, _, err := c.SendRequest("tcpip-forward", true, hostPortPayload("localhost", port)); ok != want || err != nil {
			t.Errorf("listener %d: %v, %v", port, ok, err)
		}
	}
	if ok, _, err := c.SendRequest("tcpip-forward", true, hostPortPayload("localhost", 2)); ok || err != nil {
		t.Errorf("a second listener: %v, %v", ok, err)
	}
	if got := w.proxy.Stats(); got.ForwardsOverLimit < 4 {
		t.Errorf("stats %+v", got)
	}
}

// A target that never answers must not keep the gateway from seeing that the client is gone, nor the session from ending.
func TestForward_TargetNeverAnswers(t *testing.T) {
	asked := make(chan struct{}, 2)
	target := newTarget(t, func(tg *target) {
		go func() {
			for range tg.chans {
				asked <- struct{}{}
			}
		}()
		for range tg.reqs {
			asked <- struct{}{}
		}
	})
	w := newWorld(t, newSigner(t), target)
	rules := destinations("a:1")
	rules.RemoteForwarding = &access.RemoteForwarding{Listen: []string{"localhost:1"}}
	w.permit(rules)
	c := w.dial("root")
	var wg sync.WaitGroup
	wg.Go(func() { _, _, _ = c.OpenChannel("direct-tcpip", tcpPayload("a", 1)) })
	wg.Go(func() { _, _, _ = c.SendRequest("tcpip-forward", true, hostPortPayload("localhost", 1)) })
	<-asked
	<-asked
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if r := w.result(); r.Err != nil {
		t.Errorf("%v", r.Err)
	}
	wg.Wait()
}

// A forwarding to something that does not read neither fills the memory nor holds up anything else on the connection.
func TestForward_SlowReader(t *testing.T) {
	target := newTarget(t, func(tg *target) {
		go ssh.DiscardRequests(tg.reqs)
		for nc := range tg.chans {
			fast := strings.Contains(string(nc.ExtraData()), "fast")
			ch, reqs, err := nc.Accept()
			if err != nil {
				return
			}
			go ssh.DiscardRequests(reqs)
			if fast {
				go func() {
					_, _ = io.Copy(ch, ch)
					_ = ch.Close()
				}()
			}
		}
	})
	w := newWorld(t, newSigner(t), target)
	w.permit(destinations("*:1"))
	c := w.dial("root")
	slow, reqs, err := c.OpenChannel("direct-tcpip", tcpPayload("slow", 1))
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = slow.Write(make([]byte, 16<<20)) // more than all windows; ends with the connection
	}()
	for range 3 {
		fast, reqs, err := c.OpenChannel("direct-tcpip", tcpPayload("fast", 1))
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(reqs)
		go func() {
			_, _ = fast.Write(make([]byte, 1<<20))
			_ = fast.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, fast); n != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	if got := w.upstreamIn.Load(); got > 10<<20 {
		t.Errorf("%d bytes went to a target that reads none of the 16 MiB", got)
	}
	w.cut(errors.New("enough"))
	w.result()
	<-done
}

// A client that asks without end and waits for no answer is hung up on.
func TestForward_GlobalFlood(t *testing.T) {
	block := make(chan struct{})
	target := newTarget(t, func(tg *target) {
		for range tg.reqs {
			<-block
		}
	})
	defer close(block)
	w := newWorld(t, newSigner(t), target)
	w.permit(listening("localhost:1"))
	c := w.dial("root")
	for range 1000 {
		if _, _, err := c.SendRequest("tcpip-forward", false, hostPortPayload("localhost", 1)); err != nil {
			break
		}
	}
	w.result()
	if err := c.Wait(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Logf("%v", err)
	}
}

// A target that opens channels as fast as it can, with or without a grant, fills neither the record nor the client.
func TestForward_TargetFloods(t *testing.T) {
	const opens = 3000
	done := make(chan int, 1)
	target := newTarget(t, func(tg *target) {
		r, ok := <-tg.reqs
		if !ok {
			return
		}
		_ = r.Reply(true, nil)
		var wg sync.WaitGroup
		var opened atomic.Int64
		for i := range opens {
			wg.Go(func() {
				typ, data := "forwarded-tcpip", tcpPayload("localhost", 8080)
				if i%2 == 0 {
					data = tcpPayload("localhost", 9)
				}
				if ch, reqs, err := tg.conn.OpenChannel(typ, data); err == nil {
					opened.Add(1)
					go ssh.DiscardRequests(reqs)
					_ = ch.Close()
				}
			})
		}
		wg.Wait()
		done <- int(opened.Load())
	})
	w := newWorld(t, newSigner(t), target)
	w.permit(listening("localhost:8080"))
	begin := time.Now()
	c := w.dial("root")
	chans := c.HandleChannelOpen("forwarded-tcpip")
	go func() {
		for nc := range chans {
			if ch, reqs, err := nc.Accept(); err == nil {
				go ssh.DiscardRequests(reqs)
				_ = ch.Close()
			}
		}
	}()
	if ok, _, err := c.SendRequest("tcpip-forward", true, hostPortPayload("localhost", 8080)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	opened := <-done
	elapsed := time.Since(begin).Seconds() + 1
	// The burst, and what the rates allow since.
	if most := 256 + int(64*elapsed); opened == 0 || opened > most {
		t.Errorf("%d of %d opened, want some and %d at most", opened, opens, most)
	}
	if got, most := len(w.eventsOf(sshproxy.EventRefused)), 100+int(50*elapsed); got == 0 || got > most {
		t.Errorf("%d refusals on record, want some and %d at most", got, most)
	}
	eventually(t, "every place is given back", func() bool { return w.proxy.Stats().ForwardsOpen == 0 })
}
