//go:build unix

package forward

import (
	"context"
	"errors"
	"os"
	"syscall"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// listenUnix makes a socket for the agent's account alone. A stale one, at which nobody answers, is replaced; anything
// else at the path is left alone.
func listenUnix(ctx context.Context, path string) (listener, error) {
	ln, err := localsock.Listen(ctx, path)
	switch {
	case errors.Is(err, localsock.ErrInUse):
		return nil, fault.New(string(kind.Conflict), "another program listens at %s", path).
			WithHint("end it, or choose another path").WithCause(err)
	case errors.Is(err, localsock.ErrNotSocket):
		return nil, fault.New(string(kind.Conflict), "%s exists and is no socket", path).WithHint("choose another path").WithCause(err)
	case errors.Is(err, localsock.ErrUnsafe):
		return nil, fault.New(localapi.CodePermission, "the folder of %s is under another user's control", path).
			WithHint("choose a path in a folder of your own").WithCause(err)
	case err != nil:
		return nil, fault.New(string(kind.Invalid), "the socket %s cannot be made", path).WithHint("choose another path").WithCause(err)
	}
	// Until here the callers were checked by what the kernel says of them, and they still are.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return &streams{Listener: ln, at: path}, nil
}

func isInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
