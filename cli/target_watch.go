package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
	"weft/internal/kind"
)

// watchOptions is what `target list --watch` was asked for.
type watchOptions struct {
	query   client.Query
	out     *output
	order   sortOrder
	execute string
}

// How long a watcher waits for an agent that has gone.
const (
	watchRetryLeast = 200 * time.Millisecond
	watchRetryMost  = 5 * time.Second
)

// delta is one line of the stream: "added", "changed" or "removed".
type delta struct {
	Type          string     `json:"type"`
	SchemaVersion int        `json:"schema_version"`
	Revision      uint64     `json:"revision"`
	Target        render.Row `json:"target"`
}

// snapshot is its first line.
type snapshot struct {
	Type string `json:"type"`
	render.List
}

// viewer shows what a watcher finds.
type viewer interface {
	// show is called with the whole list and how it differs from the last one; the first time with no deltas.
	show(l *render.List, deltas []delta) error
	// redraw is called when the terminal's size changed.
	redraw() error
}

// watchTargets shows the list and every change of it until it is interrupted, or nobody reads any longer.
func (a *app) watchTargets(ctx context.Context, c *client.Client, o *watchOptions) error {
	w := &watcher{a: a, c: c, o: o, updates: make(chan *render.List)}
	var err error
	if w.hook, err = parseHook(o.execute); err != nil {
		return err
	}
	out, isFile := a.cfg.Stdout.(*os.File)
	terminal := isFile && isTerminal(out) && o.out.form != outputJSON && o.out.form != outputJSONL
	switch {
	case terminal:
		w.view = &screen{w: out, out: o.out}
	case o.out.form == outputWide:
		return usageErrorHint("leave out --output, or list once without --watch", "--watch writes JSON lines when its output is no terminal")
	default:
		w.view = &lines{w: a.cfg.Stdout}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel(nil)
	if isFile && !terminal {
		// Nothing may change for hours: a reader that has gone must not leave us behind.
		waiting.Go(func() {
			waitForReaderGone(ctx, out)
			cancel(errReaderGone)
		})
	}
	return w.run(ctx, cancel)
}

// errReaderGone ends a watcher whose output nobody reads any longer.
var errReaderGone = errors.New("the reader of the output has gone")

// watcher follows the list.
type watcher struct {
	a       *app
	c       *client.Client
	o       *watchOptions
	view    viewer
	hook    []*rowTemplate
	updates chan *render.List
	last    map[string]string // rows as JSON, by rowKey; nil before the first list
	rows    map[string]render.Row
}

func (w *watcher) run(ctx context.Context, cancel context.CancelCauseFunc) error {
	done := make(chan error, 1)
	go func() { done <- w.follow(ctx) }()
	resized, stop := notifyResize()
	defer stop()
	for {
		var err error
		select {
		case l := <-w.updates:
			err = w.update(ctx, l)
		case <-resized:
			err = w.view.redraw()
		case err = <-done:
			return w.ending(ctx, err)
		}
		if err != nil {
			cancel(err)
			return w.ending(ctx, errors.Join(err, ignoreCancelled(<-done)))
		}
	}
}

// ignoreCancelled drops what follows from the end of the context alone.
func ignoreCancelled(err error) error {
	e, ok := errors.AsType[*client.Error](err)
	if errors.Is(err, context.Canceled) || ok && e.Code == client.CodeCancelled {
		return nil
	}
	return err
}

// ending says how the command ends: an interrupt is told by the exit code alone, and a reader who has seen
// enough is no failure.
func (w *watcher) ending(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errReaderGone), isGone(err), isGone(cause):
		return nil
	case errors.Is(cause, context.Canceled):
		return exitStatus(exitInterrupted)
	}
	return err
}

