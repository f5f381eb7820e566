package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"weft/access"
	"weft/api"
	"weft/gateway/enforce"
	"weft/targets"
	"weft/tunnel"
	"weft/vnet"
)

// Limits of questions about flows.
const (
	maxExplains          = 32 // at once
	maxExplainsPerDevice = 2
	// explainTimeout bounds a question: a dial and a login.
	explainTimeout = 25 * time.Second
	// questionTimeout bounds reading a question and writing its answer.
	questionTimeout = 5 * time.Second
)

// explains counts the questions that are being answered. Safe for concurrent use.
type explains struct {
	mu       sync.Mutex
	byDevice map[string]int
	total    int
	refused  uint64
}

func newExplains() *explains { return &explains{byDevice: make(map[string]int)} }

func (e *explains) take(device string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.total >= maxExplains || e.byDevice[device] >= maxExplainsPerDevice {
		e.refused++
		return false
	}
	e.total++
	e.byDevice[device]++
	return true
}

func (e *explains) release(device string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.total--
	if e.byDevice[device]--; e.byDevice[device] <= 0 {
		delete(e.byDevice, device)
	}
}

func (e *explains) refusals() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refused
}

// handleExplain answers a device's question about one of its own flows. The source address, which WireGuard vouches for,
// says whose it is.
func (g *Gateway) handleExplain(ctx context.Context, r *tunnel.TCPRequest, d *enforce.Device) {
	c, err := r.Accept()
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, c.Abort)
	defer stop()
	if err := g.converse(ctx, c, d); err != nil {
		c.Abort()
		return
	}
	_ = c.Close() // everything was written
}

func (g *Gateway) converse(ctx context.Context, c *tunnel.TCPConn, d *enforce.Device) error {
	if err := c.SetDeadline(time.Now().Add(questionTimeout)); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(c, api.MaxQuestionBytes)).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read question: %w", err)
	}
	q, err := parseQuestion(line)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(g.explain(ctx, d.ID, q, false))
	if err != nil {
		return fmt.Errorf("render answer: %w", err)
	}
	if err := c.SetDeadline(time.Now().Add(questionTimeout)); err != nil {
		return err
	}
	_, err = c.Write(append(raw, '\n'))
	return err
}

// parseQuestion reads what a device sent.
func parseQuestion(line []byte) (api.FlowQuestion, error) {
	var q api.FlowQuestion
	if err := json.Unmarshal(line, &q); err != nil {
		return q, fmt.Errorf("read question: %w", err)
	}
	if q.VNET == "" || !q.Destination.IsValid() || q.Destination.Port() == 0 || len(q.Login) > access.MaxLoginBytes {
		return q, fmt.Errorf("read question: a VNET and a destination are required")
	}
	return q, nil
}

// explain says what becomes of a flow of a device, and tries it when it is allowed. full tells everything, which is for
// administrators; otherwise what the device's user may not reach and what does not exist have the same answer.
func (g *Gateway) explain(ctx context.Context, device string, q api.FlowQuestion, full bool) api.FlowAnswer {
	x := &explanation{g: g, q: q, full: full}
	if !g.explains.take(device) {
		x.fail(api.StepRoute, api.CodeExplainLimit, "the gateway answers as many questions as it takes")
		return x.answer(0)
	}
	defer g.explains.release(device)
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	view := g.view.Load()
	if view == nil {
		x.fail(api.StepRoute, api.CodeGatewayStale, "the gateway has no state from control")
		return x.answer(0)
	}
	if v, ok := x.decide(view, device); ok {
		x.try(ctx, view, v)
	}
	return x.answer(view.Revision())
}

// explanation is an answer that is being made.
type explanation struct {
	g     *Gateway
	q     api.FlowQuestion
	full  bool
	steps []api.FlowStep
}

// stepOrder is the order in which a gateway goes about a flow, as the answer tells it.
var stepOrder = []string{
	api.StepRoute, api.StepIdentity, api.StepPolicy, api.StepLogin, api.StepConnect, api.StepTCP, api.StepHostKey, api.StepSSHLogin,
}

func (x *explanation) add(s api.FlowStep) { x.steps = append(x.steps, s) }

