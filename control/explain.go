package control

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

// maxExplainDevices bounds the devices of one user that are looked at.
const maxExplainDevices = 100

// explain says in full why a user may or may not reach a target, and what the gateways know of the way.
func (c *Control) explain(ctx context.Context, q *call) (answer, error) {
	var in api.ExplainRequest
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	if err := checkExplain(&in); err != nil {
		return answer{}, err
	}
	v, err := c.hub.at(ctx, q.revision)
	if err != nil {
		return answer{}, err
	}
	x := &explainer{c: c, v: v, in: in, steps: map[string]api.FlowStep{}}
	if err := x.run(ctx); err != nil {
		return answer{}, err
	}
	return answer{result: x.result()}, nil
}

func checkExplain(in *api.ExplainRequest) error {
	switch {
	case in.Email == "" || len(in.Email) > 254:
		return kind.Field("/email", "an e-mail address is required")
	case in.Target == "" || len(in.Target) > 600:
		return kind.Field("/target", "a target is required")
	case in.Port < 1 || in.Port > 65535:
		return kind.Field("/port", "the port must be 1 to 65535")
	case len(in.Device) > 300 || len(in.VNET) > 300:
		return kind.Field("/device", "the name is too long")
	case in.Login != "":
		if err := access.ValidateLogin(in.Login); err != nil {
			return under("/login", err)
		}
	}
	return nil
}

// explainOrder is the order of the steps.
var explainOrder = []string{
	api.StepName, api.StepTarget, api.StepVNET, api.StepRoute, api.StepDevice, api.StepIdentity, api.StepPolicy, api.StepLogin,
	api.StepConnect, api.StepTCP, api.StepHostKey, api.StepSSHLogin,
}

// explainer is one answer that is being made.
type explainer struct {
	c        *Control
	v        *view
	in       api.ExplainRequest
	steps    map[string]api.FlowStep
	dst      targets.Destination
	network  vnet.Network
	device   *store.Device
	identity *access.Identity
	query    access.Query
	apps     []access.ApplicationTrace
	gateways []api.ExplainGateway
}

func (x *explainer) set(step, state, code, evidence string) {
	x.steps[step] = api.FlowStep{Step: step, State: state, Code: code, Evidence: evidence}
}

func (x *explainer) ok(step, evidence string)         { x.set(step, api.StepOK, "", evidence) }
func (x *explainer) unknown(step, evidence string)    { x.set(step, api.StepUnknown, "", evidence) }
func (x *explainer) fail(step, code, evidence string) { x.set(step, api.StepFailed, code, evidence) }

// run goes through the steps; what can be looked at beyond a failure is, since an administrator may know it.
func (x *explainer) run(ctx context.Context) error {
	if !x.locate() {
		return nil
	}
	if err := x.who(ctx); err != nil {
		return err
	}
	x.route()
	if x.identity == nil || x.device == nil {
		return nil
	}
	x.decide()
	for _, s := range x.steps {
		if s.State == api.StepFailed {
			return nil
		}
	}
	if !x.in.Offline {
		x.askGateways(ctx)
	}
	return nil
}

// locate finds target and network among all that there are.
func (x *explainer) locate() bool {
	entries := make([]targets.Entry, len(x.v.in.targets))
	for i := range x.v.in.targets {
		entries[i].Target = x.v.in.targets[i]
	}
	var selected, only vnet.ID
	for _, n := range x.v.in.networks {
		if n.Default {
			selected = n.ID
		}
	}
	if x.in.VNET != "" {
		n, err := vnet.Resolve(x.v.in.networks, x.in.VNET)
		if err != nil {
			x.fail(api.StepVNET, api.CodeVNETUnknown, messageOf(err))
			return false
		}
		only = n.ID
	}
	var err error
	x.dst, err = targets.ResolveName(entries, x.v.in.networks, selected, only, x.in.Target)
	if err == nil && x.dst.Target.ID == "" {
		err = kind.New(kind.NotFound, "no target has the address %s in that virtual network", x.dst.Addr)
	}
	if err != nil {
		x.notLocated(entries, only, err)
		return false
	}
	for _, n := range x.v.in.networks {
		if n.ID == x.dst.VNET {
			x.network = n
		}
	}
	x.ok(api.StepName, x.in.Target+" is target "+string(x.dst.Target.ID))
	x.ok(api.StepTarget, x.dst.Target.Hostname+" ("+x.dst.Addr.String()+")")
	x.ok(api.StepVNET, x.network.Name)
	return true
}

