// Package fault is how a failure travels inside the agent until it reaches a
// user: with one of the stable codes of the local API, a message and what to do
// next. The local API writes it as JSON, SOCKS5 as a reply code, HTTP CONNECT as
// a status; each has one table over the codes.
package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"weft/agent/localapi"
	"weft/internal/kind"
)

// Error is a failure that reaches a user.
type Error struct {
	Code    string // a code of localapi or a kind of internal/kind
	Message string // lower case, without a full stop
	Hint    string // what to do next; may be empty
	Command string // the command line that has the right that was lacking; may be empty
	Err     error  // the cause; logged, never shown
}

// Error returns the message, with its cause when there is one.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// maxQuoted bounds what Clip leaves of a text, in bytes.
const maxQuoted = 64

// Clip shortens what an error repeats of a request.
func Clip(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuoted], "") + "..."
}

// New returns an error with a formatted message.
func New(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns a copy of e with a hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// WithCommand returns a copy of e with the command line that would have been allowed.
func (e *Error) WithCommand(line string) *Error {
	c := *e
	c.Command = line
	return &c
}

// WithCause returns a copy of e that wraps err.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// From makes any error fit for a user: an *Error as it is, a *kind.Error by its kind,
// an ended context as a timeout, everything else as an internal error without its text.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if k, ok := errors.AsType[*kind.Error](err); ok {
		return &Error{Code: string(k.Kind), Message: k.Message, Hint: k.Hint, Err: k.Err}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Code: localapi.CodeTimeout, Message: "no answer in time", Err: err}
	}
	return &Error{Code: string(kind.Internal), Message: "internal error; the agent's log has the details", Err: err}
}
