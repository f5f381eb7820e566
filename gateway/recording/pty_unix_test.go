//go:build unix

package recording_test

import (
	"io"
	"os/exec"

	"github.com/creack/pty"
)

func startPTY(cmd *exec.Cmd, columns, rows uint16) (io.ReadWriteCloser, error) {
	return pty.StartWithSize(cmd, &pty.Winsize{Cols: columns, Rows: rows})
}
