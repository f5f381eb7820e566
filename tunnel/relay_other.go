//go:build !unix

package tunnel

import "syscall"

// socketSource is not offered here: the poller cannot be asked for readiness.
func socketSource(syscall.Conn) (source, bool) { return nil, false }
