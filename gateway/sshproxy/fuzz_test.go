package sshproxy_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/crypto/ssh"

	"weft/gateway/sshproxy"
)

var parsers = []string{"pty-req", "env", "window-change", "exec", "subsystem", "signal", "break", "exit-status"}

// What a parser accepts is all of the payload and nothing else: written again it gives the same bytes, so that what is
// put on record is what the target gets.
func FuzzRequestPayload(f *testing.F) {
	f.Add(uint8(0), ssh.Marshal(struct {
		Term       string
		C, R, W, H uint32
		Modes      string
	}{"xterm", 80, 24, 0, 0, "\x00"}))
	f.Add(uint8(1), ssh.Marshal(struct{ N, V string }{"LANG", "C"}))
	f.Add(uint8(2), make([]byte, 16))
	f.Add(uint8(3), ssh.Marshal(struct{ C string }{"ls -l"}))
	f.Add(uint8(4), ssh.Marshal(struct{ C string }{"sftp"}))
	f.Add(uint8(5), ssh.Marshal(struct{ C string }{"TERM"}))
	f.Add(uint8(6), []byte{0, 0, 1, 0})
	f.Add(uint8(7), []byte{0, 0, 0, 255})
	f.Add(uint8(3), []byte{0xff, 0xff, 0xff, 0xff, 'x'})
	f.Add(uint8(3), []byte{0, 0, 0, 1, 'x', 'y'})
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		name := parsers[int(which)%len(parsers)]
		m, err := sshproxy.ParseForTest(name, payload)
		if err != nil {
			return
		}
		if again := ssh.Marshal(m); !bytes.Equal(again, payload) {
			t.Errorf("%s: %x read as %+v, which is %x", name, payload, m, again)
		}
	})
}

// Texts for the record are bounded, whatever the client or target sent.
func FuzzRecordedTexts(f *testing.F) {
	f.Add("direct-tcpip", ssh.Marshal(struct {
		H string
		P uint32
		O string
		Q uint32
	}{"10.0.0.1", 22, "127.0.0.1", 9}))
	f.Add("tcpip-forward", ssh.Marshal(struct {
		H string
		P uint32
	}{"", 80}))
	f.Add("direct-streamlocal@openssh.com", ssh.Marshal(struct {
		P, R string
		N    uint32
	}{"/run/x.sock", "", 0}))
	f.Add("exit-signal", ssh.Marshal(struct {
		S    string
		C    bool
		M, L string
	}{"TERM", false, "", ""}))
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		for _, s := range []string{sshproxy.DestinationForTest(typ, data), sshproxy.ListenAddressForTest(typ, data)} {
			if len(s) > 400 {
				t.Errorf("%d bytes", len(s))
			}
		}
		if sig, err := sshproxy.ParseExitSignalForTest(data); err == nil && len(sig.Signal)+len(sig.Message) > len(data) {
			t.Errorf("%+v from %x", sig, data)
		}
	})
}

// What reaches a terminal has no control characters but line ends and tabs.
func FuzzClean(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[2J\x00\u202e\u200b\xff")
	f.Fuzz(func(t *testing.T, s string) {
		out := sshproxy.CleanForTest(s)
		bad := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }
		if i := strings.IndexFunc(out, bad); i >= 0 {
			t.Errorf("%q has %q", out, out[i:])
		}
	})
}

func kexInit(up, down string) []byte {
	payload := ssh.Marshal(struct {
		Type                                  byte
		Cookie                                [16]byte
		Kex, Host, Up, Down, A, B, C, D, E, F string
		Follows                               bool
		Reserved                              uint32
	}{Type: 20, Kex: "curve25519-sha256", Host: "ssh-ed25519", Up: up, Down: down})
	padding := 8 - (len(payload)+5)%8 + 4
	packet := ssh.Marshal(struct {
		Size    uint32
		Padding byte
		Payload []byte `ssh:"rest"`
	}{uint32(len(payload) + padding + 1), byte(padding), append(payload, make([]byte, padding)...)})
	return append([]byte("SSH-2.0-OpenSSH_9.2 comment\r\n"), packet...)
}

func TestParseKexInit(t *testing.T) {
	first := kexInit("chacha20-poly1305@openssh.com,aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
	up, down, err := sshproxy.ParseKexInitForTest(first, nil)
	if err != nil || len(up) != 2 || up[1] != "aes128-gcm@openssh.com" || len(down) != 1 || down[0] != "aes256-gcm@openssh.com" {
		t.Errorf("%q, %q, %v", up, down, err)
	}
	_, _, short := sshproxy.ParseKexInitForTest(nil, nil)
	for n := range first {
		if _, _, err := sshproxy.ParseKexInitForTest(first[:n], nil); err == nil || err.Error() != short.Error() {
			t.Fatalf("%d of %d bytes: %v, want %v", n, len(first), err, short)
		}
	}
}

func FuzzKexInit(f *testing.F) {
	f.Add(kexInit("aes128-gcm@openssh.com", "aes128-ctr"))
	f.Add([]byte("SSH-2.0-x\n\x00\x00\x00\x0c\x0a\x15"))
	f.Add([]byte("SSH-1.5-x\n"))
	f.Add([]byte("SSH-2.0-x\n\xff\xff\xff\xff\x00\x14"))
	f.Add([]byte("SSH-2.0-x\n\x00\x00\x00\x02\xff\x14"))
	f.Fuzz(func(t *testing.T, b []byte) {
		up, down, err := sshproxy.ParseKexInitForTest(b, nil)
		total := 0
		for _, s := range append(up, down...) {
			total += len(s)
		}
		if err == nil && total > len(b) {
			t.Errorf("%d bytes of names from %d", total, len(b))
		}
	})
}
