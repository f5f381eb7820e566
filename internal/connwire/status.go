package connwire

import (
	"errors"
	"fmt"
	"io"
)

// Status is a connector's answer to a Request.
type Status byte

// The answers.
const (
	StatusOK          Status = 0
	StatusRefused     Status = 1 // the target answered with a reset
	StatusUnreachable Status = 2 // no route to the target, or nobody answers for its address
	StatusTimeout     Status = 3 // no answer within the request's timeout
	StatusNotRouted   Status = 4 // the connector may not dial that address
	StatusLimit       Status = 5 // the connector has as many flows as it takes
	StatusFailed      Status = 6 // anything else
)

// The errors of a refused request; test with errors.Is.
var (
	ErrRefused     = errors.New("connection refused")
	ErrUnreachable = errors.New("host unreachable")
	ErrTimeout     = errors.New("connection timed out")
	ErrNotRouted   = errors.New("not routed by the connector")
	ErrLimit       = errors.New("connector is at its limit")
	ErrFailed      = errors.New("connector could not dial")
)

// Err is nil for StatusOK.
func (s Status) Err() error {
	switch s {
	case StatusOK:
		return nil
	case StatusRefused:
		return ErrRefused
	case StatusUnreachable:
		return ErrUnreachable
	case StatusTimeout:
		return ErrTimeout
	case StatusNotRouted:
		return ErrNotRouted
	case StatusLimit:
		return ErrLimit
	case StatusFailed:
		return ErrFailed
	default:
		return fmt.Errorf("%w: status %d", ErrMalformed, byte(s))
	}
}

// StatusOf is the inverse of Err for what a dial returned.
func StatusOf(err error) Status {
	switch {
	case err == nil:
		return StatusOK
	case errors.Is(err, ErrRefused):
		return StatusRefused
	case errors.Is(err, ErrUnreachable):
		return StatusUnreachable
	case errors.Is(err, ErrTimeout):
		return StatusTimeout
	case errors.Is(err, ErrNotRouted):
		return StatusNotRouted
	case errors.Is(err, ErrLimit):
		return StatusLimit
	default:
		return StatusFailed
	}
}

// ReadStatus decodes a Status; an unknown one is an error.
func ReadStatus(r io.Reader) (Status, error) {
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return StatusFailed, fmt.Errorf("read status: %w", err)
	}
	if b[0] > byte(StatusFailed) {
		return StatusFailed, fmt.Errorf("%w: status %d", ErrMalformed, b[0])
	}
	return Status(b[0]), nil
}
