// Package transfer reads the file transfers in a channel as they go by: sftp (version 3, the one that OpenSSH speaks)
// and the old scp protocol. It is passive: it is shown what both sides send and tells what they did, and never holds up
// or changes a byte. What it cannot follow it says once, and then keeps silent. Everything is bounded: a peer that sends
// nonsense costs no more than one that does not.
package transfer

import (
	"path"
	"strings"
)

// Operation is something that was done to a file.
type Operation struct {
	Protocol string // "sftp" or "scp"
	Name     string // read, write, remove, rename, mkdir, rmdir, symlink, hardlink, setstat, list, ...
	Path     string
	NewPath  string // of a rename or link
	Flags    string // how it was opened, or the attributes that were set
	Bytes    int64  // transferred; -1: does not apply
	Result   string // "ok", or what the target answered; "" if the session ended first
	SHA256   string // of the content, when all of it went by in order
	Problem  string // why nothing further is told of this channel
}

// Parser is shown a channel. A Parser is not safe for concurrent use.
type Parser interface {
	FromClient(b []byte)
	FromTarget(b []byte)
	// Close tells of what was not complete.
	Close()
}

// New is the parser for what is about to run, or nil when that is not a file transfer whose protocol is known. It is
// told by name alone: a program that calls itself sftp-server and speaks something else is reported as a problem.
func New(subsystem bool, what string, hashes bool, tell func(Operation)) Parser {
	if subsystem {
		if what == "sftp" {
			return newSFTP(hashes, tell)
		}
		return nil
	}
	words := strings.Fields(what)
	if len(words) == 0 || strings.ContainsAny(what, ";|&$`<>()\n\r") { // a shell would do more than this one thing
		return nil
	}
	switch base := path.Base(words[0]); base {
	case "sftp-server", "internal-sftp":
		return newSFTP(hashes, tell)
	case "scp":
		return newSCP(words[1:], tell)
	}
	return nil
}
