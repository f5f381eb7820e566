package lab

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawner hands commands to a thread that lives as long as we do: the kernel sends Pdeathsig when the thread that started
// the process ends (prctl(2)), and a goroutine that moved its thread to another namespace ends that thread.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// startCommand starts a process that the kernel ends when we die without a chance to do it.
func startCommand(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	done := make(chan error)
	spawner() <- func() { done <- cmd.Start() }
	return <-done
}
