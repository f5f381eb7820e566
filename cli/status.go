package cli

import (
	"io"

	"github.com/spf13/cobra"

	"weft/cli/render"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show whether this device is connected, and why not",
		Long: `Shows the state of the agent. The exit code is 0 whenever the agent answered,
connected or not; scripts read "state" with --json.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.client().Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(s, func(w io.Writer, st render.Style) error { return render.Status(w, st, s) })
		},
	}
}
