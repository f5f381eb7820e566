package adversary

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/gateway/sshproxy"
)

func loginsRefused(s sshproxy.Stats) uint64 { return s.LoginsRefused }
func loginsFailed(s sshproxy.Stats) uint64  { return s.LoginsFailed }

func authenticationAttacks() []Attack {
	return []Attack{
		{
			Area: "login", Name: "user names", Does: "asks for a permitted user in other clothes: case, look-alike letters, %u, blanks, user:target, user@target, NUL, a leading dash, a line end, nothing, 64 KiB",
			Answer: "each is another user, compared byte by byte: refused with a banner that holds no control character; the target is sent nothing", Record: "LoginsRefused; ssh_denied with the name as it came",
			Run: userNames,
		},
		{
			Area: "login", Name: "another user meanwhile", Does: "is refused as one user and asks as a permitted one on the same connection",
			Answer: "the first request decides; the second ends the connection", Record: "LoginsRefused; ssh_denied, and no ssh_login",
			Run: otherUser,
		},
		{
			Area: "login", Name: "services", Does: "asks for ssh-connection, or an unknown service, instead of ssh-userauth; or in its authentication request",
			Answer: "the connection ends, or the login fails", Record: "HandshakesFailed",
			Run: services,
		},
		{
			Area: "login", Name: "channels before the login", Does: "opens channels and sends requests before it has said who it is",
			Answer: "the connection ends", Record: "HandshakesFailed", Limits: quick(),
			Run: channelsBeforeLogin,
		},
		{
			Area: "login", Name: "methods", Does: "asks for a user who is refused, again and again, by none, password, publickey, keyboard-interactive, hostbased, gssapi and nonsense",
			Answer: "one refusal; what comes after it ends the connection", Record: "LoginsRefused, once for each connection",
			Run: methods,
		},
		{
			Area: "login", Name: "authentication flood", Does: "goes on with a hundred authentication requests after it was let in",
			Answer: "they are skipped (RFC 4252 section 5.1), and nothing is asked again", Record: "one ssh_login",
			Run: authFlood,
		},
		{
			Area: "login", Name: "certificates of its own", Does: "shows certificates for other users: of its own CA, altered, expired, for a host",
			Answer: "they play no role: the identity is the tunnel's, the user must be permitted to it", Record: "LoginsRefused; ssh_denied",
			Run: ownCertificates,
		},
	}
}

// confusables are names that somebody, or some system, could take for login.
func confusables(login string) []string {
	cyrillic := strings.NewReplacer("o", "\u043e", "a", "\u0430", "e", "\u0435", "c", "\u0441", "p", "\u0440").Replace(login)
	names := []string{
		strings.ToUpper(login), strings.ToUpper(login[:1]) + login[1:], cyrillic, "\uff52" + login[1:], login + "\u200b", "\u202e" + login,
		"%u", "%" + login, "%r", "${USER}", "$(id)", "`id`", login + " ", " " + login, "\t" + login, login + "\n", login + "\r\nmallory", login + ":10.20.0.6", login + "@10.20.0.6", "mallory:" + login,
		login + "%web-2", login + "/ssh", login + "+web-2", login + ",mallory", "mallory," + login, login + "\x00", login + "\x00mallory", "\x00" + login, "-" + login, "-oProxyCommand=id", "--", "*", "?", "0",
		"../" + login, login + "\x1b[2J", "", strings.Repeat("a", 64<<10), login + strings.Repeat(" ", 300),
	}
	out := names[:0]
	for _, n := range names {
		if n != login { // some have nothing to replace
			out = append(out, n)
		}
	}
	return out
}

func userNames(tb testing.TB, a *Arena) {
	tb.Helper()
	names := confusables(a.Login)
	reached := a.reached()
	a.counted(tb, "LoginsRefused", loginsRefused, uint64(len(names)), func() {
		for _, name := range names {
			w := a.connect(tb)
			w.service(tb)
			answer, banner := w.auth(tb, name, "none")
			if answer != msgUserauthFailure || !strings.HasPrefix(banner, "weft: login to ") || strings.ContainsAny(banner, "\x00\x1b\r") {
				tb.Errorf("%.40q was answered by %d, %q", name, answer, banner)
			}
			_ = w.conn.Close()
			if short := name; len(short) <= 256 {
				a.recorded(tb, "ssh_denied", short)
			}
		}
	})
	if now := a.reached(); now != reached {
		tb.Errorf("the target was sent %d bytes", now-reached)
	}
}

func (a *Arena) reached() int64 {
	if a.Reached == nil {
		return 0
	}
	return a.Reached()
}

func otherUser(tb testing.TB, a *Arena) {
	tb.Helper()
	a.counted(tb, "LoginsRefused", loginsRefused, 1, func() {
		w := a.connect(tb)
		w.service(tb)
		if answer, _ := w.auth(tb, "mallory-first", "none"); answer != msgUserauthFailure {
			tb.Errorf("the first user was answered by %d", answer)
		}
		if answer, _ := w.auth(tb, a.Login, "none"); answer == msgUserauthSuccess {
			tb.Error("the second user was let in")
		}
		w.ends(tb)
	})
	a.recorded(tb, "ssh_denied", "mallory-first")
}

