package sshproxy

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The payloads of channel requests (RFC 4254 sections 6.2 to 6.10 and RFC 4335). They are parsed to be checked and put
// on record; what is relayed is the payload as it came.

type ptyRequest struct {
	Term                             string
	Columns, Rows, WidthPx, HeightPx uint32
	Modes                            string
}

type windowChange struct{ Columns, Rows, WidthPx, HeightPx uint32 }

type envRequest struct{ Name, Value string }

type exitSignal struct {
	Signal     string
	CoreDumped bool
	Message    string
	Language   string
}

func unmarshal[T any](payload []byte) (T, error) {
	var m T
	err := ssh.Unmarshal(payload, &m)
	return m, err
}

func parsePTY(payload []byte) (ptyRequest, error) {
	m, err := unmarshal[ptyRequest](payload)
	if err == nil && (len(m.Term) > maxTermBytes || len(m.Modes) > maxPTYModesBytes) {
		err = errors.New("terminal name or modes too long")
	}
	return m, err
}

func parseEnv(payload []byte) (envRequest, error) {
	return unmarshal[envRequest](payload)
}

func parseCommand(payload []byte, limit int) (string, error) {
	m, err := unmarshal[struct{ Command string }](payload)
	if err == nil && len(m.Command) > limit {
		err = fmt.Errorf("the command is longer than %d bytes", limit)
	}
	return m.Command, err
}

func parseSubsystem(payload []byte) (string, error) {
	m, err := unmarshal[struct{ Name string }](payload)
	if err == nil && (m.Name == "" || len(m.Name) > maxSubsystemBytes || strings.ContainsFunc(m.Name, notInNames)) {
		err = fmt.Errorf("the subsystem's name %q is empty, too long, or no name in SSH", short(m.Name))
	}
	return m.Name, err
}

// notInNames says of a character that it is not in the names of SSH (RFC 4250 section 4.6.1). sshd takes a NUL for the
// end of one, so that "sftp" with a NUL behind it would be served, and not be recorded as file transfer.
func notInNames(r rune) bool { return r <= ' ' || r >= 0x7f }

func parseSignal(payload []byte) (string, error) {
	m, err := unmarshal[struct{ Name string }](payload)
	if err == nil && (m.Name == "" || len(m.Name) > 64) {
		err = errors.New("the signal's name is empty or too long")
	}
	return m.Name, err
}

func parseWindowChange(payload []byte) (windowChange, error) { return unmarshal[windowChange](payload) }

func parseBreak(payload []byte) (uint32, error) {
	m, err := unmarshal[struct{ Milliseconds uint32 }](payload)
	return m.Milliseconds, err
}

func parseExitStatus(payload []byte) (uint32, error) {
	m, err := unmarshal[struct{ Status uint32 }](payload)
	return m.Status, err
}

func parseExitSignal(payload []byte) (exitSignal, error) { return unmarshal[exitSignal](payload) }

// envAllowed is the list of variables that are passed on: language, colour, and the version of git's protocol. Everything
// else could change what a program on the target does. sshd has a list of its own (AcceptEnv). TERM is part of a pty-req.
func envAllowed(name string) bool {
	switch name {
	case "LANG", "LANGUAGE", "COLORTERM", "NO_COLOR", "GIT_PROTOCOL":
		return true
	}
	return strings.HasPrefix(name, "LC_") && len(name) > 3
}
