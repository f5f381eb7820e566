package access

// Recheck decides about a session that is open: was is the decision under which
// it was opened, q the same question with what is known now of its identity and
// device. It goes on, ok, only if it is still allowed, to the same target and
// with the same protocol: a new target at an old address is another machine, and
// a flow that was relayed is not one that is terminated. The decision names the
// policy that carries the session from now on, or says why it ends.
//
// A recheck costs as much as an Evaluate and allocates nothing, so a gateway can
// go through its whole session table whenever a snapshot, an identity or a
// device changes. It should keep now in place of was, which holds on to the
// snapshot that it came from.
func Recheck(s *Snapshot, q Query, was Decision) (now Decision, ok bool) {
	now = Evaluate(s, q)
	if !now.Allow {
		return now, false
	}
	switch {
	case !was.Allow || was.Target == nil || now.Target.ID != was.Target.ID:
		now.Reason = NoTarget
	case now.Protocol != was.Protocol:
		now.Reason = NoApplication
	default:
		return now, true
	}
	now.Allow, now.Application, now.Policy = false, nil, nil
	return now, false
}