func services(tb testing.TB, a *Arena) {
	tb.Helper()
	names := []string{"ssh-connection", "ssh-evil", "", "ssh-userauth\x00", "SSH-USERAUTH"}
	a.counted(tb, "HandshakesFailed", handshakesFailed, uint64(len(names)), func() {
		for _, name := range names {
			w := a.connect(tb)
			w.message(tb, msgServiceRequest, struct{ Name string }{name})
			for _, number := range w.ends(tb) {
				if number == msgServiceAccept {
					tb.Errorf("service %q was granted", name)
				}
			}
		}
	})
	for _, name := range []string{"ssh-evil", "", "ssh-userauth", "ssh-connection\x00"} {
		w := a.connect(tb)
		w.service(tb)
		w.message(tb, msgUserauthRequest, authRequest{a.Login, name, "none", nil})
		w.hangUp(tb)
		for _, number := range w.ends(tb) {
			if number == msgUserauthSuccess {
				tb.Errorf("let in for the service %q", name)
			}
		}
	}
}

func channelsBeforeLogin(tb testing.TB, a *Arena) {
	tb.Helper()
	early := func(w *wire) {
		w.message(tb, msgChannelOpen, channelOpen{Type: "session", Window: 1 << 20, MaxPk: 32 << 10})
		w.message(tb, msgChannelRequest, channelRequest{0, "exec", true, text("id")})
		w.message(tb, msgGlobalRequest, struct {
			Type  string
			Reply bool
		}{"tcpip-forward", true})
		for _, number := range w.ends(tb) {
			if number >= msgGlobalRequest {
				tb.Errorf("answered before the login: message %d", number)
			}
		}
	}
	a.counted(tb, "HandshakesFailed", handshakesFailed, 2, func() {
		early(a.connect(tb))
		w := a.connect(tb)
		w.service(tb)
		early(w)
	})
}

func methods(tb testing.TB, a *Arena) {
	tb.Helper()
	key := text("ssh-ed25519")
	tries := []struct {
		name string
		rest []byte
	}{
		{"none", nil},
		{"password", append([]byte{0}, text("guess")...)},
		{"publickey", append([]byte{0}, append(key, text(string(append(key, text(strings.Repeat("k", 32))...)))...)...)},
		{"keyboard-interactive", append(text(""), text("")...)},
	}
	a.counted(tb, "LoginsRefused", loginsRefused, uint64(len(tries)), func() {
		for i, first := range tries {
			w := a.connect(tb)
			w.service(tb)
			user := fmt.Sprintf("mallory-%d", i)
			if answer, _ := w.auth(tb, user, first.name, first.rest...); answer == msgUserauthSuccess {
				tb.Errorf("%s was let in by %s", user, first.name)
			}
			for n := range 100 {
				again := tries[n%len(tries)]
				w.message(tb, msgUserauthRequest, authRequest{user, "ssh-connection", again.name, again.rest})
			}
			for _, number := range w.ends(tb) {
				if number == msgUserauthSuccess {
					tb.Errorf("%s was let in in the end", user)
				}
			}
		}
	})
	change := append([]byte{1}, append(text("old"), text("new")...)...) // a password is to be changed
	for _, name := range []string{"hostbased", "gssapi-with-mic", "none\x00", "", "password"} {
		w := a.connect(tb)
		w.service(tb)
		if answer, _ := w.auth(tb, "mallory", name, change...); answer == msgUserauthSuccess {
			tb.Errorf("let in by %q", name)
		}
		_ = w.conn.Close()
	}
}

func authFlood(tb testing.TB, a *Arena) {
	tb.Helper()
	var before uint64
	if a.Stats != nil {
		before = a.Stats(tb).LoginsAllowed + 1
	}
	w := a.login(tb)
	for i := range 100 {
		w.message(tb, msgUserauthRequest, authRequest{fmt.Sprintf("mallory-%d", i), "ssh-connection", "none", nil})
	}
	// Skipping them and ending the connection are both right; an answer is not.
	w.message(tb, msgGlobalRequest, struct {
		Type  string
		Reply bool
	}{"keepalive@openssh.com", true})
	for _, number := range drainUntil(w, msgRequestFailure) {
		if number == msgUserauthSuccess || number == msgUserauthFailure {
			tb.Errorf("a second authentication was answered by %d", number)
		}
	}
	if a.Stats == nil {
		return
	}
	if now := a.Stats(tb).LoginsAllowed; now != before {
		tb.Errorf("%d logins were counted, want %d", now, before)
	}
}

