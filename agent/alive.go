package agent

import (
	"context"
	"fmt"
)

// Alive returns nil once the agent's main loop, the one that makes and mends the tunnel,
// has answered, and an error when it did not before ctx ended: then the agent hangs, and a
// watchdog should end it. That control or the gateway do not answer is no such thing.
func (a *Agent) Alive(ctx context.Context) error {
	answered := make(chan struct{})
	select {
	case a.beats <- answered:
	case <-ctx.Done():
		return fmt.Errorf("ask the agent's main loop: %w", ctx.Err())
	}
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("hear the agent's main loop: %w", ctx.Err())
	}
}
