// Package netwatch tells when the network of this machine may have changed:
// addresses, routes or links. It says nothing about what changed.
package netwatch

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	// settle lets a change complete: one roaming is a dozen events.
	settle = 300 * time.Millisecond
	// pollInterval is used where the system cannot be subscribed to.
	pollInterval = 5 * time.Second
)

// Watch calls changed, from one goroutine, after each change, until ctx ends.
func Watch(ctx context.Context, log *slog.Logger, changed func()) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	events, err := subscribe(ctx)
	if err != nil {
		log.DebugContext(ctx, "polling for network changes", "error", err)
		poll(ctx, pollInterval, Addresses, changed)
		return
	}
	coalesce(ctx, settle, events, changed)
}

// coalesce calls changed once for events that follow each other closely.
func coalesce(ctx context.Context, settle time.Duration, events <-chan struct{}, changed func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
		}
		t := time.NewTimer(settle)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		select { // what came meanwhile belongs to it
		case <-events:
		default:
		}
		changed()
	}
}

// poll calls changed when what look returns has changed.
func poll(ctx context.Context, every time.Duration, look func() string, changed func()) {
	last := look()
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if now := look(); now != last {
			last = now
			changed()
		}
	}
}

// Addresses returns the machine's addresses in a comparable form, loopback left out.
func Addresses() string {
	ifs, err := net.Interfaces()
	if err != nil {
		return ""
	}
	var all []string
	for _, i := range ifs {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface has just gone
		}
		for _, a := range addrs {
			all = append(all, i.Name+"="+a.String())
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
