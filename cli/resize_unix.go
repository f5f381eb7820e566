//go:build unix

package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// notifyResize has a value when the terminal's size has changed; stop ends that.
func notifyResize() (resized <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	return c, func() { signal.Stop(c) }
}

// waitForReaderGone returns when nobody reads the pipe or socket f any longer, or ctx has ended. Without either it
// sleeps: a watcher may run for days.
func waitForReaderGone(ctx context.Context, f *os.File) {
	r, w, err := os.Pipe() // whose end the end of ctx is, for poll to see
	if err != nil {
		<-ctx.Done()
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = w.Close() })
	defer func() {
		if stop() {
			_ = w.Close()
		}
		_ = r.Close()
	}()
	fds := []unix.PollFd{{Fd: int32(f.Fd())}, {Fd: int32(r.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && fds[1].Revents == 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
			return
		}
		<-ctx.Done() // at once, or poll cannot tell and writing will
		return
	}
}
