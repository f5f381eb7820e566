package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weft/api"
	"weft/internal/kind"
	"weft/internal/sdnotify"
)

// drainable is a service that can be told to take nothing new and to end when what is live has ended.
type drainable interface {
	service
	// RunUntil runs until ctx ends; stop has it drain first.
	RunUntil(ctx context.Context, stop <-chan struct{}) error
}

// draining runs a drainable until stop ends, and then until it has drained.
type draining struct {
	drainable
	stop context.Context //nolint:containedctx // it is the signal to stop, not the life of what is run
	log  *slog.Logger
}

// How often systemd is asked for more time to stop, and for how much.
const (
	extendEvery = 5 * time.Second
	extendBy    = 30 * time.Second
)

func (d draining) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make(chan struct{})
	stop := context.AfterFunc(d.stop, func() {
		defer close(asked)
		d.askForTime(ctx)
	})
	err := d.RunUntil(ctx, d.stop.Done())
	cancel()
	if !stop() {
		<-asked
	}
	return err
}

// askForTime has systemd wait for as long as the drain takes, whatever the unit's TimeoutStopSec.
func (d draining) askForTime(ctx context.Context) {
	n := sdnotify.FromEnv(os.Getenv, os.Getpid())
	if !n.Enabled() {
		return
	}
	tick := time.NewTicker(extendEvery)
	defer tick.Stop()
	for {
		if err := errors.Join(n.Stopping(ctx), n.ExtendTimeout(ctx, extendBy), n.Status(ctx, "waiting for live sessions to end")); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "service manager", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// serveDraining is serve for a service that drains when ctx ends. A second signal ends it at once, in order; a third one
// ends the process.
func (f *serveFlags) serveDraining(ctx context.Context, s drainable, logger *slog.Logger) error {
	hard, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	release := onSecondSignal(ctx, end)
	defer release()
	return f.serve(hard, draining{s, ctx, logger}, logger)
}

// onSecondSignal calls end at the second signal to stop; by the first one ctx ends. The returned function gives the
// signals back.
func onSecondSignal(ctx context.Context, end func()) (release func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer signal.Stop(signals)
		select {
		case <-ctx.Done():
		case <-quit:
			return
		}
		for range 2 {
			select {
			case <-signals:
			case <-quit:
				return
			}
		}
		end()
	}()
	return func() {
		close(quit)
		<-done
	}
}

func newGatewayDrain() *cobra.Command {
	var (
		off, wait bool
		timeout   time.Duration
	)
	cmd := &cobra.Command{
		Use: "drain NAME|ID", Short: "Have a gateway take no new connections, or again", Args: cobra.ExactArgs(1),
		Long: `Have a gateway take no new connections, also after a restart, until --off. Those that are
live go on; users of terminals are told. Agents go to another gateway, if there is one,
as soon as nothing is open through this one. With --wait the command returns when no
session is left: then the gateway can be stopped. Associations of UDP do not count.

Exit status 8: sessions were left after --timeout; they go on.`,
	}
	cmd.Flags().BoolVar(&off, "off", false, "take connections again")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until no session is left")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait; 0: for ever")
	cmd.MarkFlagsMutuallyExclusive("off", "wait")
	return managed(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		on := !off
		var g api.GatewayInfo
		if err := c.Do(cmd.Context(), http.MethodPut, api.PathGateways+"/"+url.PathEscape(args[0])+"/drain", api.GatewayDrain{Draining: &on}, &g); err != nil {
			return fmt.Errorf("drain gateway: %w", err)
		}
		if !on {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s takes connections\n", cell(g.Name))
			return err
		}
		ctx := cmd.Context()
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return awaitDrained(ctx, cmd.OutOrStdout(), c, &g, wait)
	})
}

// awaitDrained says how many sessions are left, and with wait again when that changes, until there is none.
func awaitDrained(ctx context.Context, w io.Writer, c *api.Client, g *api.GatewayInfo, wait bool) error {
	last := -1
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		left, err := sessionsAt(ctx, c, g)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && left != last {
			if _, err := fmt.Fprintf(w, "%s takes no new connections; live sessions: %d\n", cell(g.Name), left); err != nil {
				return err
			}
			last = left
		}
		if err == nil && (left == 0 || !wait) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return kind.New(kind.Timeout, "sessions are left at %s", g.Name).WithHint("see them: weft session list --gateway %s", g.Name)
			}
			return ctx.Err()
		}
	}
}

// sessionsAt counts what a drain waits for; a gateway that has not heard of it yet has one session more than it says.
func sessionsAt(ctx context.Context, c *api.Client, g *api.GatewayInfo) (int, error) {
	var l api.Sessions
	if err := c.Do(ctx, http.MethodGet, api.PathSessions+"?limit=0&gateway="+url.QueryEscape(g.ID), nil, &l); err != nil {
		return 0, fmt.Errorf("count sessions: %w", err)
	}
	if len(l.Gateways) != 1 || !l.Gateways[0].Answered {
		return 0, kind.New(kind.Unavailable, "the gateway %s did not answer: how many sessions it has is not known", g.Name).
			WithHint("it takes no new connections once it is in contact with control; try again")
	}
	if !l.Gateways[0].Draining {
		return l.Gateways[0].Busy + 1, nil
	}
	return l.Gateways[0].Busy, nil
}

func newGatewayList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Short: "List the gateways", Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return managed(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		var all []api.GatewayInfo
		if err := c.Do(cmd.Context(), http.MethodGet, api.PathGateways, nil, &all); err != nil {
			return fmt.Errorf("list gateways: %w", err)
		}
		if asJSON {
			return writeIndented(cmd.OutOrStdout(), map[string]any{"schema_version": 1, "gateways": all})
		}
		tab := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(tab, "ID\tNAME\tVERSION\tSTATE\tENDPOINT")
		for i := range all {
			endpoint := "-"
			if len(all[i].Endpoints) > 0 {
				endpoint = all[i].Endpoints[0]
			}
			fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\n", all[i].ID, cell(all[i].Name), cell(all[i].Version), gatewayState(&all[i]), cell(endpoint))
		}
		return tab.Flush()
	})
}

func gatewayState(g *api.GatewayInfo) string {
	state := "connected"
	switch {
	case g.Version == "":
		return "never run"
	case !g.Connected:
		state = "away"
	}
	if g.Draining {
		state += ", draining"
	}
	return state
}
