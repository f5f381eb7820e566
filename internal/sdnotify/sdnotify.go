// Package sdnotify tells a service manager how a process is doing, and takes over the
// sockets that the manager has opened for it: sd_notify(3), sd_watchdog_enabled(3) and
// sd_listen_fds(3) of systemd, whose protocols are stable interfaces. Without a manager
// that listens every method is a no-op, so callers need not ask.
package sdnotify

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxStatusBytes bounds a STATUS line; systemd itself refuses messages above 4 KiB or so.
const maxStatusBytes = 512

// Notifier sends states to the manager. The zero value sends nothing. Safe for concurrent use.
type Notifier struct {
	socket   string
	watchdog time.Duration
}

// FromEnv reads what the manager has put into the environment: NOTIFY_SOCKET, and
// WATCHDOG_USEC when WATCHDOG_PID is absent or names this process.
func FromEnv(getenv func(string) string, pid int) Notifier {
	n := Notifier{socket: getenv("NOTIFY_SOCKET")}
	if p := getenv("WATCHDOG_PID"); p != "" && p != strconv.Itoa(pid) {
		return n
	}
	if us, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 && us <= int64(24*time.Hour/time.Microsecond) {
		n.watchdog = time.Duration(us) * time.Microsecond
	}
	return n
}

// Enabled reports whether a manager listens.
func (n Notifier) Enabled() bool { return n.socket != "" }

// Ready says that the process serves; status is one line for people.
func (n Notifier) Ready(ctx context.Context, status string) error {
	return n.send(ctx, "READY=1", statusLine(status))
}

// Status says in one line, for people, what the process does.
func (n Notifier) Status(ctx context.Context, status string) error {
	return n.send(ctx, statusLine(status))
}

// Stopping says that the process is on its way out.
func (n Notifier) Stopping(ctx context.Context) error { return n.send(ctx, "STOPPING=1") }

// ExtendTimeout asks for more time to start or to stop, from now on, whatever the unit's timeout.
func (n Notifier) ExtendTimeout(ctx context.Context, d time.Duration) error {
	return n.send(ctx, "EXTEND_TIMEOUT_USEC="+strconv.FormatInt(d.Microseconds(), 10))
}

// Reloading says that the process takes in a change; Ready ends that. monotonic is the
// time of CLOCK_MONOTONIC, which systemd 253 asks for; zero is left out.
func (n Notifier) Reloading(ctx context.Context, monotonic time.Duration) error {
	if monotonic <= 0 {
		return n.send(ctx, "RELOADING=1")
	}
	return n.send(ctx, "RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonic.Microseconds(), 10))
}

// Watchdog is how long the manager waits for a sign of life; 0: it does not.
func (n Notifier) Watchdog() time.Duration {
	if n.socket == "" {
		return 0
	}
	return n.watchdog
}

// KeepAlive gives a sign of life three times per Watchdog period for as long as alive
// returns nil, and returns when ctx ends. alive gets a third of the period at most; when it
// fails or does not return, no sign is given, and the manager ends and restarts the process.
// failed is told why.
func (n Notifier) KeepAlive(ctx context.Context, alive func(context.Context) error, failed func(error)) {
	every := n.Watchdog() / 3
	if every <= 0 {
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := n.beat(ctx, every, alive); err != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (n Notifier) beat(ctx context.Context, within time.Duration, alive func(context.Context) error) error {
	actx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := alive(actx); err != nil {
		return fmt.Errorf("check own life: %w", err)
	}
	return n.send(ctx, "WATCHDOG=1")
}

// send writes one datagram of assignments.
func (n Notifier) send(ctx context.Context, assignments ...string) error {
	if n.socket == "" {
		return nil
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unixgram", n.socket)
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	_, err = c.Write([]byte(strings.Join(assignments, "\n")))
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// statusLine keeps a status to one line: a line feed would begin another assignment.
func statusLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxStatusBytes {
		s = strings.ToValidUTF8(s[:maxStatusBytes], "")
	}
	return "STATUS=" + s
}

// firstFD is SD_LISTEN_FDS_START.
const firstFD = 3

// maxFDs bounds what is taken over.
const maxFDs = 16

// Sockets returns the listening sockets that the manager opened for this process, and
// none when there are none. It must be called once, before the process starts others:
// the variables are meant for this process only and are removed by unset.
func Sockets(getenv func(string) string, unset func(string) error, pid int) ([]net.Listener, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return nil, nil
	}
	count, err := strconv.Atoi(getenv("LISTEN_FDS"))
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if uerr := unset(name); uerr != nil {
			return nil, fmt.Errorf("take over sockets: %w", uerr)
		}
	}
	if err != nil || count < 0 || count > maxFDs {
		return nil, fmt.Errorf("take over sockets: LISTEN_FDS is not 0 to %d", maxFDs)
	}
	return listeners(count)
}

func listeners(count int) (ls []net.Listener, err error) {
	for fd := firstFD; fd < firstFD+count; fd++ {
		f := os.NewFile(uintptr(fd), "listen-fd-"+strconv.Itoa(fd))
		if f == nil {
			return nil, fmt.Errorf("take over socket %d: the descriptor is not valid", fd)
		}
		l, lerr := net.FileListener(f) // a duplicate, closed on exec
		cerr := f.Close()
		if lerr == nil {
			lerr = cerr
		}
		if lerr != nil {
			for _, open := range ls {
				_ = open.Close() // the error that counts is the first
			}
			return nil, fmt.Errorf("take over socket %d: %w", fd, lerr)
		}
		ls = append(ls, l)
	}
	return ls, nil
}
