package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"weft/access"
	"weft/gateway/audit"
	"weft/gateway/connectors"
	"weft/gateway/enforce"
	"weft/gateway/sessions"
	"weft/internal/connwire"
	"weft/targets"
	"weft/tunnel"
)

// dialTimeout bounds how long a client waits for its target. Agents wait 10 s, and it is for them to say that nobody
// answered: a refusal at the same moment would call it a missing way.
const dialTimeout = 12 * time.Second

// Reasons for which a flow ended or was refused, beside those of access and enforce.
const (
	endClosed        = "closed"            // both sides ended in order
	endReset         = "reset"             // one side, or the way between, broke
	endIdle          = "idle"              // a UDP flow without traffic
	endRefused       = "refused"           // by the target
	endUnreachable   = "unreachable"       // no way to the target
	endTimeout       = "timeout"           // the target did not answer
	endNoConnector   = "no_connector"      // no live connector of the tunnel
	endNotRouted     = "not_routed"        // the connector may not dial it
	endLimit         = "limit"             // see the limits
	endClientGone    = "client_gone"       // before its handshake was over
	endStopping      = "gateway_stop"      //
	endAuditFailed   = "audit_unavailable" // no record, no flow
	endLoginDenied   = "login_denied"      // SSH: no login was allowed
	endTargetChanged = "target_changed"    // the address now belongs to something else
	endVNETChanged   = "vnet_changed"      // the tunnel address now belongs to something else
	endRouteChanged  = "route_changed"     // the address is now routed elsewhere
	endPeerRemoved   = "device_removed"    //
	endDraining      = "gateway_draining"  // the gateway takes no new flows
)

var errStopping = &sessions.CutError{Reason: endStopping, Message: "the gateway is being stopped; connect again"}

// HandleTCP decides about a flow, dials, accepts and relays. It owns the request, and returns when the flow is over.
func (g *Gateway) HandleTCP(ctx context.Context, r *tunnel.TCPRequest) {
	f := r.Flow()
	if d, ok := g.view.Load().Probe(f.Source.Addr(), f.Destination); ok {
		g.handleExplain(ctx, r, d)
		return
	}
	v := g.decide(enforce.Flow{Source: f.Source.Addr(), Destination: f.Destination, Transport: targets.TransportTCP})
	if !v.Allow {
		g.deny(ctx, f, targets.TransportTCP, v, string(v.Reason))
		r.Reject(rejectionFor(v))
		return
	}
	if g.draining() {
		g.deny(ctx, f, targets.TransportTCP, v, endDraining)
		r.Reject(tunnel.RejectUnreachable) // nothing is forbidden, and another gateway has a way
		return
	}
	s, err := g.begin(ctx, f, targets.TransportTCP, v)
	if err != nil {
		r.Reject(rejectionOf(err))
		return
	}
	reason, err := g.serveTCP(ctx, r, s, v)
	g.finish(ctx, s, reason, err)
}

// serveTCP returns the reason for which the flow ended.
func (g *Gateway) serveTCP(ctx context.Context, r *tunnel.TCPRequest, s *sessions.Session, v enforce.Verdict) (string, error) {
	upstream, err := g.dialTCP(ctx, s)
	if err != nil {
		r.Reject(rejectionOf(err))
		return reasonOf(err), err
	}
	g.table.Dialled(s)
	client, err := r.Accept()
	if err != nil {
		upstream.Abort()
		return endClientGone, err
	}
	if v.Decision.Protocol.Terminated() {
		return g.serveSSH(ctx, s, client, upstream)
	}
	s.OnCut(func(error) {
		client.Abort()
		upstream.Abort()
	})
	if err := connwire.Relay(client, upstream, &s.Counts); err != nil {
		return endReset, err
	}
	return endClosed, nil
}

func (g *Gateway) dialTCP(ctx context.Context, s *sessions.Session) (connwire.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s.OnCut(func(error) { cancel() })
	return g.connectors.DialTCP(ctx, destination(s))
}

func destination(s *sessions.Session) connectors.Destination {
	return connectors.Destination{Tunnel: s.Tunnel, VNET: s.VNET, Addr: s.Destination}
}

// begin enters a flow in the table and on record. After it, finish must follow.
func (g *Gateway) begin(ctx context.Context, f tunnel.Flow, tr targets.Transport, v enforce.Verdict) (*sessions.Session, error) {
	s, err := g.enter(ctx, f, tr, v)
	if err != nil {
		return nil, err
	}
	return s, g.record(ctx, s)
}

