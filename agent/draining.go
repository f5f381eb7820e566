package agent

import (
	"context"
	"fmt"
	"time"

	"weft/api"
)

// drainLook is how often the agent looks whether it can leave a gateway that takes no new connections.
const drainLook = time.Second

// drains is 1 for a gateway that takes no new connections, which is then the last choice.
func drains(g api.AgentGateway) int {
	if g.Draining {
		return 1
	}
	return 0
}

func drainingOf(v *view) map[string]bool {
	m := make(map[string]bool)
	for _, g := range v.gateways {
		if g.Draining {
			m[g.ID] = true
		}
	}
	return m
}

// watchDraining leaves a gateway that drains for one that does not, as soon as no connection is open: those that are live and
// die with the tunnel to it. Until then it refuses new ones.
func (l *link) watchDraining(ctx context.Context) {
	look := time.NewTimer(drainLook)
	defer look.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.drainNews:
		case <-look.C:
		}
		l.mu.Lock()
		now := l.candidates[l.current]
		leave := l.drains[now.id]
		other := -1
		for i, c := range l.candidates {
			if leave && other < 0 && !l.drains[c.id] {
				other = i
			}
		}
		l.mu.Unlock()
		if !leave {
			told = ""
			continue // until there is news
		}
		look.Reset(drainLook)
		open, _, _ := l.a.flows.count()
		if told != now.id {
			told = now.id
			l.a.status.notice(noticeGatewayDraining, drainingText(now.name, open, other >= 0))
		}
		if other < 0 || open > 0 {
			continue
		}
		l.mu.Lock()
		stale := l.current >= len(l.candidates) || l.candidates[l.current] != now || other >= len(l.candidates)
		if !stale {
			l.current = other
		}
		l.mu.Unlock()
		if stale {
			continue // the candidates are others by now
		}
		l.log.InfoContext(ctx, "leave a gateway that drains", "gateway_id", now.id)
		if err := l.useChanged(ctx, true); err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "use another gateway endpoint", "error", err)
		}
	}
}

func drainingText(name string, open int, another bool) string {
	switch {
	case !another:
		return fmt.Sprintf("gateway %s takes no new connections, and there is no other", name)
	case open > 0:
		return fmt.Sprintf("gateway %s takes no new connections; the agent goes to another when those that are open have ended (%d)", name, open)
	default:
		return fmt.Sprintf("gateway %s takes no new connections; the agent goes to another", name)
	}
}
