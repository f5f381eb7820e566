package cli

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

func newTargetShow(a *app) *cobra.Command {
	var vnet string
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show everything about one target, and how to reach it",
		Long: `Shows addresses, virtual networks, attributes, ports and UNIX users of one target, and
the command lines that reach it.

NAME is a hostname, HOSTNAME.NETWORK, a target ID or an IP address. A name that fits several
targets leads to the one in --vnet, else in the selected virtual network; otherwise
the candidates are listed.`,
		Example: `  warp-cli target show web-1
  warp-cli target show web-1.a1net --json`,
		Args:              args(1, 1, "NAME"),
		ValidArgsFunction: a.completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.targetShow(cmd.Context(), args[0], a.vnetOr(vnet))
		},
	}
	a.vnetFlag(cmd, &vnet)
	return cmd
}

// targetShow is the command.
func (a *app) targetShow(ctx context.Context, name, vnet string) error {
	if err := checkWord("NAME", name); err != nil {
		return err
	}
	if vnet != "" {
		if err := checkWord("virtual network", vnet); err != nil {
			return err
		}
	}
	c := a.client()
	l, err := c.Targets(ctx, client.Query{})
	if err != nil {
		return err
	}
	list := listOf(l)
	id, err := findTarget(ctx, c, list.Targets, name, vnet)
	if err != nil {
		return err
	}
	m := render.MachineOf(list.Targets, id)
	if l.Stale {
		a.note("the control plane is not being heard; this is %s old", render.Age(l.AgeSeconds))
	}
	a.noteOthers(list.Targets, name, id)
	d := render.Details{SchemaVersion: localapi.SchemaVersion, Revision: l.Revision, AgeSeconds: l.AgeSeconds, Stale: l.Stale, Target: m}
	return a.print(d, func(w io.Writer, _ render.Style) error { return render.Target(w, &m) })
}

// findTarget returns the ID of the target that name leads to. The agent decides, as for a connection; only that one target has
// several addresses is no ambiguity here.
func findTarget(ctx context.Context, c *client.Client, rows []render.Row, name, vnet string) (string, error) {
	r, err := c.Resolve(ctx, name, vnet, 0)
	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == localapi.CodeAmbiguous {
		if ids := called(rows, name); len(ids) == 1 {
			return ids[0], nil
		}
	}
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(rows, func(row render.Row) bool { return row.ID == r.TargetID }) {
		return "", &client.Error{Code: localapi.CodeUnknownTarget, Message: "no target of yours is called " + name}
	}
	return r.TargetID, nil
}

// called returns the IDs of the targets that can be called name, each once.
func called(rows []render.Row, name string) []string {
	var ids []string
	for i := range rows {
		r := &rows[i]
		fits := slices.ContainsFunc(names(r.Target), func(n string) bool { return strings.EqualFold(n, name) }) ||
			slices.ContainsFunc(r.Addresses, func(ad localapi.Address) bool { return ad.IP == name })
		if fits && !slices.Contains(ids, r.ID) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// noteOthers names the other targets that name could have been.
func (a *app) noteOthers(rows []render.Row, name, id string) {
	for _, other := range called(rows, name) {
		if other != id {
			a.note("another target is called so too: warp-cli target show %s", render.MachineOf(rows, other).Name)
		}
	}
}