// enter takes a place in the table; it does not block. record, or the table's Remove, must follow.
func (g *Gateway) enter(ctx context.Context, f tunnel.Flow, tr targets.Transport, v enforce.Verdict) (*sessions.Session, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make session ID: %w", err)
	}
	s := g.session(id.String(), f, tr, v)
	if err := g.table.Add(s); err != nil {
		g.deny(ctx, f, tr, v, endLimit)
		return nil, err
	}
	return s, nil
}

// record writes the line without which there is no flow; when it fails, s has left the table. After it, finish must follow.
func (g *Gateway) record(ctx context.Context, s *sessions.Session) error {
	if err := g.audit.Write(g.event(audit.FlowOpen, s)); err != nil {
		g.table.Remove(s)
		g.counts.deny(endAuditFailed)
		g.log.ErrorContext(ctx, "audit log not writable: flow refused", slog.Any("error", err))
		return err
	}
	// The state may have changed between the decision and the table: then the flow was not there to be cut.
	if err := keep(g.view.Load(), s); err != nil {
		s.Cut(err)
	}
	return nil
}

func (g *Gateway) session(id string, f tunnel.Flow, tr targets.Transport, v enforce.Verdict) *sessions.Session {
	s := &sessions.Session{
		ID: id, DeviceID: v.Device.ID, DeviceName: v.Device.Name, UserID: v.Device.UserID,
		VNET: v.VNET, VNETName: g.view.Load().NetworkName(v.VNET), Source: f.Source, Destination: f.Destination,
		Transport: tr, Protocol: v.Decision.Protocol, Revision: v.Decision.Revision, Tunnel: v.Route.Tunnel, Start: g.now(),
	}
	if v.Device.Identity != nil {
		s.Email = v.Device.Identity.Email
	}
	if t := v.Decision.Target; t != nil {
		s.TargetID, s.Hostname = t.ID, t.Hostname
	}
	if a := v.Decision.Application; a != nil {
		s.Application = a.ID
	}
	if p := v.Decision.Policy; p != nil {
		s.Policy, s.PolicyName = p.ID, p.Name
	}
	return s
}

// finish takes a flow off the table and puts its end on record.
func (g *Gateway) finish(ctx context.Context, s *sessions.Session, reason string, err error) {
	s.Close()
	var cut *sessions.CutError
	switch cause := s.Cause(); {
	case errors.As(cause, &cut):
		reason, err = string(cut.Reason), cause
	case cause != nil:
		err = cause
	case ctx.Err() != nil:
		reason, err = endStopping, nil
	}
	g.table.End(s, reason)
	e := g.event(audit.FlowClose, s)
	up, down := s.Counts.Up.Load(), s.Counts.Down.Load()
	took := g.now().Sub(s.Start).Milliseconds()
	e.BytesUp, e.BytesDown, e.DurationMS, e.Reason, e.Decision = &up, &down, &took, reason, ""
	if err != nil {
		e.Error = err.Error()
	}
	if cut != nil && cut.By != "" {
		e.Detail = map[string]string{"by": cut.By}
	}
	g.counts.end(reason)
	if werr := g.audit.Write(e); werr != nil {
		g.log.ErrorContext(ctx, "end of a flow not on record", slog.String("session_id", s.ID), slog.Any("error", werr))
	}
	g.log.DebugContext(ctx, "flow ended", slog.String("session_id", s.ID), slog.String("dst", s.Destination.String()),
		slog.String("reason", reason), slog.Any("error", err))
}

// keep says why a live flow may not go on under view; nil if it may.
func keep(view *enforce.View, s *sessions.Session) error {
	v := view.Decide(enforce.Flow{
		Source: s.Source.Addr(), Destination: s.Destination, Transport: s.Transport, Login: s.Login(),
	})
	cut := func(reason, message string) error {
		return &sessions.CutError{Reason: access.Reason(reason), Message: message}
	}
	switch {
	case v.Device == nil:
		return cut(endPeerRemoved, "this device was removed or revoked")
	case v.Device.ID != s.DeviceID || v.Device.UserID != s.UserID || (v.VNET != "" && v.VNET != s.VNET):
		return cut(endVNETChanged, "the tunnel address was given to another device or virtual network; connect again")
	case !v.Allow:
		return cut(string(v.Reason), v.Message())
	case v.Decision.Target == nil || v.Decision.Target.ID != s.TargetID || v.Decision.Protocol != s.Protocol:
		return cut(endTargetChanged, "the address now belongs to another target or protocol; connect again")
	case v.Route.Tunnel != s.Tunnel:
		return cut(endRouteChanged, "the address is now routed elsewhere; connect again")
	default:
		return s.Recheck(v.Decision)
	}
}

