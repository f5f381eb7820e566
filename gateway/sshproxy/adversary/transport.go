package adversary

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/gateway/sshproxy"
)

func handshakesFailed(s sshproxy.Stats) uint64 { return s.HandshakesFailed }
func preAuthOverflows(s sshproxy.Stats) uint64 { return s.PreAuthOverflows }

// quick makes the limits on time short enough to be waited for, and long enough for an honest login on a slow machine.
func quick() *sshproxy.Limits {
	return &sshproxy.Limits{Handshake: 4 * time.Second, Authentication: 8 * time.Second}
}

func transportAttacks() []Attack {
	return []Attack{
		{
			Area: "transport", Name: "downgrade", Does: "offers only what is broken: cipher none, CBC, RC4; SHA-1 and short groups; DSA and SHA-1 signatures; MD5 and SHA-1 MACs; compression",
			Answer: "no key exchange takes place: there is nothing in common", Record: "HandshakesFailed",
			Run: downgrade,
		},
		{
			Area: "transport", Name: "Terrapin, strict client", Does: "stands between, puts an SSH_MSG_IGNORE before the new keys and swallows the first secret packet (CVE-2023-48795)",
			Answer: "strict key exchange is offered: the connection ends before anybody is asked who they are", Record: "HandshakesFailed",
			Run: terrapinStrict,
		},
		{
			Area: "transport", Name: "Terrapin, old client", Does: "the same on a client that does not know strict key exchange",
			Answer: "AES-GCM is chosen wherever it is known, whose packets are numbered by the key: the swallowed one ends the connection", Record: "HandshakesFailed",
			Run: terrapinOld,
		},
		{
			Area: "transport", Name: "message amid the key exchange", Does: "sends IGNORE, DEBUG, UNIMPLEMENTED or a service request between its proposal and its new keys",
			Answer: "the connection ends, for strict key exchange allows none", Record: "HandshakesFailed",
			Run: amidKex,
		},
		{
			Area: "transport", Name: "packet sizes", Does: "announces packets of 0, 1, 5, 300,000 and 4,294,967,295 bytes, in the clear and encrypted",
			Answer: "the connection ends; nothing is allocated for what was announced", Record: "HandshakesFailed; after the login the end of the session",
			Run: packetSizes,
		},
		{
			Area: "transport", Name: "version lines", Does: "is SSH 1, a web browser, a line without an end, or binary",
			Answer: "the connection ends", Record: "HandshakesFailed", Limits: quick(),
			Run: versionLines,
		},
		{
			Area: "transport", Name: "malformed, before the login", Does: "after the key exchange sends each message number with nothing, and with nonsense, behind it",
			Answer: "the connection ends, or the message is skipped as the protocol wants; nobody is let in", Record: "HandshakesFailed", Limits: quick(),
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				malformed(tb, a.connect, func(w *wire) bool { return skipped(tb, w) })
			},
		},
		{
			Area: "transport", Name: "malformed, after the login", Does: "sends each message number with nothing, and with nonsense, behind it",
			Answer: "the connection ends, or the message is skipped", Record: "the login, and the end of the session",
			Run: func(tb testing.TB, a *Arena) {
				tb.Helper()
				malformed(tb, a.login, func(w *wire) bool { return w.alive(tb) })
			},
		},
		{
			Area: "transport", Name: "silence", Does: "connects and says nothing; half a version line; a version and half a proposal; keys, and no login",
			Answer: "the connection is closed when the time for the handshake (10 s) or the login (30 s) is over", Record: "HandshakesFailed", Limits: quick(),
			Run: silence,
		},
		{
			Area: "transport", Name: "flood before the login", Does: "sends a mebibyte before it says who it is",
			Answer: "the connection ends after 256 KiB", Record: "PreAuthOverflows",
			Run: preAuthFlood,
		},
		{
			Area: "transport", Name: "wrong guess", Does: "announces a guessed key exchange that is not the chosen one, and sends it (RFC 4253 section 7)",
			Answer: "the guess is skipped, and the login works", Record: "the login",
			Run: wrongGuess,
		},
	}
}

