package gateway

import (
	"weft/gateway/enforce"
	"weft/gateway/sessions"
	"weft/gateway/sshproxy"
	"weft/targets"
)

// onLive watches over the time of a session from its login on.
func (x *sshSession) onLive(l sshproxy.Live) {
	s := x.s
	c := sessions.NewClock(s.Start, l.Bytes, l.Tell, func(why *sessions.CutError) { s.Cut(why) })
	s.Bind(l, c)
	if view := x.g.view.Load(); view != nil {
		c.Set(timesOf(view, s))
	}
	x.g.tellDraining(s)
}

// setTimes gives live sessions the limits of a new state.
func (g *Gateway) setTimes(view *enforce.View) {
	for _, s := range g.table.All() {
		if c := s.Clock(); c != nil {
			c.Set(timesOf(view, s))
		}
	}
}

// timesOf are the limits of the policy that allows a login. A session that it does not allow any more is cut for that.
func timesOf(view *enforce.View, s *sessions.Session) sessions.Times {
	v := view.Decide(enforce.Flow{Source: s.Source.Addr(), Destination: s.Destination, Transport: targets.TransportTCP, Login: s.Login()})
	t := sessions.Times{Revision: view.Revision()}
	if rules := v.Decision.SSHRules(); rules != nil {
		t.Max, t.Idle, t.Policy = rules.MaxSessionDuration, rules.IdleTimeout, v.Decision.Policy.Name
	}
	return t
}
