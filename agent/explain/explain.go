// Package explain walks the way from what a user typed to a target, step by step, and stops at the first step that
// fails: name, target, virtual network, route, device, identity, policy, login, connector, TCP, SSH host key, SSH login.
//
// What a device's own list answers needs nobody else, so it is answered while control, gateway or network are down.
// The rest is asked of the gateway, which decides; without it those steps are unknown. It says nothing that the list
// and the gateway would not tell this user: a target that the user may not reach and one that does not exist have the
// same answer, to the letter.
package explain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/api"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

// ErrNotAsked is returned by Ask when the gateway takes no questions.
var ErrNotAsked = errors.New("the gateway takes no questions")

// Input is what is known and whom to ask.
type Input struct {
	Request localapi.ExplainRequest
	Status  localapi.Status
	// Known says that there is a list; Networks, Selected and Entries are its parts.
	Known    bool
	Networks []vnet.Network
	Selected vnet.ID
	Entries  []targets.Entry
	// HasAddress says whether the device has a tunnel address in a network for a remote address.
	HasAddress func(vnet.ID, netip.Addr) bool
	// Ask asks the gateway; its errors are ErrNotAsked, or that it does not answer.
	Ask func(context.Context, api.FlowQuestion) (api.FlowAnswer, error)
}

// steps in their order.
var order = []string{
	api.StepName, api.StepTarget, api.StepVNET, api.StepRoute, api.StepDevice, api.StepIdentity, api.StepPolicy, api.StepLogin,
	api.StepConnect, api.StepTCP, api.StepHostKey, api.StepSSHLogin,
}

// Explain answers. An error means that the question makes no sense (kind.Invalid).
func Explain(ctx context.Context, in Input) (localapi.Explanation, error) {
	w := &walk{in: in, steps: make(map[string]localapi.ExplainStep)}
	if err := w.locate(); err != nil {
		return localapi.Explanation{}, err
	}
	switch w.failed {
	case api.CodeTargetUnknown:
		w.askAnyway(ctx)
	case api.CodePortNotGranted:
		w.askRule(ctx)
	}
	if w.failed == "" && !w.asked {
		w.device()
	}
	if w.failed == "" && !w.asked {
		w.beyond(ctx)
	}
	return w.explanation(), nil
}

// walk is an explanation that is being made.
type walk struct {
	in      Input
	steps   map[string]localapi.ExplainStep
	failed  string // the code of the first failure
	live    bool
	asked   bool // the gateway was, although the list has nothing
	dst     targets.Destination
	network vnet.Network
	entry   *targets.Entry // what the list says of the target at the port
}

func (w *walk) set(step, state, code, evidence string) {
	s := localapi.ExplainStep{Step: step, State: state, Code: code, Evidence: evidence}
	if code != "" {
		s.Remedy = api.ExplainRemedy(code, false)
		w.failed = code
	}
	w.steps[step] = s
}

func (w *walk) ok(step, format string, args ...any) {
	w.set(step, localapi.StepOK, "", fmt.Sprintf(format, args...))
}

func (w *walk) unknown(step, format string, args ...any) {
	w.set(step, localapi.StepUnknown, "", fmt.Sprintf(format, args...))
}

func (w *walk) fail(step, code, format string, args ...any) {
	w.set(step, localapi.StepFailed, code, fmt.Sprintf(format, args...))
}

// explanation puts the steps in order; what nobody spoke of was not reached.
func (w *walk) explanation() localapi.Explanation {
	q := w.in.Request
	e := localapi.Explanation{
		SchemaVersion: localapi.SchemaVersion, Target: fmt.Sprintf("%s:%d", bracket(q.Name), q.Port), Login: q.Login, Code: w.failed,
		Live: w.live, StateAgeSeconds: w.in.Status.StateAgeSeconds, Stale: w.in.Known && !w.in.Status.ControlConnected,
		Steps: make([]localapi.ExplainStep, 0, len(order)),
	}
	over := false
	for _, name := range order {
		s, ok := w.steps[name]
		if !ok || over {
			s = localapi.ExplainStep{Step: name, State: localapi.StepNotReached}
		}
		over = over || s.State == localapi.StepFailed
		e.Steps = append(e.Steps, s)
	}
	return e
}

func bracket(name string) string {
	if strings.Contains(name, ":") {
		return "[" + name + "]"
	}
	return name
}

// locate answers for name, target and network, from the list alone.
func (w *walk) locate() error {
	if !w.in.Known {
		for _, s := range []string{api.StepName, api.StepTarget, api.StepVNET, api.StepRoute} {
			w.unknown(s, "this device has no list of targets")
		}
		return nil
	}
	q := w.in.Request
	var only vnet.ID
	if q.VNET != "" {
		n, err := vnet.Resolve(w.in.Networks, q.VNET)
		if err != nil {
			w.noNetwork(err)
			return nil
		}
		only = n.ID
	}
	dst, err := targets.ResolveName(w.in.Entries, w.in.Networks, w.in.Selected, only, q.Name)
	switch kind.Of(err) {
	case kind.NotFound:
		w.notFound(only)
		return nil
	case kind.Conflict:
		w.fail(api.StepName, api.CodeNameAmbiguous, "%s", fault.From(err).Message)
		return nil
	default:
		if err != nil {
			return err
		}
	}
	w.dst = dst
	w.network = vnet.Network{ID: dst.VNET, Name: string(dst.VNET)}
	for _, n := range w.in.Networks {
		if n.ID == dst.VNET {
			w.network = n
		}
	}
	if !w.known() {
		w.notFound(dst.VNET)
		return nil
	}
	w.ok(api.StepName, "%s is target %s", q.Name, w.dst.Target.ID)
	if !w.port() {
		return nil
	}
	w.ok(api.StepVNET, "%s%s", w.network.Name, w.why(only))
	w.unknown(api.StepRoute, "only the gateway knows the routes")
	return nil
}

