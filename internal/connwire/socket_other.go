//go:build !unix

package connwire

// readBorrowed reads once; without a poller to ask, the buffer is held while waiting.
func (r socketReader) readBorrowed() (buf *[copyBytes]byte, n int, err error) {
	buf = copyBuffers.Get().(*[copyBytes]byte)
	n, err = r.Read(buf[:])
	return buf, n, err
}
