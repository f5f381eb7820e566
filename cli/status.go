package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// checks are the questions of status --check, for monitors.
var checks = []string{"live", "ready", "startup"}

func newStatus(a *app) *cobra.Command {
	var watch bool
	var check string
	cmd := leaf(help{
		"status", "Show whether this device is connected, and why not",
		`Shows the state of the agent. The exit code is 0 whenever the agent answered,
connected or not; scripts read "state" with --json, or ask with --check, which
ends with 0 only when the answer is yes:

  live     the agent answers
  startup  it has read its state and knows what to do
  ready    it is connected: traffic flows

With --watch (or -l) each change is told as it happens, with --json as one line each.`,
		`  warp-cli status
  warp-cli status --watch
  warp-cli status --check ready`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		switch {
		case check != "":
			return a.statusCheck(cmd.Context(), check)
		case watch || a.listen:
			return a.statusWatch(cmd.Context())
		}
		return a.status(cmd.Context())
	})
	cmd.Flags().BoolVar(&watch, "watch", false, "tell each change as it happens")
	cmd.Flags().StringVar(&check, "check", "", "`question` of a monitor: live, ready or startup")
	a.completeFlag(cmd, "check", only(checks))
	return cmd
}

func (a *app) status(ctx context.Context) error {
	s, err := a.client().Status(ctx)
	if err != nil {
		return err
	}
	return a.print(s, func(w io.Writer, st render.Style) error {
		if err := render.Status(w, st, s); err != nil {
			return err
		}
		if v := a.cfg.Getenv("WARP_VNET"); v != "" {
			_, err := fmt.Fprintf(w, "This shell: virtual network %s (WARP_VNET)\n", st.Clean(v))
			return err
		}
		return nil
	})
}

// statusWatch tells each change until it is interrupted or the agent ends.
func (a *app) statusWatch(ctx context.Context) error {
	last := ""
	err := a.follow(ctx, func(e *localapi.Event) error {
		switch {
		case a.json && e.Type == "targets":
			return nil // the list itself is for target list --watch
		case a.json:
			return a.printLine(e)
		case e.Status != nil:
			text, err := statusLines(a.style(a.cfg.Stdout), e.Status)
			if err != nil || text == last {
				return err
			}
			last = text
			_, err = io.WriteString(a.cfg.Stdout, text)
			return err
		case e.Notice != nil:
			_, err := fmt.Fprintf(a.cfg.Stdout, "Notice: %s\n", render.Clean(e.Notice.Message))
			return err
		}
		return nil
	})
	if err == nil {
		return &client.Error{Code: client.CodeAgentGone, Message: "the agent has ended", Hint: "start it again, then: warp-cli status --watch"}
	}
	return err
}

// statusLines is the short form of a status: what changes.
func statusLines(st render.Style, s *localapi.Status) (string, error) {
	var b strings.Builder
	err := render.StatusUpdate(&b, st, s)
	return b.String(), err
}

// checked is what status --check prints.
type checked struct {
	SchemaVersion int             `json:"schema_version"`
	Check         string          `json:"check"`
	OK            bool            `json:"ok"`
	State         localapi.State  `json:"state"`
	Reason        localapi.Reason `json:"reason"`
}

func (a *app) statusCheck(ctx context.Context, check string) error {
	s, err := a.client().Status(ctx)
	if err != nil {
		return err
	}
	ok := false
	switch check {
	case "live":
		ok = true
	case "startup":
		// Unregistered, disconnected, or with a state: only an agent that still waits for its first state is starting.
		ok = s.State != localapi.Connecting && s.Reason != localapi.ReasonStarting || s.StateRevision > 0
	case "ready":
		ok = s.State == localapi.Connected
	default:
		return usageErrorHint("one of: "+strings.Join(checks, ", "), "--check %q is not a question", check)
	}
	if !ok {
		code := localapi.CodeNotConnected
		if s.State == localapi.Unregistered {
			code = localapi.CodeNotRegistered
		}
		return &client.Error{Code: code, Message: "not " + check + ": " + string(s.State) + ": " + render.ReasonText(s)}
	}
	c := checked{localapi.SchemaVersion, check, true, s.State, s.Reason}
	return a.print(c, func(w io.Writer, st render.Style) error {
		_, err := fmt.Fprintf(w, "%s\n", st.Green(check))
		return err
	})
}
