package gateway

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"

	"weft/access"
	"weft/api"
	"weft/gateway/sessions"
)

// endKilled is the reason of a session that an administrator ended.
const endKilled = "killed"

// sessionParts answers with the sessions that are chosen, in parts that control takes.
func (g *Gateway) sessionParts(q *api.SessionsQuestion) []api.GatewayReply {
	limit := min(max(q.Limit, 0), api.MaxSessions)
	since := q.Since
	if q.Epoch != g.epoch {
		since = 0
	}
	d := g.table.Since(since, matcher(&q.SessionFilter), limit)
	head := api.SessionsAnswer{Epoch: g.epoch, Sequence: d.Sequence, Full: d.Full, Total: d.Total, Draining: g.draining(), Busy: g.table.Busy()}
	var parts []api.GatewayReply
	part, size := head, 0
	flush := func() {
		done := part
		parts = append(parts, api.GatewayReply{Sessions: &done})
		part, size = head, 0
	}
	room := func(s *api.Session) {
		if size += sessionBytes(s); size > api.MaxSessionPartBytes && len(parts) < api.MaxSessionParts-1 {
			flush()
			size = sessionBytes(s)
		}
	}
	for _, l := range d.Live {
		s := g.wireSession(l.Session, l.Dialling)
		room(&s)
		part.Sessions = append(part.Sessions, s)
	}
	for _, e := range d.Ended {
		s := g.wireSession(e.Session, false)
		room(&s)
		part.Ended = append(part.Ended, api.SessionEnded{Session: s, Reason: e.Reason})
	}
	flush()
	return parts
}

// sessionBytes is about how long a session is as JSON: its fixed part, and names whose characters may each be escaped.
func sessionBytes(s *api.Session) int {
	return 900 + 2*(len(s.Email)+len(s.DeviceName)+len(s.Hostname)+len(s.VNETName)+len(s.PolicyName)+len(s.Login))
}

func (g *Gateway) wireSession(s *sessions.Session, dialling bool) api.Session {
	by := s.Grant()
	w := api.Session{
		ID: s.ID, State: api.SessionOpen, Email: s.Email, UserID: s.UserID, DeviceID: s.DeviceID, DeviceName: s.DeviceName,
		TargetID: s.TargetID, Hostname: s.Hostname, VNETID: s.VNET, VNETName: s.VNETName, Source: s.Source, Destination: s.Destination,
		Protocol: s.Protocol, Transport: s.Transport, Login: s.Login(), Recorded: s.Recorded(), ApplicationID: by.Application,
		PolicyID: by.Policy, PolicyName: by.PolicyName, StartedAt: s.Start.UTC().Round(0), BytesUp: s.Counts.Up.Load(), BytesDown: s.Counts.Down.Load(),
	}
	if dialling {
		w.State = api.SessionConnecting
	}
	return w
}

// matcher chooses sessions as an api.SessionFilter says.
func matcher(f *api.SessionFilter) func(*sessions.Session) bool {
	addr, err := netip.ParseAddr(f.Target)
	byAddr := err == nil
	return func(s *sessions.Session) bool {
		return (f.User == "" || s.UserID == f.User || strings.EqualFold(s.Email, f.User)) &&
			(f.Target == "" || string(s.TargetID) == f.Target || strings.EqualFold(s.Hostname, f.Target) || byAddr && s.Destination.Addr() == addr) &&
			(f.Device == "" || s.DeviceID == f.Device || strings.EqualFold(s.DeviceName, f.Device)) &&
			(f.Protocol == "" || strings.EqualFold(string(s.Protocol), f.Protocol)) &&
			(f.Login == "" || s.Login() == f.Login)
	}
}

// kill ends one session. Its user may connect again: whoever is to stay out is revoked, or loses the policy.
func (g *Gateway) kill(ctx context.Context, q *api.KillQuestion) *api.KillAnswer {
	live, ended := g.table.Find(q.SessionID)
	if live == nil && ended == nil {
		return &api.KillAnswer{}
	}
	if live != nil {
		message := "an administrator ended this session"
		if q.Reason != "" {
			message += ": " + q.Reason
		}
		if live.Cut(&sessions.CutError{Reason: access.Reason(endKilled), Message: message, By: q.By}) {
			g.log.InfoContext(ctx, "session killed", slog.String("session_id", live.ID), slog.String("by", q.By))
			return &api.KillAnswer{Found: true, Session: g.wireSession(live, false)}
		}
		// It is ending, by an earlier kill or for another reason.
		return &api.KillAnswer{Found: true, Already: true, Session: g.wireSession(live, false)}
	}
	a := &api.KillAnswer{Found: true, Already: ended.Reason == endKilled, Session: g.wireSession(ended.Session, false)}
	if !a.Already {
		a.Ended = ended.Reason
	}
	return a
}
