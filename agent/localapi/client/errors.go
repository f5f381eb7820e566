package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"weft/internal/localsock"
)

// Codes of failures that the agent cannot report itself.
const (
	// CodeAgentMissing: nothing is at the socket's path.
	CodeAgentMissing = "agent_missing"
	// CodeAgentNotRunning: the socket is there, nobody listens.
	CodeAgentNotRunning = "agent_not_running"
	// CodeSocketPermission: this OS user may not open the socket.
	CodeSocketPermission = "socket_permission"
	// CodeAgentSilent: the agent took the call and did not answer in time.
	CodeAgentSilent = "agent_not_answering"
	// CodeAgentGone: the agent closed the connection before it answered.
	CodeAgentGone = "agent_gone"
	// CodeNotAnAgent: what answers is no agent, or one of another generation.
	CodeNotAnAgent = "agent_incompatible"
	// CodeCancelled: the caller gave up.
	CodeCancelled = "cancelled"
)

// Error is every failure of a call: one that the agent reported (Status is not
// 0), or one of reaching it. Message and Hint are written for the user.
type Error struct {
	Code    string
	Message string
	Hint    string
	// Command is the command line that has the right that this one lacked; empty otherwise.
	Command string
	// Status is the HTTP status of the agent's answer, 0 when there was none.
	Status int
	// Err is the cause; it may be nil.
	Err error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

const hintStart = "start it with: warp-svc run --state-dir DIR --socket %s"

// unreachable says why the socket could not be opened.
func (c *Client) unreachable(err error) *Error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Error{
			Code: CodeAgentMissing, Err: err,
			Message: fmt.Sprintf("weft agent is not running: there is no socket at %s", c.socket),
			Hint:    fmt.Sprintf(hintStart, c.socket) + "\nor name its socket with --socket or WARP_SOCKET",
		}
	case errors.Is(err, fs.ErrPermission):
		return &Error{
			Code: CodeSocketPermission, Err: err,
			Message: fmt.Sprintf("you may not use the weft agent at %s: permission denied", c.socket),
			Hint:    "run this as the user who runs the agent, or start your own with another --socket",
		}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return c.silent(err)
	case errors.Is(err, context.Canceled):
		return &Error{Code: CodeCancelled, Err: err, Message: "cancelled"}
	case errors.Is(err, localsock.ErrUnsafe), errors.Is(err, localsock.ErrUnknownPeer):
		return &Error{
			Code: CodeSocketPermission, Err: err,
			Message: fmt.Sprintf("what listens at %s is no agent that you can trust: %v", c.socket, err),
			Hint:    fmt.Sprintf(hintStart, "PATH") + "\nand name its socket with --socket or WARP_SOCKET",
		}
	case errors.Is(err, localsock.ErrNobody):
		return &Error{
			Code: CodeAgentNotRunning, Err: err,
			Message: fmt.Sprintf("weft agent is not running: nothing listens at %s", c.socket),
			Hint:    fmt.Sprintf(hintStart, c.socket),
		}
	default:
		return &Error{
			Code: CodeAgentNotRunning, Err: err,
			Message: fmt.Sprintf("cannot reach the weft agent at %s: %v", c.socket, rootCause(err)),
			Hint:    fmt.Sprintf(hintStart, c.socket),
		}
	}
}

// broken says why a call that had begun got no answer; ctxErr is the error of its context.
func (c *Client) broken(ctxErr, err error) *Error {
	switch {
	case errors.Is(ctxErr, context.DeadlineExceeded):
		return c.silent(err)
	case ctxErr != nil:
		return &Error{Code: CodeCancelled, Err: err, Message: "cancelled"}
	default:
		return &Error{
			Code: CodeAgentGone, Err: err,
			Message: fmt.Sprintf("the weft agent at %s closed the connection without an answer", c.socket),
			Hint:    "look at the agent's log, then start it again",
		}
	}
}

func (c *Client) silent(err error) *Error {
	return &Error{
		Code: CodeAgentSilent, Err: err,
		Message: fmt.Sprintf("the weft agent at %s is running but does not answer", c.socket),
		Hint:    "look at the agent's log, then start it again",
	}
}

func (c *Client) notAnAgent(err error) *Error {
	return &Error{
		Code: CodeNotAnAgent, Err: err,
		Message: fmt.Sprintf("what answers at %s is not an agent that this warp-cli understands: %v", c.socket, err),
		Hint:    "warp-cli and warp-svc must be of the same release; compare: warp-cli version, warp-svc version",
	}
}

// rootCause drops the layers that repeat the path.
func rootCause(err error) error {
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		return e.Err
	}
	return err
}
