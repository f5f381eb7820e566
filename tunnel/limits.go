package tunnel

// Limits bound what peers can drive; zero fields mean documented defaults.
//
// A source is a peer: flows from every tunnel address of one peer count
// together, so that a peer cannot multiply its share by using more of its
// addresses. A source address that belongs to no known peer counts by itself.
type Limits struct {
	// MaxDialsInFlight bounds TCP requests not yet accepted or rejected; 0 means 4096.
	MaxDialsInFlight int
	// MaxDialsPerSource bounds the same for one source; 0 means a quarter of MaxDialsInFlight.
	MaxDialsPerSource int
	// MaxFlowsPerSource bounds open flows (TCP and UDP) of one source; 0 means 4096.
	MaxFlowsPerSource int
	// MaxFlows bounds open flows of all sources; 0 means 65536.
	MaxFlows int
	// MaxQueueBytes bounds packets that wait for WireGuard; 0 means 64 MiB.
	MaxQueueBytes int
}

func (l Limits) withDefaults() Limits {
	l.MaxDialsInFlight = orDefault(l.MaxDialsInFlight, 4096)
	l.MaxDialsPerSource = orDefault(l.MaxDialsPerSource, max(1, l.MaxDialsInFlight/4))
	l.MaxFlowsPerSource = orDefault(l.MaxFlowsPerSource, 4096)
	l.MaxFlows = orDefault(l.MaxFlows, 65536)
	l.MaxQueueBytes = orDefault(l.MaxQueueBytes, 64<<20)
	return l
}

// forClient lifts the share of a source: a client end opens its flows itself.
func (l Limits) forClient() Limits {
	l.MaxFlowsPerSource = l.MaxFlows
	return l
}

func orDefault(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}
