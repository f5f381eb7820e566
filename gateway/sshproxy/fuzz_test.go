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