// follow sends every list to updates until ctx ends. An agent that cannot be reached at the start is an error;
// one that goes away later is waited for.
func (w *watcher) follow(ctx context.Context) error {
	wait := watchRetryLeast
	for known := false; ; {
		err := w.stream(ctx, func() {
			if known && wait > watchRetryLeast {
				w.a.note("the agent is back")
			}
			known, wait = true, watchRetryLeast
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !known || !isPassing(err) {
			return err
		}
		if wait == watchRetryLeast {
			w.a.note("the agent has gone (%v); waiting for it", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, watchRetryMost)
	}
}

// isPassing reports whether err may be over when the agent was started again.
func isPassing(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case client.CodeAgentMissing, client.CodeAgentNotRunning, client.CodeAgentGone, client.CodeAgentSilent, string(kind.Unavailable):
		return true
	}
	return false
}

// stream follows one event stream to its end. The events say when to ask: the list is asked for with
// the filter, which the agent applies. heard is called with each list that came.
func (w *watcher) stream(ctx context.Context, heard func()) error {
	events, err := w.c.Changes(ctx)
	if err != nil {
		return err
	}
	defer events.Close()
	control := true
	for {
		ev, err := events.Next()
		if err != nil {
			return err
		}
		if s := ev.Status; s != nil && s.ControlConnected != control {
			control = s.ControlConnected
			if control {
				w.a.note("the control plane is heard again")
			} else {
				w.a.note("the control plane is not being heard; the list is %s old", render.Age(s.StateAgeSeconds))
			}
		}
		if ev.Targets == nil {
			continue
		}
		l, err := w.c.Targets(ctx, w.o.query)
		if err != nil {
			return err
		}
		heard()
		list := listOf(l)
		w.o.order.apply(list.Targets)
		select {
		case w.updates <- list:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// update shows a list and runs the hook for what changed.
func (w *watcher) update(ctx context.Context, l *render.List) error {
	first := w.last == nil
	deltas, err := w.compare(l)
	if err != nil {
		return err
	}
	if !first && len(deltas) == 0 {
		return nil
	}
	if err := w.view.show(l, deltas); err != nil {
		return err
	}
	for i := range deltas {
		if err := w.runHook(ctx, &deltas[i]); err != nil {
			return err
		}
	}
	return nil
}

// rowKey tells rows apart: a target at a port with a protocol.
func rowKey(r *render.Row) string { return fmt.Sprintf("%s %d %s", r.ID, r.Port, r.Protocol) }

// compare returns how l differs from the list before: what is there in its order, then what has gone.
func (w *watcher) compare(l *render.List) ([]delta, error) {
	before, rows := w.last, w.rows
	w.last, w.rows = make(map[string]string, len(l.Targets)), make(map[string]render.Row, len(l.Targets))
	var deltas []delta
	add := func(kind string, r render.Row) {
		if before != nil {
			deltas = append(deltas, delta{Type: kind, SchemaVersion: localapi.SchemaVersion, Revision: l.Revision, Target: r})
		}
	}
	for i := range l.Targets {
		r := &l.Targets[i]
		data, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("compare target %s: %w", r.ID, err)
		}
		key := rowKey(r)
		w.last[key], w.rows[key] = string(data), *r
		switch old, known := before[key]; {
		case !known:
			add("added", *r)
		case old != string(data):
			add("changed", *r)
		}
	}
	var gone []render.Row
	for key := range before {
		if _, there := w.last[key]; !there {
			gone = append(gone, rows[key])
		}
	}
	sortByKey(gone)
	for _, r := range gone {
		add("removed", r)
	}
	return deltas, nil
}

// parseHook reads --exec: words, each a template.
func parseHook(command string) ([]*rowTemplate, error) {
	if command == "" {
		return nil, nil
	}
	words, err := splitWords(command)
	if err != nil || len(words) == 0 {
		return nil, usageErrorHint("for example: --exec 'notify-send {{.type}} {{.target.hostname}}'", "--exec %q cannot be split into words", command)
	}
	var hook []*rowTemplate
	for _, word := range words {
		t, err := newRowTemplate("--exec", word, []string{"type", "revision", "target"})
		if err != nil {
			return nil, err
		}
		hook = append(hook, t)
	}
	return hook, nil
}

// runHook runs the command for one change: no shell, so that no name can be more than one word of it. What it prints goes
// to stderr, and its failure is told and changes nothing.
func (w *watcher) runHook(ctx context.Context, d *delta) error {
	if w.hook == nil {
		return nil
	}
	data := map[string]any{"type": d.Type, "revision": d.Revision, "target": fields(&d.Target)}
	argv := make([]string, len(w.hook))
	for i, t := range w.hook {
		var err error
		if argv[i], err = t.text(data); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = w.a.cfg.Stderr, w.a.cfg.Stderr
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		w.a.note("%s: %v", strings.Join(argv, " "), err)
	}
	return nil
}

// lines writes a snapshot, then each change, as JSON objects on lines of their own.
type lines struct {
	w       io.Writer
	started bool
}

func (v *lines) show(l *render.List, deltas []delta) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if !v.started {
		v.started = true
		if err := enc.Encode(snapshot{"snapshot", *l}); err != nil {
			return fmt.Errorf("encode snapshot: %w", err)
		}
	}
	for i := range deltas {
		if err := enc.Encode(&deltas[i]); err != nil {
			return fmt.Errorf("encode change: %w", err)
		}
	}
	if _, err := v.w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write changes: %w", err)
	}
	return nil
}

func (v *lines) redraw() error { return nil }
