package tunnel

import "sync/atomic"

// Stats counts what a tunnel carried and dropped.
type Stats struct {
	FlowsOpen     int64
	DialsInFlight int64
	Dropped       map[string]uint64 // by cause
	// PacketsSent and PacketsReceived count WireGuard's data messages, each of which carries a packet.
	PacketsSent, PacketsReceived uint64
}

// A dropCause names why something a peer drove was not served.
type dropCause int

const (
	dropDialLimit       dropCause = iota // TCP request over MaxDialsInFlight: ignored, the client retries
	dropDialSourceLimit                  // TCP request over MaxDialsPerSource: reset
	dropFlowLimit                        // flow over MaxFlows: reset or port unreachable
	dropFlowSourceLimit                  // flow over MaxFlowsPerSource: reset or port unreachable
	dropQueueFull                        // packet over MaxQueueBytes or over its flow's share
	dropPing                             // echo request: the stack must not answer for others
	dropMalformed                        // packet that is no IPv4 or IPv6 packet, or cannot be split
	dropUndecided                        // flow that the handler neither accepted nor rejected
	dropHandshakeFailed                  // flow that was accepted and whose client was gone
	dropICMPRateLimit                    // ICMP error not sent because of its rate limit
	dropGateTimeout                      // packets that WireGuard swallowed (no peer, no session), once per gatePackets
	dropInbound                          // packets of streams that came faster than they could be decrypted
	numDropCauses
)

var dropNames = [numDropCauses]string{
	dropDialLimit:       "dial_limit",
	dropDialSourceLimit: "dial_source_limit",
	dropFlowLimit:       "flow_limit",
	dropFlowSourceLimit: "flow_source_limit",
	dropQueueFull:       "queue_full",
	dropPing:            "ping",
	dropMalformed:       "malformed",
	dropUndecided:       "undecided",
	dropHandshakeFailed: "handshake_failed",
	dropICMPRateLimit:   "icmp_rate_limit",
	dropGateTimeout:     "gate_timeout",
	dropInbound:         "inbound_delay",
}

// drops counts by cause; safe for concurrent use.
type drops [numDropCauses]atomic.Uint64

func (d *drops) add(c dropCause) { d[c].Add(1) }

func (d *drops) snapshot() map[string]uint64 {
	m := make(map[string]uint64, numDropCauses)
	for c := range d {
		m[dropNames[c]] = d[c].Load()
	}
	return m
}
