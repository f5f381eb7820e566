//go:build !unix

package tunnel

import (
	"errors"
	"syscall"
)

// socketSource is not offered here: the poller cannot be asked for readiness.
type socketSource struct{}

func newSocketSource(syscall.Conn) (*socketSource, bool) { return nil, false }

func (*socketSource) read() (*[relayBytes]byte, int, error) { return nil, 0, errors.ErrUnsupported }

func (*socketSource) tryRead([]byte) (int, error) { return 0, errors.ErrUnsupported }