func (x *explanation) ok(step, format string, args ...any) {
	x.add(api.FlowStep{Step: step, State: api.StepOK, Evidence: fmt.Sprintf(format, args...)})
}

func (x *explanation) unknown(step, evidence string) {
	x.add(api.FlowStep{Step: step, State: api.StepUnknown, Evidence: evidence})
}

func (x *explanation) fail(step, code, format string, args ...any) {
	x.add(api.FlowStep{Step: step, State: api.StepFailed, Code: code, Evidence: fmt.Sprintf(format, args...)})
}

// answer fills in the steps that were not reached.
func (x *explanation) answer(revision uint64) api.FlowAnswer {
	have := make(map[string]api.FlowStep, len(x.steps))
	for _, s := range x.steps {
		have[s.Step] = s
	}
	a := api.FlowAnswer{Version: api.FlowAnswerVersion, Revision: revision, Steps: []api.FlowStep{}}
	for _, name := range stepOrder {
		s, ok := have[name]
		if !ok {
			s = api.FlowStep{Step: name, State: api.StepNotReached}
		}
		a.Steps = append(a.Steps, s)
	}
	return a
}

// decide asks the very function that decides about flows, and says what it said.
func (x *explanation) decide(view *enforce.View, device string) (enforce.Verdict, bool) {
	d, ok := view.ByID(device)
	if !ok {
		x.fail(api.StepIdentity, api.CodeDeviceUnknown, "the gateway does not know the device")
		return enforce.Verdict{}, false
	}
	src, ok := view.Source(d, x.q.VNET, x.q.Destination.Addr())
	if !ok {
		x.fail(api.StepRoute, api.CodeVNETNotPermitted, "the device has no tunnel address in that virtual network")
		return enforce.Verdict{}, false
	}
	f := enforce.Flow{Source: src, Destination: x.q.Destination, Transport: targets.TransportTCP}
	flow := x.g.decide(f)
	if flow.Reason != access.Allowed {
		x.refused(view, d, flow)
		return flow, false
	}
	x.route(view, flow)
	x.identity(d)
	x.policy(flow)
	if !flow.Decision.Protocol.Terminated() {
		x.ok(api.StepLogin, "%s has no logins", flow.Decision.Protocol)
		return flow, true
	}
	if x.q.Login == "" {
		x.unknown(api.StepLogin, "no UNIX user was asked about")
		return flow, true
	}
	f.Login = x.q.Login
	v := x.g.decide(f)
	if !v.Allow {
		x.add(api.FlowStep{
			Step: api.StepLogin, State: api.StepFailed, Code: api.CodeLoginNotGranted,
			Evidence: fmt.Sprintf("no policy that includes the user grants %q here", x.q.Login),
			RuleID:   policyID(flow.Decision), RuleName: policyName(flow.Decision),
		})
		return v, false
	}
	x.add(api.FlowStep{
		Step: api.StepLogin, State: api.StepOK, Evidence: fmt.Sprintf("%q is granted", x.q.Login) + withForwarding(v.Decision),
		RuleID: policyID(v.Decision), RuleName: policyName(v.Decision),
	})
	return v, true
}

// withForwarding says what a login may forward, by the one policy that governs it.
func withForwarding(d access.Decision) string {
	text := d.SSHRules().ForwardingText()
	if text == "" {
		return ""
	}
	return fmt.Sprintf(", by policy %q with %s", policyName(d), text)
}

func policyID(d access.Decision) string {
	if d.Policy == nil {
		return ""
	}
	return d.Policy.ID
}

func policyName(d access.Decision) string {
	if d.Policy == nil {
		return ""
	}
	return d.Policy.Name
}

func (x *explanation) route(view *enforce.View, v enforce.Verdict) {
	evidence := fmt.Sprintf("a route of %s covers %s", view.NetworkName(x.q.VNET), x.q.Destination.Addr())
	if x.full {
		evidence = fmt.Sprintf("route %s of %s leads to %s", v.Route.Prefix, view.NetworkName(x.q.VNET), x.tunnelName(view, v.Route.Tunnel))
	}
	x.ok(api.StepRoute, "%s", evidence)
}

func (x *explanation) identity(d *enforce.Device) {
	x.ok(api.StepIdentity, "%s on device %s", d.Identity.Email, d.Name)
}

