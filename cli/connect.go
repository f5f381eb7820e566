package cli

import (
	"context"
	"errors"
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
	wait := true
	cmd := leaf(help{
		"connect", "Connect, and wait until traffic flows",
		`Connects this device and waits until the gateway has answered through the tunnel.
The agent goes on trying when the wait is over. With --wait=false it does not wait:
see warp-cli wait. It also ends a pause.`,
		`  warp-cli connect
  warp-cli connect --timeout 1m`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		if timeout < time.Second || timeout > maxConnectWait {
			return usageError("--timeout must be between 1s and %s, not %s", maxConnectWait, timeout)
		}
		if !wait {
			return a.connectNoWait(cmd.Context())
		}
		return a.connect(cmd.Context(), timeout)
	})
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how `long` to wait")
	cmd.Flags().BoolVar(&wait, "wait", true, "wait until traffic flows")
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

// connectNoWait asks for the connection and gives it no time: that it is not up yet is no failure.
func (a *app) connectNoWait(ctx context.Context) error {
	s, err := a.client().Connect(ctx, time.Second)
	if e, ok := errors.AsType[*client.Error](err); ok && (e.Code == localapi.CodeUnreachable || e.Code == "unavailable" || e.Code == localapi.CodeTimeout) {
		s, err = a.client().Status(ctx)
	}
	if err != nil {
		return err
	}
	return a.print(s, func(w io.Writer, st render.Style) error {
		return success(w, st, "The agent connects; to wait for it: warp-cli wait --for connected")
	})
}

// maxPause bounds --for; the agent has the same bound.
const maxPause = 30 * 24 * time.Hour

func newDisconnect(a *app) *cobra.Command {
	var pause time.Duration
	cmd := leaf(help{
		"disconnect", "Disconnect, and stay disconnected",
		`Takes the tunnel down, which ends open connections, and stays disconnected over restarts.
With --for it is a pause: the agent connects again by itself when the time is over.`,
		`  warp-cli disconnect
  warp-cli disconnect --for 15m`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("for") && (pause < time.Second || pause > maxPause) {
			return usageError("--for must be between 1s and %s, not %s", maxPause, pause)
		}
		s, err := a.client().Pause(cmd.Context(), pause)
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer, st render.Style) error {
			if s.ResumeAt != nil {
				return success(w, st, "Disconnected; connects again at "+render.Moment(*s.ResumeAt))
			}
			return success(w, st, "Disconnected")
		})
	})
	cmd.Flags().DurationVar(&pause, "for", 0, "connect again after this `long`, such as 15m")
	return cmd
}
