package gateway

import (
	"strconv"

	"weft/access"
	"weft/gateway/recording"
	"weft/gateway/sessions"
	"weft/gateway/sshproxy"
)

// endForwardRevoked ends a session that forwards what the policy of its login does not allow any more. One that
// forwards nothing of the kind goes on: what it asks for next is decided by the new rules.
const endForwardRevoked = "forwarding_revoked"

// recheckForwards holds what the session forwards to the rules of now.
func (x *sshSession) recheckForwards(now access.Decision) error {
	what := x.forwards.Uncovered(now.SSHRules())
	if what == "" {
		return nil
	}
	return &sessions.CutError{Reason: endForwardRevoked, Message: what + " is no longer allowed by the policy of this login"}
}

// recordEvent puts into the recording what its channels do not see.
func (x *sshSession) recordEvent(ev sshproxy.Event) {
	switch ev.Type {
	case sshproxy.EventRefused:
		x.recordRefusal(ev)
	case sshproxy.EventForward, sshproxy.EventForwardEnd:
		channel, err := strconv.Atoi(ev.Detail["channel"])
		if err != nil {
			channel = 0 // a listener belongs to the connection
		}
		x.rec.Event(recording.Event{
			Type: ev.Type, Channel: channel, Direction: ev.Detail["direction"], Destination: ev.Detail["destination"], Source: ev.Detail["origin"],
			Reason: ev.Detail["reason"], BytesUp: byteCount(ev.Detail["bytes_up"]), BytesDown: byteCount(ev.Detail["bytes_down"]),
		})
	}
}

func byteCount(text string) *int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil // a listener, or a beginning
	}
	return recording.Number(n)
}
