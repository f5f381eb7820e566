package adversary

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Message numbers (RFC 4250 section 4.1).
const (
	msgDisconnect      = 1
	msgIgnore          = 2
	msgServiceRequest  = 5
	msgServiceAccept   = 6
	msgExtInfo         = 7
	msgKexInit         = 20
	msgNewKeys         = 21
	msgKexECDHInit     = 30
	msgKexECDHReply    = 31
	msgUserauthRequest = 50
	msgUserauthFailure = 51
	msgUserauthSuccess = 52
	msgUserauthBanner  = 53
	msgInfoRequest     = 60
	msgGlobalRequest   = 80
	msgRequestSuccess  = 81
	msgRequestFailure  = 82
	msgChannelOpen     = 90
	msgChannelConfirm  = 91
	msgChannelRefused  = 92
	msgWindowAdjust    = 93
	msgChannelData     = 94
	msgExtendedData    = 95
	msgChannelEOF      = 96
	msgChannelClose    = 97
	msgChannelRequest  = 98
	msgChannelSuccess  = 99
	msgChannelFailure  = 100
)

// patience is how long an answer may take before it counts as none.
const patience = 30 * time.Second

// errSilent says that the other side neither answered nor closed.
var errSilent = errors.New("neither an answer nor an end")

// wire is an SSH client that keeps no rule but those of the encryption: it sends whatever packet it is told to. It knows
// curve25519-sha256 and aes128-gcm@openssh.com, and does not check who the server is.
type wire struct {
	conn   net.Conn
	in     *bufio.Reader
	out    *direction // nil: in the clear
	back   *direction
	id     []byte // of the session
	server string // its version line
	// proposal is the server's, of the last key exchange.
	proposal kexInit
}

// direction is one direction of aes128-gcm@openssh.com (RFC 5647).
type direction struct {
	aead  cipher.AEAD
	nonce []byte
}

func newDirection(key, iv []byte) *direction {
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		panic(err) // the size is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block size is right
	}
	return &direction{aead, slices.Clone(iv[:12])}
}

func (d *direction) step() {
	n := binary.BigEndian.Uint64(d.nonce[4:])
	binary.BigEndian.PutUint64(d.nonce[4:], n+1)
}

// kexInit is SSH_MSG_KEXINIT (RFC 4253 section 7.1).
type kexInit struct {
	Cookie                 [16]byte
	Kex, HostKey           []string
	CipherUp, CipherDown   []string
	MACUp, MACDown         []string
	CompressUp, CompressDn []string
	LanguageUp, LanguageDn []string
	Follows                bool
	Reserved               uint32
}

const strictClient = "kex-strict-c-v00@openssh.com"

// proposal is what the wire can do, with strict key exchange.
func proposal() kexInit {
	both := []string{"aes128-gcm@openssh.com"}
	mac, none := []string{"hmac-sha2-256"}, []string{"none"}
	return kexInit{
		Kex: []string{"curve25519-sha256", strictClient, "ext-info-c"}, HostKey: []string{"ssh-ed25519"},
		CipherUp: both, CipherDown: both, MACUp: mac, MACDown: mac, CompressUp: none, CompressDn: none,
	}
}

func (k kexInit) marshal() []byte { return append([]byte{msgKexInit}, ssh.Marshal(k)...) }

const clientVersion = "SSH-2.0-Adversary_1.0"

// newWire exchanges versions on conn, which it closes when the test ends.
func newWire(tb testing.TB, conn net.Conn) *wire {
	tb.Helper()
	w := &wire{conn: conn, in: bufio.NewReader(conn)}
	tb.Cleanup(func() { _ = conn.Close() })
	w.raw(tb, []byte(clientVersion+"\r\n"))
	return w
}

// raw sends bytes as they are. That the other side has hung up is seen by reading.
func (w *wire) raw(tb testing.TB, b []byte) {
	tb.Helper()
	if err := w.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, net.ErrClosed) {
		tb.Fatal(err)
	}
	_, _ = w.conn.Write(b)
}

// frame is a packet (RFC 4253 section 6) around payload, encrypted when there are keys.
func (w *wire) frame(payload []byte) []byte {
	align, clear := 8, 4
	if w.out != nil {
		align, clear = 16, 0
	}
	padding := align - (clear+1+len(payload))%align
	if padding < 4 {
		padding += align
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+padding))
	b = append(b, byte(padding))
	b = append(b, payload...)
	b = append(b, make([]byte, padding)...)
	if w.out == nil {
		return b
	}
	sealed := w.out.aead.Seal(slices.Clone(b[:4]), w.out.nonce, b[4:], b[:4])
	w.out.step()
	return sealed
}

func (w *wire) send(tb testing.TB, payload []byte) { tb.Helper(); w.raw(tb, w.frame(payload)) }

