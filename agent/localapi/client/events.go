package client

import (
	"bufio"
	"context"
	"errors"
	"io"

	"weft/agent/localapi"
)

// Events is the agent's event stream: snapshots first, then one event per change.
type Events struct {
	c      *Client
	ctxErr func() error
	conn   *agentConn
	scan   *bufio.Scanner
}

// Events opens the event stream. The end of ctx ends it; the caller closes it.
func (c *Client) Events(ctx context.Context) (*Events, error) {
	return c.stream(ctx, localapi.PathEvents)
}

// Changes is Events whose target lists come without their rows.
func (c *Client) Changes(ctx context.Context) (*Events, error) { return c.stream(ctx, PathChanges) }

// PathChanges is what Changes asks for.
const PathChanges = localapi.PathEvents + "?targets=none"

// stream opens an answer of lines.
func (c *Client) stream(ctx context.Context, target string) (*Events, error) {
	conn, a, err := c.roundTrip(ctx, methodGet, target, nil, "")
	if err != nil {
		return nil, err
	}
	s := bufio.NewScanner(a.body)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	return &Events{c: c, ctxErr: ctx.Err, conn: conn, scan: s}, nil
}

// Next waits for the next event. It returns io.EOF when the agent ended the stream in good order.
func (e *Events) Next() (*localapi.Event, error) { return next[localapi.Event](e) }

// next reads one line of a stream.
func next[T any](e *Events) (*T, error) {
	for e.scan.Scan() {
		line := e.scan.Bytes()
		if len(line) == 0 {
			continue // an empty line keeps the connection alive
		}
		ev := new(T)
		if err := decode(line, ev); err != nil {
			return nil, e.c.notAnAgent(err)
		}
		return ev, nil
	}
	switch err := e.scan.Err(); {
	case err == nil:
		return nil, io.EOF
	case errors.Is(err, bufio.ErrTooLong), errors.Is(err, errMalformed):
		return nil, e.c.notAnAgent(err)
	default:
		return nil, e.c.broken(e.ctxErr(), err)
	}
}

// Close ends the stream.
func (e *Events) Close() error {
	return e.conn.Close()
}