func (x *explanation) policy(v enforce.Verdict) {
	x.add(api.FlowStep{
		Step: api.StepPolicy, State: api.StepOK, Evidence: fmt.Sprintf("policy %q lets the user reach it", policyName(v.Decision)),
		RuleID: policyID(v.Decision), RuleName: policyName(v.Decision),
	})
}

// refused says why the flow is not allowed, in as many words as the receiver may hear.
func (x *explanation) refused(view *enforce.View, d *enforce.Device, v enforce.Verdict) {
	network := view.NetworkName(x.q.VNET)
	switch v.Reason {
	case enforce.NoRoute:
		x.fail(api.StepRoute, api.CodeNoRoute, "no route of %s covers %s", network, x.q.Destination.Addr())
	case enforce.VNETNotPermitted, enforce.SourceUnknown:
		x.fail(api.StepRoute, api.CodeVNETNotPermitted, "the device may not use virtual network %s", network)
	case enforce.DestinationForbidden:
		x.fail(api.StepRoute, api.CodeForbidden, "%s is of a kind that is never reachable", x.q.Destination.Addr())
	case access.NoSnapshot:
		x.fail(api.StepRoute, api.CodeGatewayStale, "the gateway has not heard control for too long, and denies what is new")
	case access.IdentityRevoked:
		x.untold()
		x.fail(api.StepIdentity, api.CodeUserRevoked, "the user was revoked")
	case access.IdentityUnknown:
		x.untold()
		x.fail(api.StepIdentity, api.CodeUserUnknown, "no user is known behind the device")
	case access.DeviceUnknown, access.DeviceRevoked:
		x.untold()
		x.fail(api.StepIdentity, api.CodeDeviceRevoked, "the device was revoked")
	default:
		x.untold()
		x.identity(d)
		x.denied(view, v)
	}
}

// untold keeps the routes of what the user may not reach to itself.
func (x *explanation) untold() { x.unknown(api.StepRoute, "not told of what the user may not reach") }

// denied is the policy's refusal. To the user, a target that no policy lets it reach is none.
func (x *explanation) denied(view *enforce.View, v enforce.Verdict) {
	almost := x.full || view.Self().ExplainAlmost
	step := api.FlowStep{Step: api.StepPolicy, State: api.StepFailed, RuleID: policyID(v.Decision), RuleName: policyName(v.Decision)}
	switch {
	case almost && v.Reason == access.RequireMissing:
		step.Code, step.Evidence = api.CodeRequireMissing, fmt.Sprintf("policy %q includes the user, who does not meet all that it requires", step.RuleName)
	case almost && v.Reason == access.Excluded:
		step.Code, step.Evidence = api.CodeExcluded, fmt.Sprintf("policy %q includes the user, whom a rule excludes", step.RuleName)
	case v.Reason == access.NetworkBlocked && (x.full || blockReason(v.Decision) != ""):
		// What an administrator wrote as the reason is written for whom it blocks.
		step.Code, step.Evidence = api.CodeNetworkRule, v.Decision.Message()
		step.RuleID, step.RuleName = "", ""
	case x.full && v.Reason == access.NoTarget:
		step.Code, step.Evidence = api.CodeTargetUnknown, "no target has this address in this virtual network"
	case x.full && v.Reason == access.NoApplication:
		step.Code, step.Evidence = api.CodeNoApplication, "no application covers the target at this port over TCP"
	case x.full:
		step.Code, step.Evidence = api.CodeNoPolicy, "no policy includes the user"
	default:
		step.Code, step.Evidence = api.CodeNotPermitted, "nothing lets you reach this address and port"
		step.RuleID, step.RuleName = "", ""
	}
	x.add(step)
}

// blockReason is what the rule that blocks says to users, or "".
func blockReason(d access.Decision) string {
	if d.NetworkRule == nil {
		return ""
	}
	return d.NetworkRule.BlockReason
}

// tunnelName names a tunnel to whom may know it.
func (x *explanation) tunnelName(view *enforce.View, id vnet.TunnelID) string {
	if t, ok := view.Tunnel(id); ok && x.full {
		return fmt.Sprintf("tunnel %s", t.Name)
	}
	return "the tunnel of this network"
}
