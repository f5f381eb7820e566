package cli

import (
	"context"
	"io"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

func newExplain(a *app) *cobra.Command {
	var q localapi.ExplainRequest
	cmd := &cobra.Command{
		Use:   "explain TARGET[:PORT]",
		Short: "Show step by step how you reach a target, or what is in the way",
		Long: `Walks the whole way to a target: name, target, virtual network, route, device,
identity, policy, login, connector, TCP, SSH host key and SSH login. It stops at the
first step that fails, and says why and what to do.

TARGET is a hostname, HOSTNAME.VNET, a target ID or an IP address; without a port it
is 22. With --as the gateway also logs in to the target, by a certificate, and leaves;
all that it does is on its record. While the agent is not connected, or with --offline,
what the device's own list can answer is answered from that.

The exit code is 0 when nothing is in the way, and 16 when something is.`,
		Example: `  warp-cli explain web-1:22 --as root
  warp-cli explain 10.20.0.5:5432 --vnet staging --json`,
		Args:              args(1, 1, "TARGET[:PORT] [--as USER] [--vnet VNET]"),
		ValidArgsFunction: a.completeConnect,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if q.Name, q.Port, err = parseTargetPort(args[0]); err != nil {
				return err
			}
			if cmd.Flags().Changed("as") {
				if err := checkWord("--as", q.Login); err != nil {
					return err
				}
			}
			if q.VNET = a.vnetOr(q.VNET); q.VNET != "" {
				if err := checkWord("virtual network", q.VNET); err != nil {
					return err
				}
			}
			return a.explain(cmd.Context(), q)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Login, "as", "", "also explain an SSH login as this UNIX `user`, and try it")
	f.BoolVar(&q.Offline, "offline", false, "ask nobody: answer from what this device knows")
	a.vnetFlag(cmd, &q.VNET)
	a.completeFlag(cmd, "as", a.fromTargets(addUsernames))
	return cmd
}

// parseTargetPort reads NAME:PORT, [IPv6]:PORT, or a name alone, which means port 22.
func parseTargetPort(s string) (string, uint16, error) {
	name, port := s, "22"
	if strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1 {
		var err error
		if name, port, err = net.SplitHostPort(s); err != nil {
			return "", 0, usageErrorHint("for example: warp-cli explain web-1:22", "%q is not TARGET:PORT", s)
		}
	}
	if err := checkWord("target", name); err != nil {
		return "", 0, err
	}
	n, err := parsePort("port", port)
	return name, n, err
}

func (a *app) explain(ctx context.Context, q localapi.ExplainRequest) error {
	e, err := a.client().Explain(ctx, q)
	if err != nil {
		return err
	}
	if e.Steps == nil {
		e.Steps = []localapi.ExplainStep{}
	}
	if err := a.print(e, func(w io.Writer, st render.Style) error { return render.Explanation(w, st, e) }); err != nil {
		return err
	}
	for _, s := range e.Steps {
		if s.State == localapi.StepFailed {
			return &client.Error{Code: codeFault, Message: e.Target + ": " + s.Code + ": " + s.Evidence, Hint: s.Remedy}
		}
	}
	return nil
}
