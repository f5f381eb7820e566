package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// maxConnectWait bounds --timeout.
const maxConnectWait = 10 * time.Minute

func newConnect(a *app) *cobra.Command {
	timeout := 30 * time.Second
	cmd := &cobra.Command{
		Use:   "connect",
		Short: "Connect, and wait until traffic flows",
		Long: `Connects this device and waits until the gateway has answered through the tunnel.
The agent goes on trying when the wait is over.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout < time.Second || timeout > maxConnectWait {
				return usageError("--timeout must be between 1s and %s, not %s", maxConnectWait, timeout)
			}
			return a.connect(cmd.Context(), timeout)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how `long` to wait")
	return cmd
}

func (a *app) connect(ctx context.Context, timeout time.Duration) error {
	s, err := a.client().Connect(ctx, timeout)
	if err != nil {
		return err
	}
	if s.State != localapi.Connected {
		return &client.Error{
			Code:    codeNotUp,
			Message: fmt.Sprintf("not connected after %s: %s", timeout, render.ReasonText(s)),
		}
	}
	return a.print(s, func(w io.Writer, st render.Style) error {
		return success(w, st, "Connected"+render.Via(s))
	})
}

func newDisconnect(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "disconnect",
		Short: "Disconnect, and stay disconnected",
		Args:  args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.client().Disconnect(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(s, func(w io.Writer, st render.Style) error { return success(w, st, "Disconnected") })
		},
	}
}
