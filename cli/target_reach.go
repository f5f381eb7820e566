package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// Limits of --reachable: each row is a connection through the tunnel that the gateway decides about and records.
const (
	maxReachRows = 1000
	reachAtOnce  = 16
	reachTimeout = 5 * time.Second
)

// The values of --reachable.
const (
	reachNone = ""
	reachOnly = "only" // those that answer
	reachAll  = "all"  // all, and why not
)

func checkReachable(value string) error {
	switch value {
	case reachNone, reachOnly, reachAll:
		return nil
	}
	return usageErrorHint("--reachable lists those that answer; --reachable=all lists all, and why not", "--reachable %q is neither only nor all", value)
}

// tryRows opens a connection to every row's target through the tunnel, closes it without a byte, and keeps the result
// in the row. It fails altogether when what it would find out is about the agent and not about the targets.
func tryRows(ctx context.Context, c *client.Client, rows []render.Row) error {
	if len(rows) > maxReachRows {
		return usageErrorHint("narrow the list with filters, such as --vnet or --hostname",
			"--reachable would open %d connections; the most is %d", len(rows), maxReachRows)
	}
	if len(rows) == 0 {
		return nil
	}
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if s.State != localapi.Connected {
		return &client.Error{
			Code: localapi.CodeNotConnected,
			Message: fmt.Sprintf("--reachable tries every target through the tunnel, and the agent is not connected: %s",
				render.ReasonText(s)),
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan *render.Row)
	var workers sync.WaitGroup
	for range min(reachAtOnce, len(rows)) {
		workers.Go(func() {
			for row := range next {
				if err := tryRow(ctx, c, row); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range rows {
		select {
		case next <- &rows[i]:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}

// tryRow tries the target's addresses until one answers. Its error is about the agent.
func tryRow(ctx context.Context, c *client.Client, row *render.Row) error {
	row.Reachability = &render.Reachability{Code: localapi.CodeUnreachable, Message: "the target has no address"}
	if row.Protocol == "UDP" {
		row.Reachability = &render.Reachability{Code: "not_tried", Message: "UDP has no connection to open"}
		return nil
	}
	for _, ad := range row.Addresses {
		begin := time.Now()
		err := tryAddress(ctx, c, localapi.Dial{Name: ad.IP, Port: row.Port, VNET: ad.VNETID})
		if err == nil {
			row.Reachability = &render.Reachability{Reachable: true, LatencyMS: float64(time.Since(begin).Microseconds()) / 1000}
			return nil
		}
		e, ok := errors.AsType[*client.Error](err)
		if !ok || !slices.Contains(aboutTarget, e.Code) {
			return err
		}
		row.Reachability = &render.Reachability{Code: e.Code, Message: e.Message}
	}
	return nil
}

// aboutTarget are the codes of failures that tell something about the target; all others are about the agent.
var aboutTarget = []string{
	localapi.CodeRefused, localapi.CodeProhibited, localapi.CodeUnreachable, localapi.CodeTimeout, localapi.CodeUnknownVNET, localapi.CodeUnknownTarget,
}

func tryAddress(ctx context.Context, c *client.Client, d localapi.Dial) error {
	dctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	s, err := c.Dial(dctx, d)
	if err != nil {
		if ctx.Err() == nil && errors.Is(dctx.Err(), context.DeadlineExceeded) {
			return &client.Error{Code: localapi.CodeTimeout, Message: fmt.Sprintf("no answer within %s", reachTimeout)}
		}
		return err
	}
	return s.Close()
}

// keepReachable drops the rows that did not answer, and returns how many.
func keepReachable(l *render.List) int {
	before := len(l.Targets)
	l.Targets = slices.DeleteFunc(l.Targets, func(r render.Row) bool { return r.Reachability == nil || !r.Reachability.Reachable })
	return before - len(l.Targets)
}
