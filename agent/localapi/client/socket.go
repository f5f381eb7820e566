package client

import (
	"context"
	"net"

	"weft/internal/localsock"
)

// DefaultSocket returns where the agent is found unless told otherwise.
func DefaultSocket() string { return localsock.DefaultPath() }

// dialSocket connects to an agent that runs as root or as this user. It returns
// the connection itself, so that copying can use what the system offers for it.
func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	c, err := localsock.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	return c.Unwrap(), nil
}