func (x *explainer) notLocated(entries []targets.Entry, only vnet.ID, err error) {
	if kind.Is(err, kind.Conflict) {
		x.fail(api.StepName, api.CodeNameAmbiguous, messageOf(err))
		return
	}
	if other, elsewhere := targets.ResolveName(entries, x.v.in.networks, "", "", x.in.Target); only != "" && elsewhere == nil && other.Target.ID != "" {
		x.ok(api.StepName, x.in.Target+" is target "+string(other.Target.ID))
		x.ok(api.StepTarget, other.Target.Hostname)
		x.fail(api.StepVNET, api.CodeTargetInOtherVNET, "it is in "+x.networkName(other.VNET)+", not in "+x.networkName(only))
		return
	}
	x.fail(api.StepName, api.CodeTargetUnknown, messageOf(err))
}

func (x *explainer) networkName(id vnet.ID) string {
	for _, n := range x.v.in.networks {
		if n.ID == id {
			return n.Name
		}
	}
	return string(id)
}

func messageOf(err error) string {
	if e, ok := asKind(err); ok {
		return e.Message
	}
	return "it cannot be resolved"
}

// who finds the user and the device.
func (x *explainer) who(ctx context.Context) error {
	for i := range x.v.in.identities {
		if strings.EqualFold(x.v.in.identities[i].Email, x.in.Email) {
			x.identity = &x.v.in.identities[i]
		}
	}
	if x.identity == nil {
		x.unknown(api.StepDevice, "there is no such user")
		x.fail(api.StepIdentity, api.CodeUserUnknown, "no user has the address "+x.in.Email)
		return nil
	}
	if x.identity.Revoked {
		x.unknown(api.StepDevice, "the devices are revoked with their user")
		x.fail(api.StepIdentity, api.CodeUserRevoked, x.identity.Email+" was revoked")
	} else {
		x.ok(api.StepIdentity, x.identity.Email)
	}
	var list []store.Device
	err := x.c.store.View(ctx, func(r *store.Reader) (err error) {
		placed, err := r.ListDevices(ctx, store.DeviceFilter{UserIDs: []string{x.identity.UserID}}, maxExplainDevices)
		for _, p := range placed {
			list = append(list, p.Device)
		}
		return err
	})
	if err != nil {
		return err
	}
	x.chooseDevice(list)
	return nil
}

// chooseDevice takes the one that was asked for, else the one that was seen last, those that are revoked behind the others.
func (x *explainer) chooseDevice(list []store.Device) {
	for i := range list {
		d := &list[i]
		if x.in.Device != "" && d.ID != x.in.Device && d.RegistrationID != x.in.Device && !strings.EqualFold(d.Name, x.in.Device) {
			continue
		}
		if x.device == nil || better(d, x.device) {
			x.device = d
		}
	}
	if x.identity.Revoked {
		return // which is the reason for everything that could be said of the device
	}
	switch {
	case x.device == nil && x.in.Device != "":
		x.fail(api.StepDevice, api.CodeDeviceUnknown, "the user has no device "+x.in.Device)
	case x.device == nil:
		x.fail(api.StepDevice, api.CodeDeviceUnknown, "the user has no device")
	case x.device.RevokedAt != nil:
		x.fail(api.StepDevice, api.CodeDeviceRevoked, x.device.Name+" was revoked at "+*x.device.RevokedAt)
	case x.v.device[x.device.ID] != nil && x.v.slotsOf(x.v.device[x.device.ID])[x.dst.VNET] == 0:
		x.fail(api.StepVNET, api.CodeVNETNotPermitted, "device "+x.device.Name+" has no slot for "+x.network.Name)
	case x.c.streams.count(agentStream, x.device.ID) > 0:
		x.ok(api.StepDevice, x.device.Name+", in contact now")
	default:
		x.ok(api.StepDevice, x.device.Name+", last seen "+x.device.LastSeenAt)
	}
}

func better(a, b *store.Device) bool {
	if (a.RevokedAt == nil) != (b.RevokedAt == nil) {
		return a.RevokedAt == nil
	}
	return a.LastSeenAt > b.LastSeenAt
}