// message sends a packet of the given number, with fields as ssh.Marshal writes them; nil: none.
func (w *wire) message(tb testing.TB, number byte, fields any) {
	tb.Helper()
	payload := []byte{number}
	if fields != nil {
		payload = append(payload, ssh.Marshal(fields)...)
	}
	w.send(tb, payload)
}

// packet reads one; io.EOF when the other side has closed, errSilent when it does nothing.
func (w *wire) packet() ([]byte, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, io.EOF
	}
	head, err := w.take(4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > 1<<20 {
		return nil, fmt.Errorf("a packet of %d bytes", size)
	}
	if w.back == nil {
		body, err := w.take(int(size))
		if err != nil {
			return nil, err
		}
		return unpad(body)
	}
	body, err := w.take(int(size) + w.back.aead.Overhead())
	if err != nil {
		return nil, err
	}
	plain, err := w.back.aead.Open(nil, w.back.nonce, body, head)
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	w.back.step()
	return unpad(plain)
}

func unpad(body []byte) ([]byte, error) {
	if len(body) < 2 || int(body[0])+1 >= len(body) {
		return nil, errors.New("a packet without content")
	}
	return body[1 : len(body)-int(body[0])], nil
}

func (w *wire) take(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(w.in, b)
	switch nerr, ok := errors.AsType[net.Error](err); {
	case err == nil:
		return b, nil
	case ok && nerr.Timeout():
		return nil, errSilent
	default: // closed or reset
		return nil, io.EOF
	}
}

// expect reads until a packet of one of the numbers comes, and returns it.
func (w *wire) expect(tb testing.TB, numbers ...byte) []byte {
	tb.Helper()
	p, err := w.next(numbers...)
	if err != nil {
		tb.Fatalf("waiting for message %v: %v", numbers, err)
	}
	return p
}

func (w *wire) next(numbers ...byte) ([]byte, error) {
	for {
		p, err := w.packet()
		if err != nil || slices.Contains(numbers, p[0]) {
			return p, err
		}
	}
}

// ends reads until the other side has closed the connection, which it must, and returns the numbers of what it sent.
func (w *wire) ends(tb testing.TB) []byte {
	tb.Helper()
	var seen []byte
	for {
		p, err := w.packet()
		if errors.Is(err, errSilent) {
			tb.Fatalf("the connection was not closed; since then came %v", seen)
		}
		if err != nil {
			return seen
		}
		seen = append(seen, p[0])
	}
}

// greet reads the server's version line.
func (w *wire) greet(tb testing.TB) {
	tb.Helper()
	if w.server != "" {
		return
	}
	line, err := w.in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "SSH-2.0-") {
		tb.Fatalf("version line %q: %v", line, err)
	}
	w.server = strings.TrimRight(line, "\r\n")
}

// kex exchanges keys with the proposal ours. between is sent in the clear before our SSH_MSG_NEWKEYS.
func (w *wire) kex(tb testing.TB, ours kexInit, between ...[]byte) {
	tb.Helper()
	if err := w.tryKex(tb, ours, between...); err != nil {
		tb.Fatalf("key exchange: %v", err)
	}
}

func (w *wire) tryKex(tb testing.TB, ours kexInit, between ...[]byte) error {
	tb.Helper()
	if _, err := rand.Read(ours.Cookie[:]); err != nil {
		tb.Fatal(err)
	}
	mine := ours.marshal()
	w.send(tb, mine)
	w.greet(tb)
	theirs, err := w.next(msgKexInit)
	if err != nil {
		return err
	}
	if err := ssh.Unmarshal(theirs[1:], &w.proposal); err != nil {
		return err
	}
	return w.agree(tb, mine, theirs, between...)
}

// agree does the part after both proposals.
func (w *wire) agree(tb testing.TB, mine, theirs []byte, between ...[]byte) error {
	tb.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	public := key.PublicKey().Bytes()
	w.message(tb, msgKexECDHInit, struct{ Q []byte }{public})
	p, err := w.next(msgKexECDHReply)
	if err != nil {
		return err
	}
	var reply struct{ HostKey, Q, Signature []byte }
	if err := ssh.Unmarshal(p[1:], &reply); err != nil {
		return err
	}
	theirPublic, err := ecdh.X25519().NewPublicKey(reply.Q)
	if err != nil {
		return err
	}
	shared, err := key.ECDH(theirPublic)
	if err != nil {
		return err
	}
	secret := ssh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(shared)})
	hash := sha256.Sum256(append(ssh.Marshal(struct {
		VC, VS             string
		IC, IS, KS, QC, QS []byte
	}{clientVersion, w.server, mine, theirs, reply.HostKey, public, reply.Q}), secret...))
	if w.id == nil {
		w.id = hash[:]
	}
	derive := func(letter byte) []byte {
		sum := sha256.Sum256(slices.Concat(secret, hash[:], []byte{letter}, w.id))
		return sum[:]
	}
	for _, b := range between {
		w.send(tb, b)
	}
	w.message(tb, msgNewKeys, nil)
	w.out = newDirection(derive('C'), derive('A'))
	if p, err = w.packet(); err != nil {
		return err
	}
	if p[0] != msgNewKeys {
		return fmt.Errorf("message %d instead of new keys", p[0])
	}
	w.back = newDirection(derive('D'), derive('B'))
	return nil
}

