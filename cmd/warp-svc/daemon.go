package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"weft/agent"
	"weft/agent/host"
	"weft/agent/localapi/client"
	"weft/internal/kind"
	"weft/internal/localsock"
	"weft/internal/logfile"
	"weft/internal/sdnotify"
)

// daemon is the agents of a machine with what a service manager expects of a process.
type daemon struct {
	cfg agent.Config
	// maxSessions and system are host.Config's.
	maxSessions int
	system      bool

	log     logfile.Config
	verbose bool
	stderr  io.Writer
}

// run serves until ctx ends or, where Windows' service control manager started the
// process, until that asks for the end.
func (d *daemon) run(ctx context.Context) (err error) {
	out, reopen := d.stderr, func() error { return nil }
	if d.log.Path != "" {
		if d.log.Keep == 0 {
			d.log.Keep = -1
		}
		w, oerr := logfile.New(d.log)
		if oerr != nil {
			return kind.New(kind.Denied, "the log file %s cannot be written", d.log.Path).WithCause(oerr)
		}
		defer func() { err = errors.Join(err, w.Close()) }()
		out, reopen = w, w.Reopen
	}
	level := slog.LevelInfo
	if d.verbose {
		level = slog.LevelDebug
	}
	d.cfg.Logger = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
	return d.underManager(ctx, func(ctx context.Context, ready func()) error {
		err := d.serve(ctx, reopen, ready)
		if err != nil && d.log.Path != "" {
			d.cfg.Logger.ErrorContext(ctx, "agent ended", "error", err)
		}
		return err
	})
}

// serve runs the agent and keeps systemd, where it listens, informed; ready is called once it serves.
func (d *daemon) serve(ctx context.Context, reopen func() error, ready func()) error {
	n := sdnotify.FromEnv(os.Getenv, os.Getpid())
	if err := d.takeSocket(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // before the wait
	var h *host.Host
	cfg := d.cfg
	cfg.OnReady = func(r agent.Ready) {
		s := supervisor{notifier: n, host: h, log: cfg.Logger, socket: r.Socket, reopen: reopen}
		watch := s.onReload()
		wg.Go(func() { watch(ctx) })
		ready()
		if !n.Enabled() {
			return
		}
		wg.Go(func() { s.tell(ctx) })
		wg.Go(func() { n.KeepAlive(ctx, s.alive, s.failed(ctx)) })
	}
	h, err := host.New(host.Config{Agent: cfg, MaxSessions: d.maxSessions, System: d.system})
	if err != nil {
		return err
	}
	return h.Run(ctx)
}

// takeSocket takes over the socket of the local API when the service manager has opened it.
func (d *daemon) takeSocket() error {
	ls, err := sdnotify.Sockets(os.Getenv, os.Unsetenv, os.Getpid())
	if err != nil || len(ls) == 0 {
		return err
	}
	if len(ls) > 1 {
		for _, l := range ls {
			err = errors.Join(err, l.Close())
		}
		return errors.Join(kind.New(kind.Invalid, "%d sockets were passed; the agent has one", len(ls)), err)
	}
	d.cfg.Listener, err = localsock.Inherited(ls[0], d.cfg.Socket)
	return err
}

// supervisor speaks to the service manager for a running agent.
type supervisor struct {
	notifier sdnotify.Notifier
	host     *host.Host
	log      *slog.Logger
	socket   string
	reopen   func() error
}

// alive asks the main loop, and the local API as a program would.
func (s *supervisor) alive(ctx context.Context) error {
	if err := s.host.Alive(ctx); err != nil {
		return err
	}
	_, err := client.New(s.socket).Version(ctx)
	return err
}

func (s *supervisor) failed(ctx context.Context) func(error) {
	return func(err error) { s.log.ErrorContext(ctx, "no sign of life to the service manager", "error", err) }
}

// statusEvery is how often the service manager is told what the agent does.
const statusEvery = 5 * time.Second

// tell says that the agent is ready, then what it does, then that it stops.
func (s *supervisor) tell(ctx context.Context) {
	last := s.host.Summary()
	s.note(ctx, s.notifier.Ready(ctx, last))
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if line := s.host.Summary(); line != last {
				s.note(ctx, s.notifier.Status(ctx, line))
				last = line
			}
		}
	}
	ctx = context.WithoutCancel(ctx)
	s.note(ctx, s.notifier.Stopping(ctx))
}

func (s *supervisor) note(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "service manager", "error", err)
	}
}
