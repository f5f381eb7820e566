package explain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/agent/localapi"
	"weft/api"
)

// maxNamed bounds the targets that evidence spells out.
const maxNamed = 5

// device answers for this device: is it registered, connected, and does it have an address there.
func (w *walk) device() {
	s := w.in.Status
	switch {
	case s.State == localapi.Unregistered:
		w.fail(api.StepDevice, api.CodeNotRegistered, "this device is not registered")
	case s.Reason == localapi.ReasonRevoked:
		w.fail(api.StepDevice, api.CodeRegistrationRevoked, "control refused this device's credential")
	case s.Reason == localapi.ReasonKeyStore:
		w.fail(api.StepDevice, api.CodeKeyStore, "the device's key cannot be read: %s", s.Detail)
	case w.in.Known && w.dst.Addr.IsValid() && !w.in.HasAddress(w.dst.VNET, w.dst.Addr):
		w.fail(api.StepDevice, api.CodeNoTunnelAddress, "the device has no tunnel address in %s for %s", w.network.Name, w.dst.Addr)
	case w.in.Request.Offline:
		w.ok(api.StepDevice, "registered for %s; the connection was not looked at", s.Email)
	case s.State == localapi.Connected:
		w.ok(api.StepDevice, "registered for %s; gateway %s answers in %.1f ms", s.Email, s.Gateway, s.LatencyMS)
	default:
		w.notConnected(s)
	}
}

func (w *walk) notConnected(s localapi.Status) {
	detail := s.Detail
	if detail == "" {
		detail = string(s.Reason)
	}
	switch {
	case s.State == localapi.Disconnected && s.Reason == localapi.ReasonManual:
		w.fail(api.StepDevice, api.CodeNotConnected, "the agent was told to disconnect")
	case s.Reason == localapi.ReasonControlUnreachable:
		w.fail(api.StepDevice, api.CodeControlUnreachable, "control does not answer, and there is no earlier state to go by: %s", detail)
	case s.Reason == localapi.ReasonNoGateway:
		w.fail(api.StepDevice, api.CodeNoGateway, "%s", detail)
	default:
		w.fail(api.StepDevice, api.CodeGatewaySilent, "%s", detail)
	}
}

// askAnyway asks about an address that is on no list: the list may be old, and the account may let its users know of
// policies that almost let them in. All that is no such word leaves the answer as it was.
func (w *walk) askAnyway(ctx context.Context) {
	s := w.in.Status
	if w.in.Request.Offline || w.in.Ask == nil || !w.dst.Addr.IsValid() || s.State != localapi.Connected || !w.in.HasAddress(w.dst.VNET, w.dst.Addr) {
		return
	}
	a, err := w.in.Ask(ctx, api.FlowQuestion{VNET: w.dst.VNET, Destination: netip.AddrPortFrom(w.dst.Addr, w.in.Request.Port), Login: w.in.Request.Login})
	if err != nil || !says(a) {
		return
	}
	w.failed, w.live = "", true
	w.ok(api.StepName, "%s is an address that is not on your list", w.in.Request.Name)
	w.ok(api.StepTarget, "%s", w.dst.Addr)
	w.ok(api.StepVNET, "%s", w.network.Name)
	w.device()
	w.adopt(a)
	w.asked = true
}

// askRule asks about a port that is not on the list of a target that is: a network rule that blocks it takes it off the
// list, and may have a reason for users. All else leaves the answer as it was.
func (w *walk) askRule(ctx context.Context) {
	if w.in.Request.Offline || w.in.Ask == nil || w.in.Status.State != localapi.Connected {
		return
	}
	a, err := w.in.Ask(ctx, api.FlowQuestion{VNET: w.dst.VNET, Destination: netip.AddrPortFrom(w.dst.Addr, w.in.Request.Port)})
	if err != nil || !slices.ContainsFunc(a.Steps, func(s api.FlowStep) bool { return s.Code == api.CodeNetworkRule }) {
		return
	}
	w.failed, w.live = "", true
	w.ok(api.StepTarget, "%s (%s); port %d is not on your list", w.dst.Target.Hostname, w.dst.Addr, w.in.Request.Port)
	w.ok(api.StepVNET, "%s", w.network.Name)
	w.device()
	w.adopt(a)
	w.asked = true
}

// says reports whether a gateway's answer is more than that nothing lets the user reach it.
func says(a api.FlowAnswer) bool {
	for _, s := range a.Steps {
		if s.Step == api.StepPolicy {
			return s.State == api.StepOK || s.Code == api.CodeRequireMissing || s.Code == api.CodeExcluded || s.Code == api.CodeNetworkRule
		}
	}
	return false
}