// broken are the algorithms of which each alone must not be enough to agree.
var broken = []struct {
	name string
	set  func(*kexInit)
}{
	{"cipher none", func(k *kexInit) { k.CipherUp, k.CipherDown = []string{"none"}, []string{"none"} }},
	{"3des-cbc", func(k *kexInit) { k.CipherUp, k.CipherDown = []string{"3des-cbc"}, []string{"3des-cbc"} }},
	{"aes128-cbc", func(k *kexInit) { k.CipherUp, k.CipherDown = []string{"aes128-cbc"}, []string{"aes128-cbc"} }},
	{"arcfour", func(k *kexInit) { k.CipherUp, k.CipherDown = []string{"arcfour256"}, []string{"arcfour256"} }},
	{"no cipher", func(k *kexInit) { k.CipherUp, k.CipherDown = nil, nil }},
	{"none one way", func(k *kexInit) { k.CipherDown = []string{"none"} }},
	{"diffie-hellman-group1-sha1", func(k *kexInit) { k.Kex = []string{"diffie-hellman-group1-sha1"} }},
	{"diffie-hellman-group14-sha1", func(k *kexInit) { k.Kex = []string{"diffie-hellman-group14-sha1"} }},
	{"group exchange with SHA-1", func(k *kexInit) { k.Kex = []string{"diffie-hellman-group-exchange-sha1"} }},
	{"only a marker", func(k *kexInit) { k.Kex = []string{strictClient} }},
	{"ssh-dss", func(k *kexInit) { k.HostKey = []string{"ssh-dss"} }},
	{"ssh-rsa", func(k *kexInit) { k.HostKey = []string{"ssh-rsa"} }},
	{"hmac-md5", func(k *kexInit) { weakMAC(k, "hmac-md5") }},
	{"hmac-sha1", func(k *kexInit) { weakMAC(k, "hmac-sha1") }},
	{"hmac-sha1-96", func(k *kexInit) { weakMAC(k, "hmac-sha1-96") }},
	{"MAC none", func(k *kexInit) { weakMAC(k, "none") }},
	{"zlib", func(k *kexInit) { k.CompressUp, k.CompressDn = []string{"zlib"}, []string{"zlib"} }},
	{"zlib@openssh.com", func(k *kexInit) {
		k.CompressUp, k.CompressDn = []string{"zlib@openssh.com"}, []string{"zlib@openssh.com"}
	}},
}

// weakMAC offers a cipher that needs one.
func weakMAC(k *kexInit, mac string) {
	k.CipherUp, k.CipherDown = []string{"aes128-ctr"}, []string{"aes128-ctr"}
	k.MACUp, k.MACDown = []string{mac}, []string{mac}
}

func downgrade(tb testing.TB, a *Arena) {
	tb.Helper()
	a.counted(tb, "HandshakesFailed", handshakesFailed, uint64(len(broken)), func() {
		for _, b := range broken {
			offer := proposal()
			b.set(&offer)
			w := newWire(tb, a.Dial(tb))
			w.send(tb, offer.marshal())
			w.greet(tb)
			p := w.expect(tb, msgKexInit)
			if err := ssh.Unmarshal(p[1:], &w.proposal); err != nil {
				tb.Fatal(err)
			}
			for _, name := range strings.Fields("none 3des-cbc aes128-cbc arcfour256 hmac-md5 hmac-sha1 hmac-sha1-96 zlib zlib@openssh.com ssh-dss ssh-rsa " +
				"diffie-hellman-group1-sha1 diffie-hellman-group14-sha1 diffie-hellman-group-exchange-sha1") {
				if name != "none" && offers(w.proposal, name) {
					tb.Errorf("the gateway itself offers %s", name)
				}
			}
			w.message(tb, msgKexECDHInit, struct{ Q []byte }{make([]byte, 32)})
			for _, number := range w.ends(tb) {
				if number == msgKexECDHReply || number == msgNewKeys {
					tb.Errorf("%s: keys were exchanged", b.name)
				}
			}
		}
	})
}

func offers(k kexInit, name string) bool {
	for _, list := range [][]string{k.Kex, k.HostKey, k.CipherUp, k.CipherDown, k.MACUp, k.MACDown, k.CompressUp, k.CompressDn} {
		for _, n := range list {
			if n == name {
				return true
			}
		}
	}
	return false
}

// meddler stands between a client and the gateway: it adds a packet before the client's new keys, and swallows
// the first packet after them in both directions.
type meddler struct {
	net.Conn
	seen     []byte // of what the client wrote in the clear
	greeted  bool
	added    bool
	finished bool // nothing more to do
	inject   []byte
}

