//go:build !unix

package recording_test

import (
	"errors"
	"io"
	"os/exec"
)

func startPTY(*exec.Cmd, uint16, uint16) (io.ReadWriteCloser, error) {
	return nil, errors.ErrUnsupported
}
