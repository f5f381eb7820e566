package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

func newVNET(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vnet [NAME-OR-ID]",
		Short: "List the virtual networks, or select the one of new connections",
		Long: `Without an argument: lists the virtual networks. With a name or an ID: selects the
virtual network of new connections. Connections that are open stay where they are.

To reach a target in another virtual network once, there is no need to switch:
write its name as HOSTNAME.VNET, or give --vnet. WARP_VNET chooses it for one shell.`,
		Example: `  warp-cli vnet
  warp-cli vnet a1net`,
		Args:              args(0, 1, "[NAME-OR-ID]"),
		ValidArgsFunction: a.completeVNET,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.vnetList(cmd.Context())
			}
			return a.vnetSelect(cmd.Context(), args[0])
		},
	}
	cmd.AddCommand(
		leaf(help{
			"list", "List the virtual networks",
			`Lists the virtual networks that are there for you, and which one new connections use.`,
			`  warp-cli vnet list`,
		}, 0, 0, func(cmd *cobra.Command, _ []string) error { return a.vnetList(cmd.Context()) }),
		a.withVNETs(leaf(help{
			"select NAME-OR-ID", "Select the virtual network of new connections",
			`Selects the virtual network of new connections. Open ones stay where they are.`,
			`  warp-cli vnet select a1net`,
		}, 1, 1, func(cmd *cobra.Command, args []string) error { return a.vnetSelect(cmd.Context(), args[0]) })),
		a.withVNETs(leaf(help{
			"show [NAME-OR-ID]", "Show one virtual network",
			`Shows a virtual network; without an argument the one of new connections in this shell: WARP_VNET
if that is set, else the selected one.`,
			`  warp-cli vnet show
  warp-cli vnet show b1net`,
		}, 0, 1, func(cmd *cobra.Command, args []string) error { return a.vnetShow(cmd.Context(), args) })))
	return cmd
}

func (a *app) withVNETs(cmd *cobra.Command) *cobra.Command {
	cmd.ValidArgsFunction = a.completeVNET
	return cmd
}

// oneVNET is the JSON of a single virtual network.
type oneVNET struct {
	SchemaVersion int `json:"schema_version"`
	localapi.VNET
}

func (a *app) vnetShow(ctx context.Context, args []string) error {
	ref := a.cfg.Getenv("WARP_VNET")
	if len(args) > 0 {
		ref = args[0]
		if err := checkWord("virtual network", ref); err != nil {
			return err
		}
	}
	l, err := a.client().VNETs(ctx)
	if err != nil {
		return err
	}
	for _, v := range l.VNETs {
		if ref == "" && v.Selected || ref != "" && (strings.EqualFold(v.Name, ref) || strings.EqualFold(v.ID, ref)) {
			return a.print(oneVNET{localapi.SchemaVersion, v}, func(w io.Writer, _ render.Style) error { return render.VNET(w, &v) })
		}
	}
	if ref == "" {
		return &client.Error{Code: localapi.CodeUnknownVNET, Message: "no virtual network is selected"}
	}
	return &client.Error{Code: localapi.CodeUnknownVNET, Message: "there is no virtual network " + quoteWord(ref)}
}

func (a *app) vnetList(ctx context.Context) error {
	l, err := a.client().VNETs(ctx)
	if err != nil {
		return err
	}
	if l.VNETs == nil {
		l.VNETs = []localapi.VNET{}
	}
	if len(l.VNETs) == 0 && !a.json {
		a.note("no virtual network has been given to you")
		return nil
	}
	if v := a.cfg.Getenv("WARP_VNET"); v != "" {
		a.note("WARP_VNET is set: new connections of this shell use virtual network %s", render.Clean(v))
	}
	return a.print(l, func(w io.Writer, _ render.Style) error { return render.VNETs(w, l) })
}

func (a *app) vnetSelect(ctx context.Context, nameOrID string) error {
	if err := checkWord("virtual network", nameOrID); err != nil {
		return err
	}
	l, err := a.client().SelectVNET(ctx, nameOrID)
	if err != nil {
		return err
	}
	return a.print(l, func(w io.Writer, st render.Style) error {
		for _, v := range l.VNETs {
			if v.Selected {
				return success(w, st, "New connections use virtual network "+st.Clean(v.Name)+"; open ones stay where they are")
			}
		}
		return success(w, st, "New connections use virtual network "+nameOrID)
	})
}
