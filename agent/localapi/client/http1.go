package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// What this client needs of HTTP/1.1 (RFC 9112): one request on a connection, one answer. Package
// net/http would bring TLS, HTTP/2 and their start-up time into a program that speaks to a local socket
// and starts for every ssh.

const (
	maxHeadLine  = 8 << 10
	maxHeadLines = 128
	maxInterim   = 4 // answers of status 1xx before the real one
)

// The statuses that this client tells apart.
const (
	statusSwitching = 101
	statusOK        = 200
)

// errMalformed is the root of every complaint about an answer's form.
var errMalformed = errors.New("malformed HTTP answer")

// writeRequest sends a whole request; fields are header lines of its own. A nil body means none.
func writeRequest(w io.Writer, method, target, fields string, body []byte, upgrade string) error {
	var b strings.Builder
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: warp-cli\r\nAccept: application/json\r\n" + fields)
	if upgrade != "" {
		b.WriteString("Connection: Upgrade\r\nUpgrade: " + upgrade + "\r\n")
	} else {
		b.WriteString("Connection: close\r\n")
	}
	if body != nil {
		b.WriteString("Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	_, err := io.WriteString(w, b.String())
	return err
}

// answer is the head of an answer, and its body still to be read.
type answer struct {
	status  int
	upgrade string
	body    io.Reader
}

// readAnswer reads the head of the answer to one request, past interim answers (RFC 9110 section 15.2).
func readAnswer(r *bufio.Reader) (*answer, error) {
	for range maxInterim {
		a, err := readHead(r)
		if err != nil {
			return nil, err
		}
		if a.status >= 200 || a.status == statusSwitching {
			return a, nil
		}
	}
	return nil, fmt.Errorf("%w: too many interim answers", errMalformed)
}

// framing is how the length of a body is told (RFC 9112 section 6.3).
type framing struct {
	chunked bool
	length  int64 // -1: not told
}

func readHead(r *bufio.Reader) (*answer, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	a := &answer{}
	if a.status, err = parseStatusLine(line); err != nil {
		return nil, err
	}
	f := framing{length: -1}
	for range maxHeadLines {
		line, err := readLine(r)
		if err != nil {
			return nil, noEOF(err)
		}
		if line == "" {
			return a, a.frame(r, f)
		}
		if err := a.field(line, &f); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: more than %d header lines", errMalformed, maxHeadLines)
}

// parseStatusLine reads "HTTP/1.1 200 OK".
func parseStatusLine(line string) (int, error) {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	if version != "HTTP/1.1" || len(code) != 3 {
		return 0, fmt.Errorf("%w: status line %.40q", errMalformed, line)
	}
	status, err := strconv.ParseUint(code, 10, 16)
	if err != nil || status < 100 {
		return 0, fmt.Errorf("%w: status %.40q", errMalformed, code)
	}
	return int(status), nil
}

// field takes in one header line.
func (a *answer) field(line string, f *framing) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t") {
		return fmt.Errorf("%w: header line %.40q", errMalformed, line)
	}
	value = strings.Trim(value, " \t")
	switch strings.ToLower(name) {
	case "upgrade":
		a.upgrade = value
	case "transfer-encoding":
		if f.chunked || !strings.EqualFold(value, "chunked") {
			return fmt.Errorf("%w: transfer encoding %.40q", errMalformed, value)
		}
		f.chunked = true
	case "content-length":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || value[0] == '+' || f.length >= 0 && f.length != int64(n) {
			return fmt.Errorf("%w: content length %.40q", errMalformed, value)
		}
		f.length = int64(n)
	}
	return nil
}

// frame sets the body. What is told twice in different ways is refused: one of the two readers would be fooled.
func (a *answer) frame(r *bufio.Reader, f framing) error {
	switch {
	case f.chunked && f.length >= 0:
		return fmt.Errorf("%w: both a content length and a transfer encoding", errMalformed)
	case a.status == statusSwitching || a.status == 204 || a.status == 304 || a.status < 200:
		a.body = strings.NewReader("")
	case f.chunked:
		a.body = &chunkedReader{r: r}
	case f.length >= 0:
		a.body = &exactReader{r: r, left: f.length}
	default:
		a.body = r
	}
	return nil
}

// readLine reads a line without its end. io.EOF means that there was none.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxHeadLine:
			return "", fmt.Errorf("%w: a line of more than %d bytes", errMalformed, maxHeadLine)
		case err == nil:
			return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			return "", io.ErrUnexpectedEOF
		default:
			return "", err
		}
	}
}

// noEOF makes an end in the middle an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// exactReader reads a body of a known length.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if e.left > 0 {
		err = noEOF(err)
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// chunkedReader reads the chunked transfer coding (RFC 9112 section 7.1). Extensions and trailers are dropped.
type chunkedReader struct {
	r    *bufio.Reader
	left int64 // of this chunk
	open bool  // a chunk's closing line break is still to come
	err  error // the end, kept
}

func (c *chunkedReader) Read(p []byte) (int, error) {
	if c.err == nil && c.left == 0 {
		c.err = c.next()
	}
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err != nil {
		c.err = noEOF(err)
	}
	return n, c.err
}

// next reads the size of the next chunk; after the last one it reads the trailer and returns io.EOF.
func (c *chunkedReader) next() error {
	if c.open {
		if line, err := readLine(c.r); err != nil || line != "" {
			return errors.Join(noEOF(err), fmt.Errorf("%w: a chunk without an end", errMalformed))
		}
	}
	line, err := readLine(c.r)
	if err != nil {
		return noEOF(err)
	}
	size, _, _ := strings.Cut(line, ";")
	size = strings.TrimRight(size, " \t")
	n, err := strconv.ParseUint(size, 16, 63)
	if err != nil || size[0] == '+' {
		return fmt.Errorf("%w: chunk size %.40q", errMalformed, size)
	}
	c.left, c.open = int64(n), true
	if n > 0 {
		return nil
	}
	for range maxHeadLines {
		if line, err = readLine(c.r); err != nil {
			return noEOF(err)
		}
		if line == "" {
			return io.EOF
		}
	}
	return fmt.Errorf("%w: more than %d trailer lines", errMalformed, maxHeadLines)
}
