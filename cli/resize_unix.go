//go:build unix

package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// notifyResize has a value when the terminal's size has changed; stop ends that.
func notifyResize() (resized <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	return c, func() { signal.Stop(c) }
}

// waitForReaderGone returns when nobody reads the pipe or socket f any longer, or ctx has ended.
func waitForReaderGone(ctx context.Context, f *os.File) {
	const pollMS = 250
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(f.Fd())}}
		n, err := unix.Poll(fds, pollMS)
		if err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
			return
		}
		if err == nil && n > 0 || err != nil && err != unix.EINTR {
			// Something else than a missing reader: writing will tell. Do not ask again at once.
			select {
			case <-time.After(pollMS * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}
