// Package probe is a synthetic client of a Weft gateway, for monitoring. It
// enrols once, then at every run performs a WireGuard handshake, asks the gateway
// for an answer through the tunnel, and connects to a target, and says what
// each step took.
//
// It is built on upstream's wireguard-go and its tun/netstack and must not
// import weft/tunnel: a fault in the packet code of agent and gateway is
// then not repeated by what checks it. A dependency test holds that.
package probe

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"weft/api"
	"weft/internal/kind"
	"weft/vnet"
)

// Config of one run.
type Config struct {
	// Enrolment is the enrolment string; needed while StateDir holds no registration.
	Enrolment string
	// StateDir keeps the registration and the last state heard from the control plane.
	StateDir string
	// Target is what to connect to (TCP).
	Target netip.AddrPort
	// VNET is a name or an ID; empty means the default network.
	VNET string
	// Gateway is a name or an ID; empty means the first by name.
	Gateway string
	// Timeout bounds each step; 0 means 5 s.
	Timeout time.Duration
	// Version is reported at enrolment.
	Version string
}

func (c *Config) validate() error {
	if c.StateDir == "" {
		return kind.New(kind.Invalid, "a state directory is required")
	}
	if !c.Target.IsValid() || c.Target.Port() == 0 {
		return kind.New(kind.Invalid, "the target must be ADDRESS:PORT")
	}
	if c.Timeout < 0 {
		return kind.New(kind.Invalid, "the timeout must not be negative")
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	return nil
}

// Run performs one probe. The report is nil only when cfg itself is wrong; the error is a *Failure when a step
// failed, and says which. It blocks for at most a few times the timeout, or until ctx ends.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, report: &Report{Target: cfg.Target.String(), Started: time.Now().UTC()}}
	err := r.all(ctx)
	r.report.finish(err)
	return r.report, err
}

// run is one probe under way.
type run struct {
	cfg    Config
	report *Report
}

func (r *run) all(ctx context.Context) error {
	st, controlErr := r.control(ctx)
	if st == nil {
		return controlErr
	}
	plan, err := r.plan(st)
	if err != nil {
		return firstFailure(controlErr, err)
	}
	r.report.VNET, r.report.Gateway, r.report.Endpoint = plan.network.Name, plan.gateway.Name, plan.endpoint
	c, err := r.handshake(ctx, st, plan)
	if err != nil {
		return firstFailure(controlErr, err)
	}
	defer c.close()
	if err := r.tunnel(ctx, c, plan); err != nil {
		return firstFailure(controlErr, err)
	}
	return firstFailure(controlErr, r.target(ctx, c, plan))
}

// firstFailure keeps the earliest step's: what follows may only be its consequence.
func firstFailure(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// control enrols if need be and fetches the current state. With a failure it still returns what an earlier run kept,
// so that the data path is checked while the control plane is away.
func (r *run) control(ctx context.Context) (*state, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	done := r.report.step("control")
	st, err := loadState(r.cfg.StateDir)
	if err != nil {
		return nil, done(&Failure{Class: Control, Err: err})
	}
	if st == nil {
		if st, err = enrol(ctx, r.cfg); err != nil {
			return nil, done(&Failure{Class: Control, Err: err})
		}
	}
	if err := st.refresh(ctx); err != nil {
		f := &Failure{Class: Control, Err: fmt.Errorf("hear from %s: %w", st.ControlURL, err)}
		if st.Agent == nil {
			return nil, done(f)
		}
		return st, done(f)
	}
	if err := st.save(r.cfg.StateDir); err != nil {
		return nil, done(&Failure{Class: Control, Err: err})
	}
	return st, done(nil)
}

// plan is what the state says about the way to the target.
type plan struct {
	gateway  api.AgentGateway
	endpoint string
	network  api.AgentNetwork
	// source is the tunnel address of the flow to the target, control that of the liveness probe.
	source, control netip.Addr
	answerer        netip.AddrPort
}

func (r *run) plan(st *state) (plan, error) {
	done := r.report.step("plan")
	p, err := newPlan(st.Agent, r.cfg)
	return p, done(err)
}

func newPlan(a *api.AgentState, cfg Config) (plan, error) {
	var p plan
	gw, err := pickGateway(a, cfg.Gateway)
	if err != nil {
		return p, err
	}
	n, err := pickNetwork(a, cfg.VNET)
	if err != nil {
		return p, err
	}
	block := vnet.Block{V4: a.Self.BlockV4, V6: a.Self.BlockV6}
	v4, v6, err := block.Addrs(n.Slot, vnet.ModeNetstack)
	if err != nil {
		return p, &Failure{Class: Control, Err: fmt.Errorf("tunnel address of slot %d: %w", n.Slot, err)}
	}
	c4, _, err := block.Addrs(vnet.ControlSlot, vnet.ModeNetstack)
	if err != nil {
		return p, &Failure{Class: Control, Err: fmt.Errorf("tunnel address of the control slot: %w", err)}
	}
	source := v4
	if cfg.Target.Addr().Is6() && !cfg.Target.Addr().Is4In6() {
		source = v6
	}
	return plan{
		gateway: gw, endpoint: gw.Endpoints[0], network: n, source: source, control: c4,
		answerer: netip.AddrPortFrom(gw.ProbeV4, gw.ProbePort),
	}, nil
}

func pickGateway(a *api.AgentState, ref string) (api.AgentGateway, error) {
	var best *api.AgentGateway
	for _, g := range a.Gateways {
		named := ref == "" || g.Name == ref || g.ID == ref
		if named && len(g.Endpoints) > 0 && (best == nil || g.Name < best.Name) {
			best = &g
		}
	}
	switch {
	case best != nil:
		return *best, nil
	case ref != "":
		return api.AgentGateway{}, &Failure{Class: Control, Err: fmt.Errorf("the control plane names no gateway %q with an endpoint", ref)}
	default:
		return api.AgentGateway{}, &Failure{Class: Control, Err: fmt.Errorf("the control plane names no gateway with an endpoint")}
	}
}

func pickNetwork(a *api.AgentState, ref string) (api.AgentNetwork, error) {
	networks := make([]vnet.Network, 0, len(a.Networks))
	for _, n := range a.Networks {
		networks = append(networks, vnet.Network{ID: n.ID, Name: n.Name, Comment: n.Comment, Default: n.Default})
		if ref == "" && n.Default {
			ref = string(n.ID)
		}
	}
	n, err := vnet.Resolve(networks, ref)
	if err != nil {
		return api.AgentNetwork{}, &Failure{Class: Denied, Err: err}
	}
	for _, a := range a.Networks {
		if a.ID == n.ID {
			return a, nil
		}
	}
	return api.AgentNetwork{}, &Failure{Class: Denied, Err: fmt.Errorf("virtual network %q is not this device's", ref)}
}
