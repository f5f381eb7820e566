package cli

import (
	"context"

	"weft/agent/localapi/client"
	"weft/internal/kind"
)

// listenUnix: a socket file has no permissions on this system, so it would be everybody's.
func (d *door) listenUnix(_ context.Context, path string) error {
	if _, err := socketPathOf(path); err != nil {
		return err
	}
	return &client.Error{Code: string(kind.Invalid), Message: "--unix is not offered on this system", Hint: "use --local-port"}
}
