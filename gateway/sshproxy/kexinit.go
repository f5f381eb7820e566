package sshproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"
)

// OpenSSH's client prefers ChaCha20-Poly1305, and in SSH the client's preference wins (RFC 4253 section 7.1). With AES in
// hardware AES-GCM costs a fraction of it per byte (the processor time of a bulk transfer was two thirds ChaCha20 on
// amd64, 2026-11). So the first message of the client is looked at before our own is sent, and a client that knows
// AES-GCM is offered nothing else. Whoever cannot be read in time is offered the usual list.

// peekTime is how long the client's first message is waited for. Most send it unasked; one that waits for ours costs
// itself this long.
const peekTime = 300 * time.Millisecond

// maxPeek is more than any version line and first message together (RFC 4253 sections 4.2 and 6.1 ask for less).
const maxPeek = 40 << 10

var versionLine = []byte(version + "\r\n")

// fastAES says whether the processor has the instructions for AES-GCM.
var fastAES = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL || cpu.S390X.HasAESGCM

// peekCiphers sends our version line, looks at the client's first message, and returns the ciphers to offer. What was
// read is read again by the SSH library. It never fails: the library meets the same trouble and reports it.
func (c *clientConn) peekCiphers(all []string) []string {
	if _, err := c.Conn.Write(versionLine); err != nil {
		return all
	}
	c.skip = len(versionLine)
	if err := c.SetReadDeadline(time.Now().Add(peekTime)); err != nil {
		return all
	}
	defer func() { _ = c.SetReadDeadline(time.Time{}) }() // as the line above, and that worked
	var up, down []string
	buf := make([]byte, 4<<10)
	for len(c.replay) < maxPeek {
		n, err := c.Conn.Read(buf)
		c.replay = append(c.replay, buf[:n]...)
		up, down, err = parseKexInit(c.replay, err)
		if err == nil {
			break
		}
		if !errors.Is(err, errShort) {
			return all
		}
	}
	if !fastAES {
		return all
	}
	isGCM := func(name string) bool { return name == ssh.CipherAES128GCM || name == ssh.CipherAES256GCM }
	if !slices.ContainsFunc(up, isGCM) || !slices.ContainsFunc(down, isGCM) {
		return all
	}
	var offer []string
	for _, name := range all {
		if isGCM(name) && slices.Contains(up, name) && slices.Contains(down, name) {
			offer = append(offer, name)
		}
	}
	if len(offer) == 0 {
		return all
	}
	return offer
}

var (
	errShort   = errors.New("more is to come")
	errKexInit = errors.New("not an SSH key exchange")
)

// parseKexInit reads a version line and SSH_MSG_KEXINIT (RFC 4253 sections 4.2, 6 and 7.1) from the start of b, and
// returns the ciphers to and from the server. errShort means that b is a beginning; readErr is returned instead then.
func parseKexInit(b []byte, readErr error) (up, down []string, err error) {
	short := errShort
	if readErr != nil {
		short = readErr
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if len(b) > 255 {
			return nil, nil, errKexInit
		}
		return nil, nil, short
	}
	if !bytes.HasPrefix(b, []byte("SSH-2.0-")) {
		return nil, nil, errKexInit
	}
	b = b[end+1:]
	if len(b) < 6 {
		return nil, nil, short
	}
	size, padding := binary.BigEndian.Uint32(b), uint32(b[4])
	if size > maxPeek-512 || padding+1 >= size || b[5] != 20 { // SSH_MSG_KEXINIT
		return nil, nil, errKexInit
	}
	if uint32(len(b)-4) < size {
		return nil, nil, short
	}
	var m struct {
		Type                   byte
		Cookie                 [16]byte
		Kex, HostKey, Up, Down []string
		Rest                   []byte `ssh:"rest"`
	}
	if err := ssh.Unmarshal(b[5:4+size-padding], &m); err != nil {
		return nil, nil, errKexInit
	}
	return m.Up, m.Down, nil
}

// beginsWithNone reports whether the client is known to try the method "none" first, as OpenSSH does. It is known once
// peekCiphers has seen the client's version line.
func (c *clientConn) beginsWithNone() bool {
	return bytes.HasPrefix(c.replay, []byte("SSH-2.0-OpenSSH_"))
}
