package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"weft/internal/kind"
	"weft/probe"
)

// The exit codes of weft. They are part of its interface: see exitHelp.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitInvalid     = 3
	exitDenied      = 4
	exitNotFound    = 5
	exitConflict    = 6
	exitUnavailable = 7
	exitTimeout     = 8
	exitFound       = 9
)

const exitHelp = `
Exit status:
  0  success, or ended by SIGINT or SIGTERM
  1  internal error
  2  the command line is wrong
  3  a value, file or request is invalid
  4  the credential is missing, unknown or not permitted
  5  something named does not exist
  6  a conflict: port in use, directory in use, object exists
  7  something needed does not answer
  8  no answer in time
  9  "weft explain" or "weft ssh-ca check" found something in the way
  10-15 belong to "weft probe"
`

// usageError is a mistake in the command line.
type usageError struct{ error }

// Unwrap returns the cause.
func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	if f, ok := errors.AsType[*probe.Failure](err); ok {
		return f.ExitCode()
	}
	if _, ok := errors.AsType[usageError](err); ok || isCobraUsage(err) {
		return exitUsage
	}
	if _, ok := errors.AsType[foundError](err); ok {
		return exitFound
	}
	if _, ok := errors.AsType[sshFound](err); ok {
		return exitFound
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return exitConflict
	}
	switch kind.Of(err) {
	case kind.Invalid:
		return exitInvalid
	case kind.Unauthenticated, kind.Denied:
		return exitDenied
	case kind.NotFound:
		return exitNotFound
	case kind.Conflict:
		return exitConflict
	case kind.Unavailable, kind.Limit:
		return exitUnavailable
	case kind.Timeout:
		return exitTimeout
	case kind.Internal:
	}
	if errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitInternal
}

// isCobraUsage recognises cobra's own complaints, which have no type.
func isCobraUsage(err error) bool {
	for _, p := range []string{"unknown command ", "required flag(s) ", "accepts ", "requires at least ", "invalid argument ", "if any flags in the group ", "at least one of the flags in the group "} {
		if strings.HasPrefix(err.Error(), p) {
			return true
		}
	}
	return false
}

// isStop reports whether err only says that the context ended.
func isStop(err error) bool {
	return errors.Is(err, context.Canceled)
}

// report tells the user what went wrong and what to do next.
func report(w io.Writer, err error) {
	msg := "weft: " + err.Error() + "\n"
	if e, ok := errors.AsType[*kind.Error](err); ok && e.Hint != "" {
		msg += "hint: " + e.Hint + "\n"
	} else if isCobraUsage(err) {
		msg += "hint: see \"weft --help\", or --help after a command\n"
	} else if errors.Is(err, syscall.EADDRINUSE) {
		msg += "hint: another program holds that port; stop it or choose another port\n"
	}
	// Nothing can be done about a broken stderr.
	_, _ = fmt.Fprint(w, msg)
}
