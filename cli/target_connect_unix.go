//go:build unix

package cli

import (
	"context"
	"errors"
	"os"

	"weft/agent/localapi/client"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// listenUnix makes a socket with mode 0600; callers are named by the kernel besides.
func (d *door) listenUnix(ctx context.Context, path string) error {
	path, err := socketPathOf(path)
	if err != nil {
		return err
	}
	ln, err := localsock.Listen(ctx, path)
	if err != nil {
		code := string(kind.Invalid)
		if errors.Is(err, localsock.ErrInUse) || errors.Is(err, localsock.ErrNotSocket) {
			code = string(kind.Conflict)
		}
		return &client.Error{Code: code, Message: "cannot listen at " + path + ": " + err.Error(), Hint: "choose another path with --unix", Err: err}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, ln.Close())
	}
	d.ln, d.path = ln, path
	return nil
}
