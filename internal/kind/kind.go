// Package kind classifies the errors that reach users. A domain package says
// what sort of failure it met; one table in control maps that to HTTP and one
// in cli to exit codes. An error without a kind is internal: its text goes to
// the log, never to a user.
package kind

import (
	"errors"
	"fmt"
)

// Kind is a class of failure.
type Kind string

// The kinds. Their spelling is part of the wire format.
const (
	Invalid         Kind = "invalid"         // the request is malformed or breaks a rule
	Unauthenticated Kind = "unauthenticated" // no credential, or one that is unknown, expired or revoked
	Denied          Kind = "denied"          // the caller is known and may not
	NotFound        Kind = "not_found"       // the named thing does not exist (or not for this caller)
	Conflict        Kind = "conflict"        // another object holds what was asked for
	Unavailable     Kind = "unavailable"     // a part that is needed does not answer; trying again may help
	Timeout         Kind = "timeout"         // no answer within the limit
	Limit           Kind = "limit"           // a documented limit was reached
	Internal        Kind = "internal"        // a fault of ours
)

// Error is a failure whose message is written for the user.
type Error struct {
	Kind Kind
	// Message says what went wrong, in lower case, without a full stop.
	Message string
	// Hint says what to do next; it may be empty.
	Hint string
	// Pointer names the offending field as a JSON pointer (RFC 6901); it may be empty.
	Pointer string
	// Err is the cause; it is logged, not shown.
	Err error
}

// Error returns the message; the cause follows when there is one.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of kind k with a formatted message.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Field returns an Invalid error about the field that pointer names.
func Field(pointer, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Pointer: pointer, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns a copy of e that tells the user what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// At returns a copy of e about the field that pointer names.
func (e *Error) At(pointer string) *Error {
	c := *e
	c.Pointer = pointer
	return &c
}

// WithCause returns a copy of e that wraps err.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// Of returns the kind of err: that of the first *Error in its chain, Internal
// when there is none, and "" for nil.
func Of(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of kind k.
func Is(err error, k Kind) bool { return Of(err) == k }
