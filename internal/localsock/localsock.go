// Package localsock is the socket between programs of one machine, with the
// caller's identity taken from the kernel: a Unix socket (SO_PEERCRED on Linux,
// LOCAL_PEERCRED on macOS) or a Windows named pipe (impersonation).
//
// It fails closed in both directions. A listener hands out no connection whose
// caller it cannot name, and Dial talks to no server that runs as another
// ordinary user. What a caller may do is for the server to decide; the socket of
// a privileged process can therefore be reached by everybody, that of a user only
// by the user.
package localsock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// EnvSocket is the environment variable that overrides every default path.
const EnvSocket = "WARP_SOCKET"

// Errors of Listen and Dial; test with errors.Is.
var (
	// ErrInUse means that a live process answers at the path.
	ErrInUse = errors.New("another process is listening there")
	// ErrNotSocket means that the path holds something that is not a socket; it is never removed.
	ErrNotSocket = errors.New("the path exists and is not a socket")
	// ErrUnsafe means that another user could replace what is at the path.
	ErrUnsafe = errors.New("the path is under another user's control")
	// ErrUnknownPeer means that the kernel did not name the other side.
	ErrUnknownPeer = errors.New("the kernel does not say who is on the other side")
)

// Caller is the process on the other side, as the kernel names it.
type Caller struct {
	// UID and GID are set on Unix (SID is then empty).
	UID, GID uint32
	// PID may be 0 when the process lives in another PID namespace. Processes
	// come and go: it is for logs, never for decisions.
	PID int
	// SID is the security identifier on Windows.
	SID string
	// Privileged means root, LocalSystem, or an elevated administrator. On
	// Windows a filtered and a full token share one SID, so it says more than SID.
	Privileged bool
}

// SameUser reports whether c and o are the same account.
func (c Caller) SameUser(o Caller) bool {
	if c.SID != "" || o.SID != "" {
		return c.SID == o.SID
	}
	return c.UID == o.UID
}

// Account is the account as a key: the uid in decimal, or the SID. It is safe as the name of a file.
func (c Caller) Account() string {
	if c.SID != "" {
		return c.SID
	}
	return strconv.FormatUint(uint64(c.UID), 10)
}

// ValidAccount reports whether s has the form of an Account: a uid without leading zeros, or a SID.
func ValidAccount(s string) bool {
	if rest, ok := strings.CutPrefix(s, "S-1-"); ok {
		return rest != "" && len(s) <= 184 && strings.Trim(rest, "0123456789-") == ""
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// Operates reports whether c may change what a process of owner does: a
// privileged caller always may, others only at a process of their own that is
// itself not privileged (a root daemon delegates to nobody).
func (c Caller) Operates(owner Caller) bool {
	return c.Privileged || (!owner.Privileged && c.SameUser(owner))
}

// String names the account for messages.
func (c Caller) String() string {
	if c.SID != "" {
		return "SID " + c.SID
	}
	return "uid " + strconv.FormatUint(uint64(c.UID), 10)
}

// LogValue implements slog.LogValuer.
func (c Caller) LogValue() slog.Value {
	if c.SID != "" {
		return slog.GroupValue(slog.String("sid", c.SID), slog.Int("pid", c.PID))
	}
	return slog.GroupValue(slog.Uint64("uid", uint64(c.UID)), slog.Int("pid", c.PID))
}

// Self returns the identity of this process.
func Self() (Caller, error) { return self() }

// Conn is a connection with a known other side and half-close.
type Conn struct {
	net.Conn
	peer peer
}

// Caller names the other side. On Windows it is known only once something was
// read from the connection; before that it fails with ErrUnknownPeer.
func (c *Conn) Caller() (Caller, error) { return c.peer.caller(c.Conn) }

// CloseWrite ends the sending direction.
func (c *Conn) CloseWrite() error {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("half-close of %T: %w", c.Conn, errors.ErrUnsupported)
	}
	return w.CloseWrite()
}

// Unwrap returns the connection underneath, for code that needs its descriptor.
func (c *Conn) Unwrap() net.Conn { return c.Conn }

// Listener accepts connections with a known caller.
type Listener struct {
	ln      net.Listener
	path    string
	refused atomic.Uint64
}

// Listen creates the socket at path and removes a stale one, that is one at
// which nobody answers. Missing directories are made, with mode 0700 for an
// ordinary user. The socket has mode 0600, or 0666 when this process is root:
// then the server decides by Caller. ctx bounds the making of the socket only.
func Listen(ctx context.Context, path string) (*Listener, error) {
	if path == "" {
		return nil, errors.New("listen on local socket: the path is empty")
	}
	ln, err := listen(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("listen on local socket %s: %w", path, err)
	}
	return &Listener{ln: ln, path: path}, nil
}

// Accept waits for the next caller that the kernel names. The connection is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.ln.Accept()
		if err != nil {
			return nil, err
		}
		p, err := identify(nc)
		if err != nil {
			l.refused.Add(1)
			_ = nc.Close() // the refusal is counted; nothing was exchanged
			continue
		}
		return &Conn{Conn: nc, peer: p}, nil
	}
}

// Refused counts connections that were closed because their caller is unknown.
func (l *Listener) Refused() uint64 { return l.refused.Load() }

// Close stops listening and removes the socket.
func (l *Listener) Close() error { return l.ln.Close() }

// Addr returns the address of the socket.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Path returns the path given to Listen.
func (l *Listener) Path() string { return l.path }

// Dial connects to the socket at path and refuses a server that is neither
// privileged nor this user's, and a place where another user could have put the
// socket: what is sent may be secret. A privileged caller
// may talk to everybody's. A missing socket satisfies errors.Is(err, fs.ErrNotExist);
// one at which nobody listens is ErrNobody.
func Dial(ctx context.Context, path string) (*Conn, error) {
	if path == "" {
		return nil, errors.New("dial local socket: the path is empty")
	}
	if err := checkPath(path); err != nil {
		return nil, fmt.Errorf("dial local socket %s: %w", path, err)
	}
	nc, err := dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("dial local socket %s: %w", path, err)
	}
	p, err := checkServer(nc)
	if err != nil {
		_ = nc.Close() // the reason for closing is what the caller needs
		return nil, fmt.Errorf("dial local socket %s: %w", path, err)
	}
	return &Conn{Conn: nc, peer: p}, nil
}

// ErrNobody means that a socket file is there and no process behind it.
var ErrNobody = errors.New("nobody is listening there")

// DefaultPath is where a client finds the agent: $WARP_SOCKET, else the user's
// own agent when its socket exists, else that of the system's service when it
// exists, else where the user's own would be.
func DefaultPath() string {
	own := ListenPath()
	if os.Getenv(EnvSocket) != "" || exists(own) {
		return own
	}
	if s := servicePath(); exists(s) {
		return s
	}
	return own
}

// ListenPath is where an agent listens by default: $WARP_SOCKET; for root (Windows:
// a privileged account) the service's path, /run/weft/warp.sock on Linux; for a user
// $XDG_RUNTIME_DIR/weft/warp.sock, or weft-UID/warp.sock in the temporary directory
// where that is not set. On Windows these are pipe names.
func ListenPath() string {
	if p := os.Getenv(EnvSocket); p != "" {
		return p
	}
	me, err := self()
	if err == nil && me.Privileged {
		return servicePath()
	}
	return userPath(me)
}

// probeTimeout bounds the question whether somebody answers at a socket.
const probeTimeout = time.Second
