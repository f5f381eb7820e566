//go:build unix

package lab

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// ownGroup puts the process into a group of its own, so that Ctrl-C in a terminal reaches only us and a kill reaches
// its children.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

func killGroup(p *os.Process) error {
	err := syscall.Kill(-p.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EPERM) { // EPERM: macOS for a group of zombies
		return os.ErrProcessDone
	}
	return err
}
