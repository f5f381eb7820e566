package export_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"weft/gateway/recording/export"
)

// receiver opens HPKE messages in base mode, step by step as RFC 9180 sections 4.1, 5.1 and 5.2 have it, so that the export is
// not checked with the library that made it.
type receiver struct {
	key, base []byte
	seq       uint64
}

func labelled(tb testing.TB, suite, salt, ikm []byte, label string) []byte {
	tb.Helper()
	in := bytes.Join([][]byte{[]byte("HPKE-v1"), suite, []byte(label), ikm}, nil)
	out, err := hkdf.Extract(sha256.New, in, salt)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func expanded(tb testing.TB, suite, prk, info []byte, label string, n int) []byte {
	tb.Helper()
	in := binary.BigEndian.AppendUint16(nil, uint16(n))
	in = bytes.Join([][]byte{in, []byte("HPKE-v1"), suite, []byte(label), info}, nil)
	out, err := hkdf.Expand(sha256.New, prk, string(in), n)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func newReceiver(tb testing.TB, private *ecdh.PrivateKey, encapsulated []byte) *receiver {
	tb.Helper()
	peer, err := ecdh.X25519().NewPublicKey(encapsulated)
	if err != nil {
		tb.Fatal(err)
	}
	dh, err := private.ECDH(peer)
	if err != nil {
		tb.Fatal(err)
	}
	kem := []byte("KEM\x00\x20")
	prk := labelled(tb, kem, nil, dh, "eae_prk")
	shared := expanded(tb, kem, prk, append(bytes.Clone(encapsulated), private.PublicKey().Bytes()...), "shared_secret", 32)
	suite := []byte("HPKE\x00\x20\x00\x01\x00\x03")
	context := append([]byte{0}, labelled(tb, suite, nil, nil, "psk_id_hash")...)
	context = append(context, labelled(tb, suite, nil, nil, "info_hash")...)
	secret := labelled(tb, suite, shared, nil, "secret")
	return &receiver{
		key:  expanded(tb, suite, secret, context, "key", 32),
		base: expanded(tb, suite, secret, context, "base_nonce", 12),
	}
}

func (r *receiver) open(tb testing.TB, b []byte) []byte {
	tb.Helper()
	aead, err := chacha20poly1305.New(r.key)
	if err != nil {
		tb.Fatal(err)
	}
	nonce := bytes.Clone(r.base)
	for i, c := range binary.BigEndian.AppendUint64(nil, r.seq) {
		nonce[4+i] ^= c
	}
	r.seq++
	out, err := aead.Open(nil, nonce, b, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func block(tb testing.TB, b *bytes.Reader) []byte {
	tb.Helper()
	var n uint32
	if err := binary.Read(b, binary.BigEndian, &n); err != nil {
		if err == io.EOF { //nolint:errorlint // binary.Read returns it bare at the end
			return nil
		}
		tb.Fatal(err)
	}
	out := make([]byte, n)
	if _, err := io.ReadFull(b, out); err != nil {
		tb.Fatal(err)
	}
	return out
}

func logKeys(tb testing.TB) (*ecdh.PrivateKey, string) {
	tb.Helper()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return private, base64.StdEncoding.EncodeToString(private.PublicKey().Bytes())
}

func logFile(tb testing.TB, path, public string, channel int) []byte {
	tb.Helper()
	key, err := export.ParseLogKey(public + "\n")
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	if err := export.SSHLogCLI(&b, read(tb, path), channel, key); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestSSHLogCLI_Opens(t *testing.T) {
	private, public := logKeys(t)
	in := bytes.NewReader(logFile(t, sampleFile(t), public, 1))
	raw, err := base64.StdEncoding.DecodeString(string(block(t, in)))
	if err != nil {
		t.Fatal(err)
	}
	var meta struct {
		StartedAt       uint64 `json:"started_at"`
		DataSize        uint64 `json:"data_size"`
		EncapsulatedKey string `json:"encapsulated_key"`
		PTY             *struct {
			Term          string `json:"term"`
			Width, Height uint32
			Modes         [][2]any `json:"modes"`
		} `json:"pty"`
		Exit *struct {
			Timestamp uint64  `json:"timestamp"`
			Status    *uint32 `json:"status"`
		} `json:"exit_data"`
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		t.Fatal(err)
	}
	if meta.PTY == nil || meta.PTY.Term != "xterm-256color" || meta.PTY.Width != 80 || len(meta.PTY.Modes) != 1 || meta.PTY.Modes[0][0] != "ECHO" ||
		meta.Exit == nil || meta.Exit.Status == nil || *meta.Exit.Status != 0 || meta.StartedAt == 0 {
		t.Errorf("metadata %s", raw)
	}
	encapsulated, err := hex.DecodeString(meta.EncapsulatedKey)
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t, private, encapsulated)
	var text bytes.Buffer
	last := uint64(0)
	for b := block(t, in); b != nil; b = block(t, in) {
		p := r.open(t, b)
		if int(binary.BigEndian.Uint32(p)) != len(p)-4 || p[4] != 1 || binary.BigEndian.Uint32(p[5:]) != 0 {
			t.Fatalf("packet head %x", p[:17])
		}
		elapsed := binary.BigEndian.Uint64(p[9:])
		if elapsed < last { // the program subtracts them without a sign
			t.Fatalf("time goes back: %d after %d", elapsed, last)
		}
		last = elapsed
		text.Write(p[17:])
	}
	if uint64(text.Len()) != meta.DataSize || !strings.Contains(text.String(), "ls --color\r\n") || !strings.Contains(text.String(), hostile) {
		t.Errorf("%d bytes of %d: %q", text.Len(), meta.DataSize, text.String())
	}
}

// The program itself, where it is installed.
func TestSSHLogCLI_RealProgram(t *testing.T) {
	program, err := exec.LookPath("ssh-log-cli")
	if err != nil {
		t.Skip("ssh-log-cli is not installed")
	}
	private, public := logKeys(t)
	dir := t.TempDir()
	key, in, out := filepath.Join(dir, "key"), filepath.Join(dir, "log"), filepath.Join(dir, "out.zip")
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(private.Bytes())), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, logFile(t, sampleFile(t), public, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.CommandContext(t.Context(), program, "decrypt", "-i", in, "-k", key, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("ssh-log-cli: %v: %s", err, b)
	}
	b, err := os.ReadFile(out) // stored, not compressed
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("ls --color")) || !bytes.Contains(b, []byte("COMMAND_EXIT_CODE=\"0\"")) {
		t.Errorf("the archive does not hold the session")
	}
}
