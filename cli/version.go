package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/cli/render"
)

// versions is what `version` prints.
type versions struct {
	SchemaVersion int               `json:"schema_version"`
	Client        localapi.Version  `json:"client"`
	Agent         *localapi.Version `json:"agent"` // null with --client
}

func newVersion(a *app) *cobra.Command {
	var clientOnly bool
	cmd := leaf(help{
		"version", "Show the versions of warp-cli and of the agent, and compare them",
		`Shows the versions of warp-cli and of the agent that it talks to, and says on stderr when they
differ: both should be of one release.`,
		`  warp-cli version
  warp-cli version --client`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error { return a.version(cmd.Context(), clientOnly) })
	cmd.Flags().BoolVar(&clientOnly, "client", false, "do not ask the agent")
	return cmd
}

func (a *app) version(ctx context.Context, clientOnly bool) error {
	v := versions{
		SchemaVersion: localapi.SchemaVersion,
		Client: localapi.Version{
			SchemaVersion: localapi.SchemaVersion,
			Version:       a.cfg.Version, OS: runtime.GOOS, Arch: runtime.GOARCH,
		},
	}
	if !clientOnly {
		var err error
		if v.Agent, err = a.client().Version(ctx); err != nil {
			return err
		}
	}
	if v.Agent != nil && v.Agent.Version != v.Client.Version {
		a.note("warp-cli is %s and the agent %s; install both of one release and start the agent again", v.Client.Version, render.Clean(v.Agent.Version))
	}
	return a.print(v, func(w io.Writer, _ render.Style) error {
		_, err := fmt.Fprintf(w, "warp-cli %s %s/%s\n", v.Client.Version, v.Client.OS, v.Client.Arch)
		if err == nil && v.Agent != nil {
			_, err = fmt.Fprintf(w, "warp-svc %s %s/%s\n", render.Clean(v.Agent.Version), render.Clean(v.Agent.OS), render.Clean(v.Agent.Arch))
		}
		return err
	})
}
