package client

import (
	"context"
	"errors"
	"io"

	"weft/agent/localapi"
)

// Stream is a raw byte stream to a target, with half-close.
type Stream struct {
	conn *agentConn
}

// Dial opens a stream to a target. ctx bounds the opening only; the caller closes the stream.
func (c *Client) Dial(ctx context.Context, d localapi.Dial) (*Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, RemoteTimeout)
	defer cancel()
	conn, _, err := c.roundTrip(ctx, methodPost, localapi.PathDial, d, localapi.UpgradeProtocol)
	if err != nil {
		return nil, err
	}
	if err := conn.detach(); err != nil {
		return nil, c.broken(ctx.Err(), errors.Join(err, conn.Close()))
	}
	return &Stream{conn: conn}, nil
}

// Read reads what the target sent; io.EOF after the target's last byte.
func (s *Stream) Read(p []byte) (int, error) { return s.conn.r.Read(p) }

// WriteTo copies everything that the target sends to w.
func (s *Stream) WriteTo(w io.Writer) (int64, error) {
	n, err := s.drain(w)
	if err != nil {
		return n, err
	}
	m, err := io.Copy(w, s.conn.Conn)
	return n + m, err
}

// drain writes what was read together with the head of the answer.
func (s *Stream) drain(w io.Writer) (int64, error) {
	k := s.conn.r.Buffered()
	if k == 0 {
		return 0, nil
	}
	b, err := s.conn.r.Peek(k)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(b)
	if _, derr := s.conn.r.Discard(n); err == nil {
		err = derr
	}
	return int64(n), err
}

// Write sends p to the target.
func (s *Stream) Write(p []byte) (int, error) { return s.conn.Write(p) }

// ReadFrom sends everything that r has.
func (s *Stream) ReadFrom(r io.Reader) (int64, error) { return io.Copy(s.conn.Conn, r) }

// CloseWrite says that nothing more will be sent; reading goes on.
func (s *Stream) CloseWrite() error {
	if cw, ok := s.conn.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close ends the stream in both directions.
func (s *Stream) Close() error { return s.conn.Close() }
