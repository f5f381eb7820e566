package sshproxy_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/crypto/ssh"

	"weft/gateway/sshproxy"
)

var forwardTypes = []string{
	"direct-tcpip", "direct-streamlocal@openssh.com", "forwarded-streamlocal@openssh.com", "tcpip-forward", "streamlocal-forward@openssh.com",
	"x11-req", "x11", "allocated",
}

// What a parser accepts is all of the payload and nothing else, and of a size that can be put on record.
func FuzzForwardPayload(f *testing.F) {
	f.Add(uint8(0), tcpPayload("10.0.0.1", 22))
	f.Add(uint8(1), ssh.Marshal(struct {
		P, R string
		N    uint32
	}{"/run/app.sock", "", 0}))
	f.Add(uint8(2), ssh.Marshal(struct{ P, R string }{"/run/app.sock", ""}))
	f.Add(uint8(3), hostPortPayload("localhost", 0))
	f.Add(uint8(4), ssh.Marshal(struct{ P string }{"/run/app.sock"}))
	f.Add(uint8(5), ssh.Marshal(struct {
		S    bool
		P, C string
		N    uint32
	}{true, "MIT-MAGIC-COOKIE-1", "00", 0}))
	f.Add(uint8(6), hostPortPayload("127.0.0.1", 1))
	f.Add(uint8(7), []byte{0, 0, 31, 144})
	f.Add(uint8(7), []byte{0, 1, 0, 0})
	f.Add(uint8(0), append(tcpPayload("10.0.0.1", 22), 0))
	f.Add(uint8(3), []byte{0xff, 0xff, 0xff, 0xff, 'x', 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		typ := forwardTypes[int(which)%len(forwardTypes)]
		m, err := sshproxy.ParseForwardForTest(typ, payload)
		if err != nil {
			return
		}
		again := ssh.Marshal(m)
		if typ == "x11-req" && payload[0] > 1 { // RFC 4251 section 5: every boolean but 0 is true
			again[0] = payload[0]
		}
		if !bytes.Equal(again, payload) {
			t.Errorf("%s: %x read as %+v, which is %x", typ, payload, m, again)
		}
		if len(payload) > 4<<10 {
			t.Errorf("%s: %d bytes", typ, len(payload))
		}
	})
}

// Where a connection came from is a word of the target or the client, and goes into logs and records of others.
func FuzzOrigin(f *testing.F) {
	f.Add("192.0.2.1", uint32(1234))
	f.Add("", uint32(0))
	f.Add("\x1b[2J\n", uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, host string, port uint32) {
		out := sshproxy.OriginForTest(host, port)
		if len(out) > 1100 || strings.IndexFunc(out, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("%q", out)
		}
	})
}

func TestEnvAllowed(t *testing.T) {
	for name, want := range map[string]bool{
		"LANG": true, "LANGUAGE": true, "LC_ALL": true, "LC_": false, "COLORTERM": true, "NO_COLOR": true, "GIT_PROTOCOL": true,
		"lang": false, "LANG\x00": false, "PATH": false, "LD_PRELOAD": false, "GIT_SSH_COMMAND": false, "BASH_ENV": false, "": false, "TERM": false,
	} {
		if got := sshproxy.EnvAllowedForTest(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}
