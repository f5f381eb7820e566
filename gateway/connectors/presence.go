package connectors

import (
	"time"

	"weft/vnet"
)

// Presence says how many live connectors a tunnel has. With none, left is when the last one went; zero: none has come
// since this gateway started.
func (l *Listener) Presence(t vnet.TunnelID) (live int, left time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sessions[t] {
		if s.alive() {
			live++
		}
	}
	if live == 0 && len(l.sessions[t]) > 0 {
		return 0, time.Now() // dead, and not yet taken off the list
	}
	return live, l.left[t]
}

// forgetLeft drops what is known of tunnels that are no more, so that the map is bounded by their number.
func (l *Listener) forgetLeft(keys map[vnet.TunnelID][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for t := range l.left {
		if _, ok := keys[t]; !ok {
			delete(l.left, t)
		}
	}
}
