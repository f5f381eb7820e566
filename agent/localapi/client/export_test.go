package client

import (
	"bufio"
	"io"
)

// ReadAnswer opens readAnswer, and reads the body to its end.
func ReadAnswer(r *bufio.Reader) (status int, upgrade string, body []byte, err error) {
	a, err := readAnswer(r)
	if err != nil {
		return 0, "", nil, err
	}
	body, err = io.ReadAll(a.body)
	return a.status, a.upgrade, body, err
}

// Seams for tests.
var (
	WriteRequest = func(w io.Writer, method, target string, body []byte, upgrade string) error {
		return writeRequest(w, method, target, "", body, upgrade)
	}
	ErrMalformed = errMalformed
)

// Limits for tests.
const (
	MaxBody     = maxBody
	MaxHeadLine = maxHeadLine
)