func newSigner(tb testing.TB) ssh.Signer {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func ownCertificates(tb testing.TB, a *Arena) {
	tb.Helper()
	ca, key := newSigner(tb), newSigner(tb)
	make := func(change func(*ssh.Certificate)) ssh.Signer {
		now := time.Now()
		cert := &ssh.Certificate{
			Key: key.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"mallory", a.Login},
			ValidAfter: uint64(now.Add(-time.Minute).Unix()), ValidBefore: uint64(now.Add(time.Hour).Unix()),
		}
		if err := cert.SignCert(rand.Reader, ca); err != nil {
			tb.Fatal(err)
		}
		change(cert)
		s, err := ssh.NewCertSigner(cert, key)
		if err != nil {
			tb.Fatal(err)
		}
		return s
	}
	changes := []func(*ssh.Certificate){
		func(*ssh.Certificate) {},
		func(c *ssh.Certificate) { c.Signature.Blob[0] ^= 1 },
		func(c *ssh.Certificate) { c.ValidPrincipals = nil },
		func(c *ssh.Certificate) { c.ValidBefore = 1 },
		func(c *ssh.Certificate) { c.CertType = ssh.HostCert },
	}
	a.counted(tb, "LoginsRefused", loginsRefused, uint64(len(changes)), func() {
		for _, change := range changes {
			c, _, _, err := ssh.NewClientConn(a.Dial(tb), "target", a.config("mallory", ssh.PublicKeys(make(change))))
			if err == nil {
				_ = c.Close()
				tb.Error("mallory was let in by a certificate")
			}
		}
	})
	a.recorded(tb, "ssh_denied", "mallory")
}

func certificateAttacks() []Attack {
	var earlier *ssh.Certificate // what a replay uses; the attack runs once
	row := func(name, does string, control func(*ssh.Certificate, ssh.Signer) *ssh.Certificate) Attack {
		return Attack{
			Area: "certificate", Name: name, Does: does,
			Answer: "the gateway holds it to this key, this one user, and minutes; the target is not asked", Record: "LoginsFailed; ssh_login, and the error at the end of the flow",
			Control: control, Run: certificateRefused,
		}
	}
	resign := func(c *ssh.Certificate, ca ssh.Signer) *ssh.Certificate {
		if err := c.SignCert(rand.Reader, ca); err != nil {
			return nil
		}
		return c
	}
	altered := row("altered", "flips a bit of the signature", func(c *ssh.Certificate, _ ssh.Signer) *ssh.Certificate {
		c.Signature.Blob[len(c.Signature.Blob)-1] ^= 1
		return c
	})
	altered.Answer = "the target does not accept it, and the user reads so"
	renamed := row("renamed", "writes another user into a signed certificate, without signing it anew", func(c *ssh.Certificate, _ ssh.Signer) *ssh.Certificate {
		c.ValidPrincipals = []string{"mallory"}
		return c
	})
	return []Attack{
		altered, renamed,
		row("two users", "has a second user in it", func(c *ssh.Certificate, ca ssh.Signer) *ssh.Certificate {
			c.ValidPrincipals = append(c.ValidPrincipals, "mallory")
			return resign(c, ca)
		}),
		row("any user", "names nobody, which to sshd's rules of old was everybody", func(c *ssh.Certificate, ca ssh.Signer) *ssh.Certificate {
			c.ValidPrincipals = nil
			return resign(c, ca)
		}),
		row("long life", "is valid for an hour", func(c *ssh.Certificate, ca ssh.Signer) *ssh.Certificate {
			c.ValidBefore = c.ValidAfter + 3600
			return resign(c, ca)
		}),
		row("for ever", "is valid for ever", func(c *ssh.Certificate, ca ssh.Signer) *ssh.Certificate {
			c.ValidBefore = ssh.CertTimeInfinity
			return resign(c, ca)
		}),
		row("expired", "is over", func(c *ssh.Certificate, ca ssh.Signer) *ssh.Certificate {
			c.ValidAfter -= 3600
			c.ValidBefore = c.ValidAfter + 120
			return resign(c, ca)
		}),
		row("of a host", "is a host's", func(c *ssh.Certificate, ca ssh.Signer) *ssh.Certificate {
			c.CertType = ssh.HostCert
			return resign(c, ca)
		}),
		row("replayed", "is one of an earlier login", func(c *ssh.Certificate, _ ssh.Signer) *ssh.Certificate {
			if earlier == nil {
				earlier = &ssh.Certificate{}
				*earlier = *c
				key, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
				if err != nil {
					return nil
				}
				earlier.Key = key // the key of that login, which nobody has any more
			}
			return earlier
		}),
		row("none at all", "does not come", func(*ssh.Certificate, ssh.Signer) *ssh.Certificate { return nil }),
	}
}

func certificateRefused(tb testing.TB, a *Arena) {
	tb.Helper()
	a.counted(tb, "LoginsFailed", loginsFailed, 1, func() {
		w := a.connect(tb)
		w.service(tb)
		answer, banner := w.auth(tb, a.Login, "none")
		if answer != msgUserauthFailure || !strings.Contains(banner, "failed") {
			tb.Errorf("answered by %d: %s", answer, banner)
		}
	})
	a.recorded(tb, "ssh_login", a.Login)
}
