package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/cli/render"
)

func newVNET(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vnet [NAME-OR-ID]",
		Short: "List the virtual networks, or select the one of new connections",
		Long: `Without an argument: lists the virtual networks. With a name or an ID: selects the
virtual network of new connections. Connections that are open stay where they are.

To reach a target in another virtual network once, there is no need to switch:
write its name as HOSTNAME.VNET, or give --vnet.`,
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
		&cobra.Command{
			Use:   "list",
			Short: "List the virtual networks",
			Args:  args(0, 0, ""),
			RunE:  func(cmd *cobra.Command, _ []string) error { return a.vnetList(cmd.Context()) },
		},
		&cobra.Command{
			Use:               "select NAME-OR-ID",
			Short:             "Select the virtual network of new connections",
			Args:              args(1, 1, "NAME-OR-ID"),
			ValidArgsFunction: a.completeVNET,
			RunE:              func(cmd *cobra.Command, args []string) error { return a.vnetSelect(cmd.Context(), args[0]) },
		})
	return cmd
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
