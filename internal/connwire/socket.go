package connwire

import (
	"io"
	"net"
)

// SocketConn is a TCP socket of the operating system as a Conn.
type SocketConn struct{ *net.TCPConn }

var (
	_ Conn = (*SocketConn)(nil)
	_ Conn = (*Stream)(nil)
)

// Abort sends a reset instead of FIN (SO_LINGER 0).
func (c *SocketConn) Abort() {
	// Errors mean that the socket is already closed.
	_ = c.SetLinger(0)
	_ = c.Close()
}

// idleReader is a reader whose WriteTo holds no buffer while the socket is idle.
func (c *SocketConn) idleReader() io.Reader { return socketReader{c.TCPConn} }

// socketReader copies with borrowed buffers.
type socketReader struct{ *net.TCPConn }

// WriteTo copies until the end of the stream.
func (r socketReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		buf, n, err := r.readBorrowed()
		if n > 0 {
			m, werr := w.Write(buf[:n])
			total += int64(m)
			if werr != nil {
				err = werr
			}
		}
		if buf != nil {
			copyBuffers.Put(buf)
		}
		if err == io.EOF { //nolint:errorlint // the bare end of the stream
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