func (x *explainer) route() {
	t, err := vnet.NewTable(x.v.in.routes)
	if err != nil {
		x.unknown(api.StepRoute, "the routes contradict each other: "+messageOf(err))
		return
	}
	r, ok := t.Lookup(x.dst.VNET, x.dst.Addr)
	if !ok {
		x.fail(api.StepRoute, api.CodeNoRoute, "no route of "+x.network.Name+" covers "+x.dst.Addr.String())
		return
	}
	name := string(r.Tunnel)
	for _, t := range x.v.in.tunnels {
		if t.ID == r.Tunnel {
			name = t.Name
		}
	}
	x.ok(api.StepRoute, r.Prefix.String()+" leads to tunnel "+name)
}

// decide asks the one function that decides, and has every rule looked at.
func (x *explainer) decide() {
	x.query = access.Query{
		Identity: x.identity, Device: x.v.accessDevice(x.device), VNET: x.dst.VNET,
		Destination: netip.AddrPortFrom(x.dst.Addr, uint16(x.in.Port)), Transport: targets.TransportTCP,
	}
	flow := access.Evaluate(x.v.snapshot, x.query)
	traced := x.query
	if flow.Protocol.Terminated() {
		traced.Login = x.in.Login
	}
	x.apps = access.Trace(x.v.snapshot, x.v.in.applications, traced)
	slices.SortFunc(x.apps, func(a, b access.ApplicationTrace) int {
		return cmp.Or(cmp.Compare(a.Application.Name, b.Application.Name), cmp.Compare(a.Application.ID, b.Application.ID))
	})
	if flow.Reason == access.IdentityRevoked || flow.Reason == access.DeviceRevoked {
		return // said already
	}
	x.policy(flow)
	if !flow.Allow {
		return
	}
	switch {
	case !flow.Protocol.Terminated():
		x.ok(api.StepLogin, string(flow.Protocol)+" has no logins")
	case x.in.Login == "":
		x.unknown(api.StepLogin, "no UNIX user was asked about")
	default:
		x.login(access.Evaluate(x.v.snapshot, traced))
	}
}

// policyCodes are the reasons of a decision as codes.
var policyCodes = map[access.Reason]string{
	access.NoTarget: api.CodeTargetUnknown, access.NoApplication: api.CodeNoApplication, access.NoPolicy: api.CodeNoPolicy,
	access.RequireMissing: api.CodeRequireMissing, access.Excluded: api.CodeExcluded, access.LoginNotPermitted: api.CodeLoginNotGranted,
	access.NoSnapshot: api.CodeGatewayStale, access.NetworkBlocked: api.CodeNetworkRule,
}

func (x *explainer) policy(d access.Decision) {
	s := api.FlowStep{Step: api.StepPolicy, State: api.StepOK, Evidence: d.Message()}
	if d.Policy != nil {
		s.RuleID, s.RuleName = d.Policy.ID, d.Policy.Name
	}
	if !d.Allow {
		s.State, s.Code = api.StepFailed, policyCodes[d.Reason]
		if r := d.NetworkRule; d.Reason == access.NetworkBlocked && r != nil {
			s.Evidence = "network rule " + strconv.Quote(r.Name) + " (" + r.ID + "): " + d.Message()
		}
		if d.Reason == access.NoApplication {
			udp := x.query
			udp.Transport = targets.TransportUDP
			if other := access.Evaluate(x.v.snapshot, udp); other.Reason != access.NoApplication {
				s.Code, s.Evidence = api.CodeOtherProtocol, "the port is covered for "+string(other.Protocol)+", which TCP does not carry"
			}
		}
		if s.Code == "" {
			s.Code = api.CodeNotPermitted
		}
	}
	x.steps[api.StepPolicy] = s
}

func (x *explainer) login(d access.Decision) {
	s := api.FlowStep{Step: api.StepLogin, State: api.StepOK, Evidence: x.in.Login + " is granted"}
	if d.Policy != nil {
		s.RuleID, s.RuleName = d.Policy.ID, d.Policy.Name
	}
	if text := d.SSHRules().ForwardingText(); text != "" {
		s.Evidence += ", by policy " + strconv.Quote(d.Policy.Name) + " with " + text
	}
	if !d.Allow {
		s.State, s.Code, s.Evidence = api.StepFailed, api.CodeLoginNotGranted, "no policy that includes the user grants "+x.in.Login+" here"
		for _, e := range access.Entries(x.v.snapshot, x.identity, x.query.Device) {
			for _, u := range e.Usernames {
				if u == x.in.Login && e.Target.ID != x.dst.Target.ID {
					s.Code, s.Evidence = api.CodeLoginElsewhere, "no policy that includes the user grants "+x.in.Login+" here; on "+e.Target.Hostname+" one does"
				}
			}
		}
	}
	x.steps[api.StepLogin] = s
}

