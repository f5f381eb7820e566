package access

import (
	"math/bits"
	"slices"

	"weft/vnet"
)

// Evaluate decides. A nil snapshot, identity or device denies. It allocates
// nothing, keeps nothing of q, and its cost does not grow with the number of
// targets. The package documentation specifies the order.
func Evaluate(s *Snapshot, q Query) Decision {
	d := Decision{Revision: s.Revision()}
	if d.Reason = admit(s, q.Identity, q.Device); d.Reason != Allowed {
		return d
	}
	if !q.Device.mayUse(q.VNET) {
		d.Reason = VNETNotPermitted
		return d
	}
	cov, reason := s.locate(&d, q)
	if d.NetworkRule = s.network.first(q, reason == Allowed); d.NetworkRule.blocks() {
		d.Reason = NetworkBlocked
		return d
	}
	if reason != Allowed {
		d.Reason = reason
		return d
	}
	sub := s.subject(q.Identity, q.Device)
	v := s.decide(cov, &sub, q.Login)
	d.Reason = v.reason()
	d.Allow = d.Reason == Allowed
	d.Application = cov.apps[0]
	if v.policy >= 0 {
		d.Policy = s.policies[v.policy].source
		d.Application = cov.application(s.policies[v.policy].app)
	}
	return d
}

// admit checks that there is somebody to decide about.
func admit(s *Snapshot, id *Identity, dev *Device) Reason {
	switch {
	case s == nil:
		return NoSnapshot
	case id == nil || id.UserID == "" && id.ServiceToken == "":
		return IdentityUnknown
	case id.Revoked:
		return IdentityRevoked
	case dev == nil || dev.ID == "":
		return DeviceUnknown
	case dev.Revoked:
		return DeviceRevoked
	}
	return Allowed
}

// mayUse reports whether the device may use a virtual network.
func (d *Device) mayUse(n vnet.ID) bool { return d.Networks == nil || slices.Contains(d.Networks, n) }

// locate finds the target at q's destination and what covers it there.
func (s *Snapshot) locate(d *Decision, q Query) (*cover, Reason) {
	i, ok := s.index.Position(q.VNET, q.Destination.Addr())
	if !ok {
		return nil, NoTarget
	}
	d.Target = s.index.Get(i)
	cov := s.ports[i].at(q.Destination.Port())
	if cov == nil || !cov.protocol.Carries(q.Transport) {
		return nil, NoApplication
	}
	d.Protocol = cov.protocol
	return cov, Allowed
}

// application returns the application with an ordinal, which is in c.
func (c *cover) application(ordinal int32) *Application {
	n := 0
	for i, w := range c.member {
		if int32(i) == ordinal>>6 {
			return c.apps[n+bits.OnesCount64(w&(1<<(ordinal&63)-1))]
		}
		n += bits.OnesCount64(w)
	}
	return nil // not reached
}

// verdict is how far an identity got with a policy, from worst to best.
type verdict uint8

const (
	notIncluded verdict = iota
	excluded
	requireMissing
	wrongLogin
	granted
)

// outcome is the best verdict and the first policy that gave it, -1 for none.
type outcome struct {
	verdict verdict
	policy  int32
}

func (o outcome) reason() Reason {
	switch o.verdict {
	case granted:
		return Allowed
	case wrongLogin:
		return LoginNotPermitted
	case requireMissing:
		return RequireMissing
	case excluded:
		return Excluded
	case notIncluded:
	}
	return NoPolicy
}

// add takes the verdict of a policy into account, in whatever order they come.
func (o *outcome) add(v verdict, policy int32) {
	if v > o.verdict || v == o.verdict && v != notIncluded && policy < o.policy {
		*o = outcome{v, policy}
	}
}

// few is the number of policies up to which looking at each is cheaper than
// asking the index which of them could match.
const few = 4

// decide evaluates the policies of c. Only those whose include list matches have
// a say; when there are many, the index finds them by what the subject is.
func (s *Snapshot) decide(c *cover, sub *subject, login string) outcome {
	best := outcome{policy: -1}
	if len(c.policies) <= few {
		s.decideEach(c, c.policies, sub, login, &best)
		return best
	}
	s.decideEach(c, c.grouped, sub, login, &best)
	settled := !s.byKey.each(sub, func(list *[]int32) bool { return s.decideFound(c, *list, sub, login, &best) })
	if !settled {
		s.byNet.each(sub.source, func(list []int32) bool { return s.decideFound(c, list, sub, login, &best) })
	}
	return best
}

// decideFound evaluates those of list that are c's. When list is longer than c's
// own it evaluates c's instead, which settles everything; it then returns false.
func (s *Snapshot) decideFound(c *cover, list []int32, sub *subject, login string, best *outcome) bool {
	if len(list) > len(c.policies) {
		s.decideEach(c, c.policies, sub, login, best)
		return false
	}
	s.decideEach(c, list, sub, login, best)
	return true
}

// decideEach evaluates the policies of a list of ordinals, which ascends, until
// one grants: none behind it can be better.
func (s *Snapshot) decideEach(c *cover, list []int32, sub *subject, login string, best *outcome) {
	for _, n := range list {
		if best.verdict == granted && n >= best.policy {
			return
		}
		p := &s.policies[n]
		if c.has(p.app) {
			best.add(p.decide(c, sub, login), n)
		}
	}
}

// decide evaluates one policy.
func (p *policy) decide(c *cover, sub *subject, login string) verdict {
	switch {
	case p.include.any(sub) != yes:
		return notIncluded
	case p.exclude.any(sub) != no:
		return excluded
	case all(p.require, sub) != yes:
		return requireMissing
	case !p.permits(c, sub, login):
		return wrongLogin
	}
	return granted
}

// permits reports whether a policy that matches grants the login. Asked without
// one, an SSH policy must grant at least one UNIX user; a relayed protocol has no
// logins to grant.
func (p *policy) permits(c *cover, sub *subject, login string) bool {
	if !c.protocol.Terminated() {
		return login == ""
	}
	local := ""
	if p.alias {
		local = aliasLocal(sub.id.Email)
	}
	if login == "" {
		return len(p.login) > 0 || local != ""
	}
	if _, ok := p.login[login]; ok {
		return true
	}
	return local != "" && isLowerOf(login, local)
}