func (m *meddler) Write(b []byte) (int, error) {
	if m.finished {
		return m.Conn.Write(b)
	}
	m.seen = append(m.seen, b...)
	var out []byte
	for !m.finished {
		n, last := m.unit()
		if n == 0 {
			break
		}
		if last {
			if m.added {
				m.seen = m.seen[n:] // the first secret packet
				m.finished = true
				break
			}
			out = append(out, m.inject...)
			m.added = true
		}
		out = append(out, m.seen[:n]...)
		m.seen = m.seen[n:]
	}
	if m.finished {
		out = append(out, m.seen...)
		m.seen = nil
	}
	if _, err := m.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// unit measures the next line or packet of the client; last says that it is SSH_MSG_NEWKEYS, or comes after it.
func (m *meddler) unit() (n int, last bool) {
	if !m.greeted {
		i := strings.IndexByte(string(m.seen), '\n') + 1
		m.greeted = i > 0
		return i, false
	}
	if len(m.seen) < 6 {
		return 0, false
	}
	size := 4 + int(binary.BigEndian.Uint32(m.seen))
	if m.added {
		size += 16 // the tag of AES-GCM and ChaCha20-Poly1305; the length of AES-GCM is in the clear, which is all that is used here
	}
	if len(m.seen) < size {
		return 0, false
	}
	return size, m.added || m.seen[5] == msgNewKeys
}

func ignorePacket() []byte { return (&wire{}).frame(append([]byte{msgIgnore}, text("x")...)) }

func terrapinStrict(tb testing.TB, a *Arena) {
	tb.Helper()
	// The client is the SSH library's, with the cipher that the published attack needs.
	a.counted(tb, "HandshakesFailed", handshakesFailed, 1, func() {
		cfg := a.config(a.Login)
		cfg.Ciphers = []string{"chacha20-poly1305@openssh.com"}
		m := &meddler{Conn: a.Dial(tb), inject: ignorePacket()}
		c, _, _, err := ssh.NewClientConn(m, "target", cfg)
		if err == nil {
			_ = c.Close()
			tb.Error("a connection with a packet added and one missing went on")
		}
		if !m.added {
			tb.Error("nothing was added")
		}
	})
}

func terrapinOld(tb testing.TB, a *Arena) {
	tb.Helper()
	a.counted(tb, "HandshakesFailed", handshakesFailed, 1, func() {
		offer := proposal()
		offer.Kex = []string{"curve25519-sha256"}
		w := newWire(tb, a.Dial(tb))
		w.kex(tb, offer, append([]byte{msgIgnore}, text("x")...)) // an old client may
		w.frame([]byte{msgIgnore, 0, 0, 0, 0})                    // sealed, so that the number is used, and swallowed
		w.message(tb, msgServiceRequest, struct{ Name string }{"ssh-userauth"})
		for _, number := range w.ends(tb) {
			if number == msgServiceAccept {
				tb.Error("the packet after a missing one was taken")
			}
		}
	})
}

func amidKex(tb testing.TB, a *Arena) {
	tb.Helper()
	intruders := [][]byte{
		append([]byte{msgIgnore}, text("x")...), append([]byte{4, 0}, append(text("debug"), text("")...)...),
		{3, 0, 0, 0, 0},
		append([]byte{msgServiceRequest}, text("ssh-userauth")...),
		{msgNewKeys},
	}
	a.counted(tb, "HandshakesFailed", handshakesFailed, uint64(len(intruders)), func() {
		for _, in := range intruders {
			w := newWire(tb, a.Dial(tb))
			if err := w.tryKex(tb, proposal(), in); err != nil {
				continue // it ended at once
			}
			w.message(tb, msgServiceRequest, struct{ Name string }{"ssh-userauth"})
			for _, number := range w.ends(tb) {
				if number == msgServiceAccept {
					tb.Errorf("message %d amid the key exchange was taken", in[0])
				}
			}
		}
	})
}

func packetSizes(tb testing.TB, a *Arena) {
	tb.Helper()
	sizes := []uint32{0, 1, 5, 300_000, 1<<32 - 1}
	a.counted(tb, "HandshakesFailed", handshakesFailed, uint64(len(sizes)), func() {
		for _, size := range sizes {
			w := newWire(tb, a.Dial(tb))
			w.raw(tb, append(binary.BigEndian.AppendUint32(nil, size), make([]byte, 64)...))
			w.hangUp(tb)
			w.greet(tb)
			w.ends(tb)
		}
	})
	for _, size := range sizes {
		w := a.login(tb)
		w.raw(tb, append(binary.BigEndian.AppendUint32(nil, size), make([]byte, 64)...))
		w.hangUp(tb)
		w.ends(tb)
	}
}

// hangUp says that nothing more comes, where the connection can: a server may wait for the rest of what was announced.
func (w *wire) hangUp(tb testing.TB) {
	tb.Helper()
	if c, ok := w.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // it may have been closed
	}
}