// askGateways has every gateway look, at the same time.
func (x *explainer) askGateways(ctx context.Context) {
	question := api.GatewayQuestion{DeviceID: x.device.ID, FlowQuestion: api.FlowQuestion{
		VNET: x.dst.VNET, Destination: x.query.Destination, Login: x.in.Login,
	}}
	x.gateways = make([]api.ExplainGateway, len(x.v.in.gateways))
	var wg sync.WaitGroup
	for i, g := range x.v.in.gateways {
		out := &x.gateways[i]
		*out = api.ExplainGateway{ID: g.ID, Name: g.Name, Connected: x.c.streams.count(gatewayStream, g.ID) > 0, Steps: []api.FlowStep{}}
		wg.Go(func() {
			var a []api.GatewayReply
			if a, out.Answered = x.c.questions.ask(ctx, g.ID, question, answerTimeout); out.Answered {
				out.Revision = a[0].Revision
				out.Steps = append(out.Steps, a[0].Steps...)
			}
		})
	}
	wg.Wait()
	x.adopt()
}

// adopt takes the steps beyond policy from the gateway that came furthest.
func (x *explainer) adopt() {
	var best []api.FlowStep
	most := -1
	for _, g := range x.gateways {
		if n := reached(g.Steps); g.Answered && n > most {
			best, most = g.Steps, n
		}
	}
	if best == nil {
		x.fail(api.StepConnect, api.CodeNoGateway, "no gateway is in contact with control and answers")
		return
	}
	for _, s := range best {
		if s.State == api.StepFailed || s.Step == api.StepConnect || s.Step == api.StepTCP || s.Step == api.StepHostKey || s.Step == api.StepSSHLogin {
			x.steps[s.Step] = s
		}
	}
}

func reached(steps []api.FlowStep) (n int) {
	for _, s := range steps {
		if s.State == api.StepOK || s.State == api.StepUnknown {
			n++
		}
	}
	return n
}

// result puts everything in order.
func (x *explainer) result() api.Explain {
	e := api.Explain{
		SchemaVersion: api.ExplainSchemaVersion, Revision: x.v.revision, Steps: []api.ExplainStep{},
		Applications: []api.ExplainApplication{}, Gateways: append([]api.ExplainGateway{}, x.gateways...),
	}
	for _, name := range explainOrder {
		s, ok := x.steps[name]
		if !ok || e.Code != "" {
			s = api.FlowStep{Step: name, State: api.StepNotReached}
		}
		if s.State == api.StepFailed {
			e.Code = s.Code
		}
		e.Steps = append(e.Steps, api.ExplainStep{FlowStep: s, Remedy: api.ExplainRemedy(s.Code, true)})
	}
	e.Allowed = e.Code == "" && x.steps[api.StepPolicy].State == api.StepOK
	for _, a := range x.apps {
		e.Applications = append(e.Applications, wireTrace(a, x.in.Email))
	}
	return e
}

// wireTrace is the trace of an application for the user with this address.
func wireTrace(t access.ApplicationTrace, email string) api.ExplainApplication {
	a := api.ExplainApplication{
		ID: t.Application.ID, Name: t.Application.Name, Covers: t.Missed == "", Reason: t.Missed, Policies: []api.ExplainPolicy{},
	}
	for _, p := range t.Policies {
		w := api.ExplainPolicy{ID: p.Policy.ID, Name: p.Policy.Name, Reason: string(p.Reason), Logins: []string{}, Rules: []api.ExplainRule{}}
		if p.Policy.SSH != nil {
			w.Logins = append(w.Logins, p.Policy.SSH.Usernames...)
			if alias := access.EmailAlias(email); p.Policy.SSH.AllowEmailAlias && alias != "" && !slices.Contains(w.Logins, alias) {
				w.Logins = append(w.Logins, alias)
			}
		}
		for _, r := range p.Rules {
			text, err := json.Marshal(r.Rule)
			if err != nil {
				text = []byte("a rule that cannot be written")
			}
			w.Rules = append(w.Rules, api.ExplainRule{List: r.List, Rule: string(text), Answer: r.Answer, Name: r.Name})
		}
		a.Policies = append(a.Policies, w)
	}
	return a
}
