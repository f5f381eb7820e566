package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

const (
	maxWaitTimeout = 24 * time.Hour
	waitRetry      = 200 * time.Millisecond // while the agent is not there
)

// waited is what `wait` prints.
type waited struct {
	SchemaVersion int    `json:"schema_version"`
	For           string `json:"for"`
	Met           bool   `json:"met"`
}

func newWait(a *app) *cobra.Command {
	var what string
	timeout := time.Minute
	cmd := leaf(help{
		"wait --for CONDITION", "Wait until something is so",
		`Waits for a condition and ends with 0 as soon as it holds, or with 12 when the time is over.
It also waits for an agent that is not running yet. The conditions:

  connected       traffic flows
  disconnected    no tunnel: disconnected by hand, or not registered
  target/NAME     this target is yours: a hostname, HOSTNAME.VNET or target ID
  vnet/NAME       this virtual network is there for you, by name or ID`,
		`  warp-cli wait --for connected --timeout 30s
  warp-cli wait --for target/do-target
  warp-cli wait --for vnet/a1net`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		if timeout <= 0 || timeout > maxWaitTimeout {
			return usageError("--timeout must be more than 0 and at most %s, not %s", maxWaitTimeout, timeout)
		}
		met, err := condition(what)
		if err != nil {
			return err
		}
		return a.wait(cmd.Context(), what, met, timeout)
	})
	cmd.Flags().StringVar(&what, "for", "", "the `condition`: connected, disconnected, target/NAME or vnet/NAME")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how `long` to wait at most")
	a.completeFlag(cmd, "for", func(_ *cobra.Command, _ []string, s string) ([]string, cobra.ShellCompDirective) {
		return startingWith([]string{"connected", "disconnected", "target/", "vnet/"}, s), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
	return cmd
}

// condition returns what an event must say.
func condition(what string) (func(*localapi.Event) bool, error) {
	noun, name, named := strings.Cut(what, "/")
	if named {
		if err := checkWord("the name in --for", name); err != nil {
			return nil, err
		}
	}
	switch {
	case what == "connected":
		return func(e *localapi.Event) bool { return e.Status != nil && e.Status.State == localapi.Connected }, nil
	case what == "disconnected":
		return func(e *localapi.Event) bool {
			return e.Status != nil && (e.Status.State == localapi.Disconnected || e.Status.State == localapi.Unregistered)
		}, nil
	case noun == "target" && named:
		return func(e *localapi.Event) bool { return e.Targets != nil && hasTarget(e.Targets, name) }, nil
	case noun == "vnet" && named:
		return func(e *localapi.Event) bool { return e.VNETs != nil && hasVNET(e.VNETs, name) }, nil
	default:
		return nil, usageErrorHint("one of: connected, disconnected, target/NAME, vnet/NAME", "--for %q is not a condition", what)
	}
}

func hasTarget(l *localapi.TargetList, name string) bool {
	for i := range l.Targets {
		if strings.EqualFold(l.Targets[i].ID, name) {
			return true
		}
		for _, n := range names(&l.Targets[i]) {
			if strings.EqualFold(n, name) {
				return true
			}
		}
	}
	return false
}

func hasVNET(l *localapi.VNETList, name string) bool {
	for _, v := range l.VNETs {
		if strings.EqualFold(v.Name, name) || strings.EqualFold(v.ID, name) {
			return true
		}
	}
	return false
}

func (a *app) wait(ctx context.Context, what string, met func(*localapi.Event) bool, timeout time.Duration) error {
	tctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last := "the agent has not answered"
	for {
		err := a.follow(tctx, func(e *localapi.Event) error {
			if e.Status != nil {
				last = "the agent is " + string(e.Status.State) + ": " + render.ReasonText(e.Status)
			}
			if met(e) {
				return errMet
			}
			return nil
		})
		switch {
		case errors.Is(err, errMet):
			w := waited{localapi.SchemaVersion, what, true}
			return a.print(w, func(w io.Writer, st render.Style) error { return success(w, st, "It is so: "+st.Clean(what)) })
		case ctx.Err() != nil:
			return ctx.Err()
		case tctx.Err() != nil:
			return &client.Error{
				Code: localapi.CodeTimeout, Message: fmt.Sprintf("%s was not so within %s; %s", what, timeout, last),
				Hint: "look at: warp-cli status",
			}
		case !comesBack(err):
			return err
		}
		select { // the agent is starting, or starts again
		case <-tctx.Done():
		case <-time.After(waitRetry):
		}
	}
}

// errMet ends the following of events.
var errMet = errors.New("met")

// comesBack reports whether an agent that cannot be reached so may be there later.
func comesBack(err error) bool {
	if err == nil {
		return true // the stream ended in good order: the agent stops
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case client.CodeAgentMissing, client.CodeAgentNotRunning, client.CodeAgentGone, client.CodeAgentSilent:
		return true
	}
	return false
}

// follow gives the agent's events to do until that fails, or the stream does; nil when the agent ended it in good order.
func (a *app) follow(ctx context.Context, do func(*localapi.Event) error) error {
	events, err := a.client().Events(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = events.Close() }() // nothing is written to it
	for {
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := do(e); err != nil {
			return err
		}
	}
}
