// Command warp-svc is the agent's daemon. See package weft/agent.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"weft/agent/host"
	"weft/agent/proxy"
	"weft/internal/kind"
	"weft/internal/localsock"
	"weft/internal/logfile"
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
	var d daemon
	c := &cobra.Command{
		Use: "run", Short: "Run the agent until SIGTERM or SIGINT", Args: noArgs,
		Long: `Run the agent until SIGTERM or SIGINT; under Windows' service control manager, until that says so.

It tells systemd when it serves (NOTIFY_SOCKET), gives signs of life while its main loop and its
socket answer (WATCHDOG_USEC), and takes over a socket that was opened for it (LISTEN_FDS). SIGHUP
opens the log file anew.`,
		RunE: func(c *cobra.Command, _ []string) error {
			d.cfg.Version = programVersion()
			d.stderr = c.ErrOrStderr()
			return d.run(c.Context())
		},
	}
	f, cfg := c.Flags(), &d.cfg
	f.StringVar(&cfg.StateDir, "state-dir", "", "keep state here (default: /var/lib/weft for root, else $XDG_STATE_HOME/weft)")
	f.StringVar(&cfg.Socket, "socket", "", "serve warp-cli here (default: $"+localsock.EnvSocket+", else where warp-cli looks)")
	f.StringVar(&cfg.ProxyListen, "proxy-listen", proxy.DefaultListen, "serve SOCKS5 and HTTP CONNECT here; \"off\": nowhere")
	f.BoolVar(&cfg.AllowRemoteProxy, "proxy-allow-remote", false, "let --proxy-listen be other than loopback: whoever reaches it uses your access")
	f.BoolVar(&cfg.ProxyAllUsers, "proxy-all-users", false, "let every user of this machine use the proxy, not only those who may operate the agent")
	f.IntVar(&d.maxSessions, "max-sessions", host.DefaultMaxSessions, "run at most this many sessions, one for each profile of each user of this machine")
	f.BoolVar(&d.system, "system", false, "serve every user of this machine, each with a session of their own, though the service is not privileged; root's service does so without")
	f.BoolVarP(&d.verbose, "verbose", "v", false, "log each flow")
	f.StringVar(&d.log.Path, "log-file", "", "log to this file instead of stderr")
	f.Int64Var(&d.log.MaxBytes, "log-max-bytes", logfile.DefaultMaxBytes, "begin another log file at this size")
	f.IntVar(&d.log.Keep, "log-keep", logfile.DefaultKeep, "how many older log files stay")
	return c
}
