package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/cli/render"
)

func newForward(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "forward", Short: "Keep local ports and sockets that lead to a target"}
	group(cmd)
	cmd.AddCommand(newForwardAdd(a), newForwardList(a), newForwardRemove(a))
	return cmd
}

func newForwardAdd(a *app) *cobra.Command {
	var in localapi.NewForward
	var udp, tcp bool
	cmd := &cobra.Command{
		Use:   "add LISTEN TARGET[:PORT]",
		Short: "Keep a local port or socket that leads to a target",
		Long: `Makes a local port or a Unix socket that leads to a target. The agent keeps it: it is
there again after a restart, until it is removed. The target is looked up at each
connection, in the virtual network that counts now; while the agent is not connected,
connections are refused at once.

LISTEN is PORT, ADDRESS:PORT or unix:PATH; port 0 takes a free one. The port of the
target may be left out when it has only one. On Linux a port on a loopback address
serves only those who may operate the agent; a socket has mode 0600.`,
		Example: `  warp-cli forward add 5432 db-1.prod
  warp-cli forward add --name cache unix:$HOME/.redis.sock redis-1:6379 --vnet staging`,
		Args:              args(2, 2, "LISTEN TARGET[:PORT]"),
		ValidArgsFunction: a.completeForwardAdd,
		RunE: func(cmd *cobra.Command, args []string) error {
			if udp && tcp {
				return usageError("give one of --tcp and --udp")
			}
			switch {
			case udp:
				in.Network = "udp"
			case tcp:
				in.Network = "tcp"
			}
			in.VNET = a.vnetOr(in.VNET)
			if in.VNET != "" {
				if err := checkWord("virtual network", in.VNET); err != nil {
					return err
				}
			}
			var err error
			if in.Listen, err = listenSpec(args[0]); err != nil {
				return err
			}
			if in.Target, in.Port, err = parseTarget(args[1]); err != nil {
				return err
			}
			return a.forwardAdd(cmd.Context(), in)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Name, "name", "", "the `name` of the forward (default: from the target)")
	f.BoolVar(&udp, "udp", false, "forward datagrams (default: what the target speaks at the port)")
	f.BoolVar(&tcp, "tcp", false, "forward connections")
	f.BoolVar(&in.AllowRemote, "allow-remote", false, "let LISTEN be other than a loopback address: whoever reaches it uses your access")
	f.BoolVar(&in.AllUsers, "all-users", false, "serve every account of this machine")
	a.vnetFlag(cmd, &in.VNET)
	return cmd
}

func newForwardList(a *app) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the forwards and what goes through them",
		Long: `Lists the forwards, by name: where each listens, where it leads, whether it works, and how
many connections are open, were accepted, and got nowhere. Other figures are in --json.
With --watch it is shown again every second until interrupted; with --json each time is
one line.`,
		Example: `  warp-cli forward list
  warp-cli forward list --watch`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.forwardWatch(cmd.Context())
			}
			return a.forwardList(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every second")
	return cmd
}

func newForwardRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a forward and end the connections through it",
		Long: `Removes a forward: its port or socket is free at once, the connections through it are
reset, and it does not come back.`,
		Example:           `  warp-cli forward remove db`,
		Args:              args(1, 1, "NAME"),
		ValidArgsFunction: a.completeForward,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.forwardRemove(cmd.Context(), args[0]) },
	}
}

func (a *app) forwardAdd(ctx context.Context, in localapi.NewForward) error {
	f, err := a.client().AddForward(ctx, in)
	if err != nil {
		return err
	}
	return a.print(f, func(w io.Writer, st render.Style) error {
		return success(w, st, "Forward "+st.Clean(f.Name)+": "+st.Clean(render.ForwardFrom(f))+" leads to "+st.Clean(render.ForwardTo(f)))
	})
}

// forwards asks for the list, which is never null.
func (a *app) forwards(ctx context.Context) (*localapi.ForwardList, error) {
	l, err := a.client().Forwards(ctx)
	if err == nil && l.Forwards == nil {
		l.Forwards = []localapi.Forward{}
	}
	return l, err
}

func (a *app) forwardWatch(ctx context.Context) error {
	return a.watchAgain(ctx, func() (any, func(io.Writer) error, error) {
		l, err := a.forwards(ctx)
		return l, func(w io.Writer) error {
			if len(l.Forwards) == 0 {
				_, err := fmt.Fprintln(w, "there is no forward")
				return err
			}
			return render.Forwards(w, l)
		}, err
	})
}

func (a *app) forwardList(ctx context.Context) error {
	l, err := a.forwards(ctx)
	if err != nil {
		return err
	}
	if len(l.Forwards) == 0 && !a.json {
		a.note("there is no forward; make one with: warp-cli forward add PORT TARGET")
		return nil
	}
	return a.print(l, func(w io.Writer, _ render.Style) error { return render.Forwards(w, l) })
}

func (a *app) forwardRemove(ctx context.Context, name string) error {
	if err := checkWord("NAME", name); err != nil {
		return err
	}
	d, err := a.client().RemoveForward(ctx, name)
	if err != nil {
		return err
	}
	return a.print(d, func(w io.Writer, st render.Style) error {
		return success(w, st, "Removed forward "+st.Clean(name))
	})
}

// completeForwardAdd completes the target; where to listen nobody knows better.
func (a *app) completeForwardAdd(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeConnect(cmd, nil, toComplete)
}

func (a *app) completeForward(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(completionContext(cmd), completionDeadline)
	defer cancel()
	l, err := a.client().Forwards(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var words []string
	for i := range l.Forwards {
		words = append(words, describeWord(l.Forwards[i].Name, render.ForwardFrom(&l.Forwards[i])))
	}
	return startingWith(words, toComplete), cobra.ShellCompDirectiveNoFileComp
}

// listenSpec makes the path of a socket absolute, since the agent has another working directory; the agent checks the rest.
func listenSpec(s string) (string, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" || runtime.GOOS == "windows" {
			return "", usageError("%q names no socket that can be made on this system", s)
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", usageError("the path of %q cannot be told: %v", s, err)
		}
		return "unix:" + abs, nil
	}
	return s, checkWord("LISTEN", s)
}

// parseTarget reads TARGET or TARGET:PORT; an IPv6 address stands in brackets when a port follows.
func parseTarget(s string) (name string, port uint16, err error) {
	name = s
	if addr, aerr := netip.ParseAddr(s); aerr != nil || !addr.Is6() {
		if host, p, serr := net.SplitHostPort(s); serr == nil {
			if port, err = parsePort("the port of TARGET", p); err != nil {
				return "", 0, err
			}
			name = host
		}
	}
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		name = name[1 : len(name)-1]
	}
	if strings.ContainsAny(name, "[]") || strings.HasPrefix(name, "-") {
		return "", 0, usageError("TARGET %q is no target's name", s)
	}
	return name, port, checkWord("TARGET", name)
}