func versionLines(tb testing.TB, a *Arena) {
	tb.Helper()
	lines := []string{
		"SSH-1.5-old\r\n", "SSH-9.9-new\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", strings.Repeat("x", 64<<10), "\x00\x01\x02\x03\n\n\n\n",
		strings.Repeat("line\r\n", 2000), "SSH-2.0-\r\n",
	}
	a.counted(tb, "HandshakesFailed", handshakesFailed, uint64(len(lines)), func() {
		var ends sync.WaitGroup
		for _, line := range lines {
			w := &wire{conn: a.Dial(tb)}
			w.raw(tb, []byte(line))
			ends.Go(func() { readAll(tb, w.conn) })
		}
		ends.Wait()
	})
}

// readAll reads until the other side closes, which it must.
func readAll(tb testing.TB, c net.Conn) {
	tb.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	_, err := io.Copy(io.Discard, c)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() { //nolint:errorlint // it is the connection's own
		tb.Error("the connection was not closed")
	}
	_ = c.Close()
}

// malformed sends each number to connections that start makes, and takes a new one when answers says that one has ended.
func malformed(tb testing.TB, start func(testing.TB) *wire, answers func(*wire) bool) {
	tb.Helper()
	nonsense := []byte("\xff\xff\xff\xffnonsense\x00\x00\x00\x01\xff\x7f\x00\x00\x00\x00\x00\x00\x00")
	var w *wire
	for n := range 2 * 256 {
		if w == nil {
			w = start(tb)
		}
		payload := []byte{byte(n / 2)}
		if n%2 == 1 {
			payload = append(payload, nonsense...)
		}
		w.send(tb, payload)
		if !answers(w) {
			_ = w.conn.Close()
			w = nil
		}
	}
}

// skipped says whether a connection before its login is still one: whoever names a service next must be answered. What was
// skipped must not have let anybody in.
func skipped(tb testing.TB, w *wire) bool {
	tb.Helper()
	w.message(tb, msgServiceRequest, struct{ Name string }{"ssh-userauth"})
	for _, number := range drainUntil(w, msgServiceAccept) {
		if number == msgUserauthSuccess || number == msgChannelConfirm {
			tb.Errorf("let in by nonsense: message %d", number)
		}
	}
	return false // a second service request would be malformed in itself
}

// drainUntil reads up to a message of the number, or the end.
func drainUntil(w *wire, number byte) []byte {
	var seen []byte
	for {
		p, err := w.packet()
		if err != nil || p[0] == number {
			return seen
		}
		seen = append(seen, p[0])
	}
}

func silence(tb testing.TB, a *Arena) {
	tb.Helper()
	half := proposal().marshal()
	opening := []func(*wire){
		func(*wire) {},
		func(w *wire) { w.raw(tb, []byte("SSH-2.0-half")) },
		func(w *wire) { w.raw(tb, []byte(clientVersion+"\r\n")) },
		func(w *wire) {
			b := w.frame(half)
			w.raw(tb, append([]byte(clientVersion+"\r\n"), b[:len(b)/2]...))
		},
	}
	a.counted(tb, "HandshakesFailed", handshakesFailed, uint64(len(opening))+2, func() {
		keys, named := a.connect(tb), a.connect(tb)
		named.service(tb)
		var ends sync.WaitGroup
		for _, open := range opening {
			w := &wire{conn: a.Dial(tb)}
			open(w)
			ends.Go(func() { readAll(tb, w.conn) })
		}
		keys.ends(tb)
		named.ends(tb)
		ends.Wait()
	})
}

func preAuthFlood(tb testing.TB, a *Arena) {
	tb.Helper()
	a.counted(tb, "PreAuthOverflows", preAuthOverflows, 1, func() {
		w := a.connect(tb)
		w.service(tb)
		junk := append([]byte{msgIgnore}, text(strings.Repeat("x", 16<<10))...)
		for range 64 {
			w.send(tb, junk)
		}
		w.ends(tb)
	})
}

func wrongGuess(tb testing.TB, a *Arena) {
	tb.Helper()
	w := newWire(tb, a.Dial(tb))
	offer := proposal()
	offer.Kex = []string{"diffie-hellman-group1-sha1", "curve25519-sha256", strictClient}
	offer.Follows = true
	mine := offer.marshal()
	w.send(tb, mine)
	w.message(tb, 30, struct{ E []byte }{[]byte("a guess that nobody asked for")})
	w.greet(tb)
	theirs := w.expect(tb, msgKexInit)
	if err := w.agree(tb, mine, theirs); err != nil {
		tb.Fatalf("key exchange after a wrong guess: %v", err)
	}
	w.service(tb)
	if answer, banner := w.auth(tb, a.Login, "none"); answer != msgUserauthSuccess {
		tb.Errorf("answered by %d: %s", answer, banner)
	}
}