// service asks for ssh-userauth.
func (w *wire) service(tb testing.TB) {
	tb.Helper()
	w.message(tb, msgServiceRequest, struct{ Name string }{"ssh-userauth"})
	w.expect(tb, msgServiceAccept)
}

type authRequest struct {
	User, Service, Method string
	Rest                  []byte `ssh:"rest"`
}

// auth asks to be let in by method; rest are the method's own fields. It returns the number of the answer and the banners before it,
// or zero when the connection ended.
func (w *wire) auth(tb testing.TB, user, method string, rest ...byte) (answer byte, banner string) {
	tb.Helper()
	w.message(tb, msgUserauthRequest, authRequest{user, "ssh-connection", method, rest})
	for {
		p, err := w.next(msgUserauthFailure, msgUserauthSuccess, msgUserauthBanner, msgInfoRequest, msgDisconnect)
		if errors.Is(err, errSilent) {
			tb.Fatal("no answer to an authentication request")
		}
		if err != nil {
			return 0, banner
		}
		if p[0] != msgUserauthBanner {
			return p[0], banner
		}
		var b struct{ Message, Language string }
		if err := ssh.Unmarshal(p[1:], &b); err != nil {
			tb.Fatal(err)
		}
		banner += b.Message
	}
}

// channelOpen is SSH_MSG_CHANNEL_OPEN (RFC 4254 section 5.1).
type channelOpen struct {
	Type              string
	ID, Window, MaxPk uint32
	Rest              []byte `ssh:"rest"`
}

// open opens a channel and returns the answer's number, the other side's number for it, and the reason of a refusal.
func (w *wire) open(tb testing.TB, c channelOpen) (answer byte, peer uint32, reason string) {
	tb.Helper()
	w.message(tb, msgChannelOpen, c)
	return w.opened(tb)
}

func (w *wire) opened(tb testing.TB) (answer byte, peer uint32, reason string) {
	tb.Helper()
	p := w.expect(tb, msgChannelConfirm, msgChannelRefused)
	if p[0] == msgChannelRefused {
		var m struct {
			ID, Code       uint32
			Text, Language string
		}
		if err := ssh.Unmarshal(p[1:], &m); err != nil {
			tb.Fatal(err)
		}
		return p[0], m.Code, m.Text
	}
	var m struct{ ID, Peer, Window, MaxPk uint32 }
	if err := ssh.Unmarshal(p[1:], &m); err != nil {
		tb.Fatal(err)
	}
	return p[0], m.Peer, ""
}

// session opens a session channel of the usual size.
func (w *wire) session(tb testing.TB, id uint32) uint32 {
	tb.Helper()
	answer, peer, reason := w.open(tb, channelOpen{Type: "session", ID: id, Window: 1 << 20, MaxPk: 32 << 10})
	if answer != msgChannelConfirm {
		tb.Fatalf("a session channel was refused: %s", reason)
	}
	return peer
}

type channelRequest struct {
	Peer  uint32
	Type  string
	Reply bool
	Rest  []byte `ssh:"rest"`
}

// ask sends a channel request and returns whether it was granted.
func (w *wire) ask(tb testing.TB, peer uint32, typ string, rest []byte) bool {
	tb.Helper()
	w.message(tb, msgChannelRequest, channelRequest{peer, typ, true, rest})
	return w.expect(tb, msgChannelSuccess, msgChannelFailure)[0] == msgChannelSuccess
}

func text(s string) []byte { return ssh.Marshal(struct{ S string }{s}) }

// alive says whether the other side still answers.
func (w *wire) alive(tb testing.TB) bool {
	tb.Helper()
	w.message(tb, msgGlobalRequest, struct {
		Type  string
		Reply bool
	}{"keepalive@openssh.com", true})
	_, err := w.next(msgRequestSuccess, msgRequestFailure)
	if errors.Is(err, errSilent) {
		tb.Fatal("the connection is there, and nothing answers")
	}
	return err == nil
}

// output reads what comes on a channel until its end.
func (w *wire) output(tb testing.TB) string {
	tb.Helper()
	var b bytes.Buffer
	for {
		p := w.expect(tb, msgChannelData, msgChannelClose)
		if p[0] == msgChannelClose {
			return b.String()
		}
		var m struct {
			ID   uint32
			Data []byte
		}
		if err := ssh.Unmarshal(p[1:], &m); err != nil {
			tb.Fatal(err)
		}
		b.Write(m.Data)
	}
}