// beyond asks the gateway, or says what the list says.
func (w *walk) beyond(ctx context.Context) {
	if w.in.Request.Offline || w.in.Ask == nil || !w.in.Known {
		w.listed("the gateway was not asked")
		return
	}
	a, err := w.in.Ask(ctx, api.FlowQuestion{VNET: w.dst.VNET, Destination: netip.AddrPortFrom(w.dst.Addr, w.in.Request.Port), Login: w.in.Request.Login})
	switch {
	case errors.Is(err, ErrNotAsked):
		w.listed("the gateway takes no questions; it may be of an older version")
	case err != nil:
		w.fail(api.StepDevice, api.CodeGatewaySilent, "the gateway did not answer: %v", err)
	default:
		w.live = true
		w.adopt(a)
	}
}

// listed answers for policy and login by the list; what only the gateway knows stays unknown.
func (w *walk) listed(why string) {
	w.unknown(api.StepRoute, "%s", why)
	w.ok(api.StepIdentity, "%s, as of the list", w.in.Status.Email)
	w.ok(api.StepPolicy, "your list has this target at this port")
	if login := w.in.Request.Login; login != "" && w.entry.Protocol.Terminated() {
		if !slices.Contains(w.entry.Usernames, login) {
			w.loginNotGranted(localapi.ExplainStep{Step: api.StepLogin})
			return
		}
		w.ok(api.StepLogin, "your list has %q here", login)
	} else {
		w.unknown(api.StepLogin, "no UNIX user was asked about")
	}
	for _, s := range []string{api.StepConnect, api.StepTCP, api.StepHostKey, api.StepSSHLogin} {
		w.unknown(s, "%s", why)
	}
}

// adopt takes the gateway's steps over, up to the first failure.
func (w *walk) adopt(a api.FlowAnswer) {
	for _, s := range a.Steps {
		if s.State == api.StepNotReached || !slices.Contains(order[3:], s.Step) {
			continue
		}
		step := localapi.ExplainStep{
			Step: s.Step, State: s.State, Code: s.Code, Evidence: s.Evidence, RuleID: s.RuleID, RuleName: s.RuleName,
		}
		switch {
		case s.State != api.StepFailed:
			step.Code = ""
			w.steps[s.Step] = step
			continue
		case s.Code == api.CodeLoginNotGranted:
			w.loginNotGranted(step)
			return
		case w.stale(a, s.Code):
			step.Code = api.CodeStateStale
			step.Evidence = fmt.Sprintf("your list, by revision %d, has it; the gateway decides by revision %d: %s", w.in.Status.StateRevision, a.Revision, s.Evidence)
		}
		if step.Code == "" {
			step.Code = api.CodeNotPermitted // a failure always has a code
		}
		step.Remedy = api.ExplainRemedy(step.Code, false)
		w.steps[s.Step], w.failed = step, step.Code
		return
	}
}

// stale reports whether a refusal is because this device has not heard of a change.
func (w *walk) stale(a api.FlowAnswer, code string) bool {
	if w.in.Status.ControlConnected || a.Revision <= w.in.Status.StateRevision {
		return false
	}
	return code == api.CodeNotPermitted || code == api.CodeVNETNotPermitted
}

// loginNotGranted adds what the list says of the UNIX user: who may be used here, and where this one may.
func (w *walk) loginNotGranted(step localapi.ExplainStep) {
	login := w.in.Request.Login
	var elsewhere []string
	for i := range w.in.Entries {
		e := &w.in.Entries[i]
		if e.Target.ID != w.dst.Target.ID && slices.Contains(e.Usernames, login) {
			elsewhere = append(elsewhere, e.Target.Hostname)
		}
	}
	slices.Sort(elsewhere)
	elsewhere = slices.Compact(elsewhere)
	here := "none"
	if w.entry != nil && len(w.entry.Usernames) > 0 {
		here = strings.Join(w.entry.Usernames, ", ")
	}
	step.State, step.Code = localapi.StepFailed, api.CodeLoginNotGranted
	step.Evidence = fmt.Sprintf("you may not log in as %q; yours here: %s", login, here)
	if len(elsewhere) > 0 {
		step.Code = api.CodeLoginElsewhere
		step.Evidence += fmt.Sprintf("; %q is yours on: %s", login, strings.Join(elsewhere[:min(len(elsewhere), maxNamed)], ", "))
	}
	step.Remedy = api.ExplainRemedy(step.Code, false)
	w.steps[api.StepLogin], w.failed = step, step.Code
}
