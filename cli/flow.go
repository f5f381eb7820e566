package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/cli/render"
)

// watchInterval is how often flow list --watch and forward list --watch look: neither has events.
const watchInterval = time.Second

func newFlow(a *app) *cobra.Command {
	return noun("flow", "List or close the connections that are open now", newFlowList(a), newFlowClose(a))
}

func newFlowList(a *app) *cobra.Command {
	var vnets, targets []string
	var watch bool
	cmd := leaf(help{
		"list", "List the open connections",
		`Lists the connections that the agent carries now, oldest first: the virtual network each
is pinned to for its life, its target, the program that opened it where the system tells,
and the bytes both ways. With --watch it is shown again every second until interrupted;
with --json each time is one line.`,
		`  warp-cli flow list
  warp-cli flow list --vnet a1net --target do-target
  warp-cli flow list --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		for _, v := range vnets {
			if err := checkWord("--vnet", v); err != nil {
				return err
			}
		}
		for _, t := range targets {
			if err := checkWord("--target", t); err != nil {
				return err
			}
		}
		if watch {
			return a.flowWatch(cmd.Context(), vnets, targets)
		}
		return a.flowList(cmd.Context(), vnets, targets)
	})
	cmd.Flags().StringArrayVar(&vnets, "vnet", nil, "only connections in this virtual `network` (name or ID; repeatable)")
	cmd.Flags().StringArrayVar(&targets, "target", nil, "only connections to this `target`: hostname, HOSTNAME.VNET, ID or address (repeatable)")
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every second")
	a.completeFlag(cmd, "vnet", a.completeVNET)
	a.completeFlag(cmd, "target", a.fromTargets(addNames))
	return cmd
}

func (a *app) flowList(ctx context.Context, vnets, targets []string) error {
	l, err := a.client().Flows(ctx, vnets, targets)
	if err != nil {
		return err
	}
	if len(l.Flows) == 0 {
		a.note("no connection is open")
	}
	return a.print(l, func(w io.Writer, _ render.Style) error {
		if len(l.Flows) == 0 {
			return nil
		}
		return render.Flows(w, l)
	})
}

func (a *app) flowWatch(ctx context.Context, vnets, targets []string) error {
	return a.watchAgain(ctx, func() (any, func(io.Writer) error, error) {
		l, err := a.client().Flows(ctx, vnets, targets)
		return l, func(w io.Writer) error {
			if len(l.Flows) == 0 {
				_, err := fmt.Fprintln(w, "no connection is open")
				return err
			}
			return render.Flows(w, l)
		}, err
	})
}

// watchAgain shows what look finds at once and then every second until it is interrupted: with --json as one line, else as a
// picture that replaces the one before.
func (a *app) watchAgain(ctx context.Context, look func() (v any, draw func(io.Writer) error, err error)) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		v, draw, err := look()
		if err != nil {
			return err
		}
		if a.json {
			err = a.printLine(v)
		} else {
			err = a.redraw(draw)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func newFlowClose(a *app) *cobra.Command {
	var all bool
	var vnet string
	cmd := leaf(help{
		"close [ID]", "Close open connections",
		`Resets one connection by the ID that flow list shows, or all, or all of one virtual
network, so that no program takes the end for an orderly one.`,
		`  warp-cli flow close 7
  warp-cli flow close --all
  warp-cli flow close --vnet a1net`,
	}, 0, 1, func(cmd *cobra.Command, args []string) error {
		what := localapi.CloseFlows{All: all, VNET: vnet}
		if len(args) > 0 {
			what.ID = args[0]
		}
		if (what.ID != "") == (all || vnet != "") {
			return usageErrorHint("see: warp-cli flow list", "name one connection by its ID, or give --all or --vnet")
		}
		done, err := a.client().CloseFlows(cmd.Context(), what)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer, st render.Style) error {
			return success(w, st, "Closed "+render.Count(done.Closed, "connection"))
		})
	})
	cmd.Flags().BoolVar(&all, "all", false, "every open connection")
	cmd.Flags().StringVar(&vnet, "vnet", "", "every open connection in this virtual `network` (name or ID)")
	a.completeFlag(cmd, "vnet", a.completeVNET)
	return cmd
}