// rejectionFor says how a flow that is not allowed looks to the client. What policy allows and no route covers is not
// forbidden: whoever is told so would ask for a permission that is there.
func rejectionFor(v enforce.Verdict) tunnel.Rejection {
	if v.Reason == enforce.NoRoute {
		return tunnel.RejectUnreachable
	}
	return tunnel.RejectProhibited
}

// rejectionOf says how a flow that failed looks to the client.
func rejectionOf(err error) tunnel.Rejection {
	switch {
	case errors.Is(err, connwire.ErrRefused), errors.Is(err, connwire.ErrLimit), errors.Is(err, sessions.ErrLimit):
		return tunnel.RejectRefused
	case errors.Is(err, connwire.ErrUnreachable), errors.Is(err, connwire.ErrTimeout),
		errors.Is(err, connwire.ErrNotRouted), errors.Is(err, connwire.ErrFailed), errors.Is(err, connectors.ErrNoConnector):
		return tunnel.RejectUnreachable
	default:
		return tunnel.RejectProhibited
	}
}

// reasonOf names a failed dial on record.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, connwire.ErrRefused):
		return endRefused
	case errors.Is(err, connwire.ErrTimeout):
		return endTimeout
	case errors.Is(err, connwire.ErrLimit):
		return endLimit
	case errors.Is(err, connwire.ErrNotRouted):
		return endNotRouted
	case errors.Is(err, connectors.ErrNoConnector):
		return endNoConnector
	default:
		return endUnreachable
	}
}

// event fills in what the table knows of a flow.
func (g *Gateway) event(name string, s *sessions.Session) audit.Event {
	by := s.Grant()
	return audit.Event{
		Event: name, SessionID: s.ID, UserID: s.UserID, Email: s.Email, DeviceID: s.DeviceID, DeviceName: s.DeviceName,
		Source: s.Source, Destination: s.Destination, Transport: string(s.Transport), TargetID: string(s.TargetID),
		Hostname: s.Hostname, VNETID: string(s.VNET), VNETName: s.VNETName, Protocol: string(s.Protocol),
		Login: s.Login(), Decision: audit.Allow, Reason: string(access.Allowed), ApplicationID: by.Application,
		PolicyID: by.Policy, PolicyName: by.PolicyName, PolicyRev: by.Revision,
	}
}

// deny puts a refusal on record, within the device's share of lines.
func (g *Gateway) deny(ctx context.Context, f tunnel.Flow, tr targets.Transport, v enforce.Verdict, reason string) {
	g.counts.deny(reason)
	device := ""
	if v.Device != nil {
		device = v.Device.ID
	}
	suppressed, ok := g.denials.take(device)
	if !ok {
		return
	}
	e := audit.Event{
		Event: audit.FlowDenied, Source: f.Source, Destination: f.Destination, Transport: string(tr),
		VNETID: string(v.VNET), Protocol: string(v.Decision.Protocol), Decision: audit.Deny, Reason: reason,
		PolicyRev: v.Decision.Revision, Suppressed: suppressed, DeviceID: device,
	}
	if d := v.Device; d != nil {
		e.DeviceName, e.UserID = d.Name, d.UserID
		if d.Identity != nil {
			e.Email = d.Identity.Email
		}
	}
	if view := g.view.Load(); view != nil && v.VNET != "" {
		e.VNETName = view.NetworkName(v.VNET)
	}
	if t := v.Decision.Target; t != nil {
		e.TargetID, e.Hostname = string(t.ID), t.Hostname
	}
	if a := v.Decision.Application; a != nil {
		e.ApplicationID = a.ID
	}
	if p := v.Decision.Policy; p != nil {
		e.PolicyID, e.PolicyName = p.ID, p.Name
	}
	if err := g.audit.Write(e); err != nil {
		g.log.ErrorContext(ctx, "denial not on record", slog.Any("error", err))
	}
}
