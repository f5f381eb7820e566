//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// signalOf is the number of the signal that ended a program.
func signalOf(e *exec.ExitError) int {
	if ws, ok := e.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return int(ws.Signal())
	}
	return 1
}
