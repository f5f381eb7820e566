// Command warp-svc is the agent's daemon. See package weft/agent.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"weft/agent"
	"weft/agent/host"
	"weft/agent/proxy"
	"weft/internal/kind"
	"weft/internal/localsock"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := root().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "warp-svc:", err)
	if e, ok := errors.AsType[*kind.Error](err); ok && e.Hint != "" {
		fmt.Fprintln(os.Stderr, e.Hint)
	}
	return exitCode(err)
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use: "warp-svc", Short: "The agent: keeps this device's tunnel and serves warp-cli and proxies",
		SilenceErrors: true, SilenceUsage: true, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return kind.New(kind.Invalid, "%s", err).WithHint("see warp-svc run --help")
	})
	c.AddCommand(runCommand(), &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "warp-svc", programVersion())
			return err
		},
	})
	return c
}

func noArgs(c *cobra.Command, args []string) error {
	if err := cobra.NoArgs(c, args); err != nil {
		return kind.New(kind.Invalid, "%s", err).WithHint("see %s --help", c.CommandPath())
	}
	return nil
}

func runCommand() *cobra.Command {
	var cfg agent.Config
	var maxSessions int
	var verbose bool
	c := &cobra.Command{
		Use: "run", Short: "Run the agent until SIGTERM or SIGINT", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			cfg.Version = programVersion()
			cfg.Logger = slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			h, err := host.New(host.Config{Agent: cfg, MaxSessions: maxSessions})
			if err != nil {
				return err
			}
			return h.Run(c.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&cfg.StateDir, "state-dir", "", "keep state here (default: /var/lib/weft for root, else $XDG_STATE_HOME/weft)")
	f.StringVar(&cfg.Socket, "socket", "", "serve warp-cli here (default: $"+localsock.EnvSocket+", or "+localsock.ListenPath()+")")
	f.StringVar(&cfg.ProxyListen, "proxy-listen", proxy.DefaultListen, "serve SOCKS5 and HTTP CONNECT here; \"off\": nowhere")
	f.BoolVar(&cfg.AllowRemoteProxy, "proxy-allow-remote", false, "let --proxy-listen be other than loopback: whoever reaches it uses your access")
	f.BoolVar(&cfg.ProxyAllUsers, "proxy-all-users", false, "let every user of this machine use the proxy, not only those who may operate the agent")
	f.IntVar(&maxSessions, "max-sessions", host.DefaultMaxSessions, "run at most this many sessions, one for each profile of each user of this machine")
	f.BoolVarP(&verbose, "verbose", "v", false, "log each flow")
	return c
}
