package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
)

func newNC(a *app) *cobra.Command {
	var vnet, suffix string
	cmd := &cobra.Command{
		Use:   "nc HOST PORT",
		Short: "Join stdin and stdout to a port of a target",
		Long: `Opens a TCP connection to a target through the agent, and joins stdin and stdout to
it: as the ProxyCommand of ssh, scp, sftp and rsync, or by hand. The end of stdin
closes one direction only.

HOST is a hostname, HOSTNAME.VNET, a target ID or an IP address. The virtual network
is --vnet, else WARP_VNET, else the selected one.`,
		Example: `  ssh -o ProxyCommand="warp-cli nc %h %p" alice@web-1
  printf 'GET / HTTP/1.0\r\n\r\n' | warp-cli nc intranet.a1net 80`,
		Args:              args(2, 2, "HOST PORT"),
		ValidArgsFunction: a.completeHostPort,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, ok := cutNameSuffix(args[0], suffix)
			if !ok {
				return usageError("HOST %q does not end in .%s", args[0], suffix)
			}
			d, err := a.dialRequest(name, args[1], vnet)
			if err != nil {
				return err
			}
			return a.nc(cmd.Context(), d)
		},
	}
	a.vnetFlag(cmd, &vnet)
	cmd.Flags().StringVar(&suffix, "suffix", "", "take this `word` off the end of HOST, as ssh-config --suffix has it")
	return cmd
}

// vnetFlag adds --vnet, which stands above WARP_VNET.
func (a *app) vnetFlag(cmd *cobra.Command, vnet *string) {
	cmd.Flags().StringVar(vnet, "vnet", "", "virtual `network` of the target, by name or ID (environment: WARP_VNET)")
	a.completeFlag(cmd, "vnet", a.completeVNET)
}

// vnetOr returns the virtual network asked for: by flag, else by environment, else none.
func (a *app) vnetOr(flag string) string {
	if flag != "" {
		return flag
	}
	return a.cfg.Getenv("WARP_VNET")
}

func (a *app) dialRequest(name, port, vnet string) (localapi.Dial, error) {
	d := localapi.Dial{Name: name, VNET: a.vnetOr(vnet)}
	if err := checkWord("HOST", name); err != nil {
		return d, err
	}
	if d.VNET != "" {
		if err := checkWord("virtual network", d.VNET); err != nil {
			return d, err
		}
	}
	var err error
	d.Port, err = parsePort("PORT", port)
	return d, err
}

func (a *app) nc(ctx context.Context, d localapi.Dial) error {
	s, err := a.client().Dial(ctx, d)
	if err != nil {
		return err
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	err = a.bridge(ctx, s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &client.Error{Code: codeBroken, Message: "connection broken: " + err.Error(), Err: err}
	}
	return nil
}

// bridge copies both ways. Each direction ends on its own; the bridge is over
// when both have. At a terminal nobody can say that the input is over except by
// a key, so there the end of the target's output is the end. A cancelled ctx
// ends it even while a read of stdin waits, which nothing else could end.
func (a *app) bridge(ctx context.Context, s *client.Stream) error {
	sent := make(chan error, 1)
	go func() {
		_, err := s.ReadFrom(a.cfg.Stdin)
		sent <- errors.Join(err, s.CloseWrite())
	}()
	_, err := s.WriteTo(a.cfg.Stdout)
	if err != nil {
		return err
	}
	if in, ok := a.cfg.Stdin.(*os.File); ok && isTerminal(in) {
		return nil
	}
	// Whoever reads our output must learn that it is over although our input is not: an ssh client waits for that.
	if out, ok := a.cfg.Stdout.(io.Closer); ok {
		if err := out.Close(); err != nil {
			return err
		}
	}
	select {
	case err = <-sent:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err != nil && !isGone(err) {
		return err
	}
	return nil
}