// known finds the target of an address that was given as one.
func (w *walk) known() bool {
	if w.dst.Target.ID != "" {
		return true
	}
	at := targets.Address{Addr: w.dst.Addr, VNET: w.dst.VNET}
	for i := range w.in.Entries {
		t := &w.in.Entries[i].Target
		if t.IPv4 != nil && *t.IPv4 == at || t.IPv6 != nil && *t.IPv6 == at {
			w.dst.Target = *t
			return true
		}
	}
	return false
}

// noNetwork answers for a network that is none of the user's.
func (w *walk) noNetwork(err error) {
	if len(w.elsewhere("")) == 0 {
		w.unlisted()
		return
	}
	w.ok(api.StepName, "%s is on your list", w.in.Request.Name)
	w.unknown(api.StepTarget, "it depends on the virtual network")
	w.fail(api.StepVNET, api.CodeVNETUnknown, "%s", fault.From(err).Message)
}

// notFound tells a target of another network from one that is on no list.
func (w *walk) notFound(only vnet.ID) {
	others := w.elsewhere(only)
	if only == "" || len(others) == 0 {
		w.unlisted()
		return
	}
	w.ok(api.StepName, "%s is on your list", w.in.Request.Name)
	w.ok(api.StepTarget, "found")
	w.fail(api.StepVNET, api.CodeTargetInOtherVNET, "it is in %s, not in %s", strings.Join(others, ", "), w.networkName(only))
}

// unlisted is the one answer for what does not exist and for what the user may not reach.
func (w *walk) unlisted() {
	w.fail(api.StepName, api.CodeTargetUnknown, "no target of yours has this name or address")
}

// elsewhere names the networks, but one, in which the name or address is on the list.
func (w *walk) elsewhere(except vnet.ID) []string {
	name := w.in.Request.Name
	addr, err := netip.ParseAddr(name)
	isAddr := err == nil
	var found []string
	add := func(a *targets.Address) {
		if a != nil && a.VNET != except && (!isAddr || a.Addr == addr) {
			found = append(found, w.networkName(a.VNET))
		}
	}
	for i := range w.in.Entries {
		t := &w.in.Entries[i].Target
		if isAddr || string(t.ID) == name || targets.EqualHostname(t.Hostname, w.hostname(name)) {
			add(t.IPv4)
			add(t.IPv6)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// hostname takes the name of a network off a qualified name.
func (w *walk) hostname(name string) string {
	for _, n := range w.in.Networks {
		if i := len(name) - len(n.Name) - 1; i > 0 && strings.EqualFold(name[i:], "."+n.Name) {
			return name[:i]
		}
	}
	return name
}

func (w *walk) networkName(id vnet.ID) string {
	for _, n := range w.in.Networks {
		if n.ID == id {
			return n.Name
		}
	}
	return string(id)
}

func (w *walk) why(only vnet.ID) string {
	switch {
	case only != "":
		return ", as asked for"
	case w.dst.VNET == w.in.Selected:
		return ", which is selected"
	default:
		return ", the only one with this target"
	}
}

// port answers whether the list has the target at the port, over TCP.
func (w *walk) port() bool {
	at := targets.Address{Addr: w.dst.Addr, VNET: w.dst.VNET}
	var have []string
	for i := range w.in.Entries {
		e := &w.in.Entries[i]
		if e.Target.ID != w.dst.Target.ID && (e.Target.IPv4 == nil || *e.Target.IPv4 != at) && (e.Target.IPv6 == nil || *e.Target.IPv6 != at) {
			continue
		}
		have = append(have, fmt.Sprintf("%s %d", e.Protocol, e.Port))
		if e.Port == w.in.Request.Port && (w.entry == nil || e.Protocol.Carries(targets.TransportTCP)) {
			w.entry = e
		}
	}
	where := fmt.Sprintf("%s (%s)", w.dst.Target.Hostname, w.dst.Addr)
	switch {
	case w.entry == nil:
		w.fail(api.StepTarget, api.CodePortNotGranted, "nothing lets you reach port %d of %s; yours there: %s", w.in.Request.Port, where, strings.Join(have, ", "))
	case !w.entry.Protocol.Carries(targets.TransportTCP):
		w.fail(api.StepTarget, api.CodeProtocolNotTCP, "port %d of %s is for %s", w.in.Request.Port, where, w.entry.Protocol)
	default:
		w.ok(api.StepTarget, "%s, %s on port %d", where, w.entry.Protocol, w.entry.Port)
	}
	return w.failed == ""
}
