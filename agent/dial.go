package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/origin"
	"weft/agent/relay"
	"weft/internal/kind"
	"weft/targets"
	"weft/tunnel"
	"weft/vnet"
)

// plane is the open tunnel with the addresses that flows are bound to: immutable,
// replaced when the addresses change, nil when there is no tunnel.
type plane struct {
	link  *link
	tun   *tunnel.Tunnel
	addrs map[vnet.ID]localAddrs
	// nudge has the link checked when a flow is opened after silence, check at once,
	// hope also makes an outage count as young.
	nudge, check, hope func()
	echo               *echoer
}

// destination is where a flow goes and from which address.
type destination struct {
	plane    *plane
	network  vnet.Network
	target   targets.ID // empty: an address that is no target's, or was given as one
	hostname string
	local    netip.Addr
	remote   netip.AddrPort
}

// String names the destination for messages.
func (d *destination) String() string {
	where := d.remote.Addr().String() + " in " + d.network.Name
	if d.hostname == "" {
		return where
	}
	return d.hostname + " (" + where + ")"
}

// DialFlow is the only way to open a stream through the tunnel. The VNET is d's, else
// the selected one as it is now; the flow is bound to this device's address in it.
func (a *Agent) DialFlow(ctx context.Context, d localapi.Dial) (relay.Flow, error) {
	dst, err := a.resolve(d)
	if err != nil {
		return nil, err
	}
	for {
		dctx, place, ok := a.flows.reserve(ctx)
		if !ok {
			return nil, fault.New(string(kind.Limit), "more than %d connections are open", a.flows.limit)
		}
		dst.plane.nudge()
		c, err := dst.plane.tun.DialTCP(dctx, dst.local, dst.remote)
		if err == nil {
			return a.flows.add(place, c, dst, origin.From(ctx)), nil
		}
		if !a.flows.release(place) || ctx.Err() != nil {
			return nil, a.dialFault(&dst, err)
		}
	}
}

// DialPacket is DialFlow for UDP.
func (a *Agent) DialPacket(ctx context.Context, d localapi.Dial) (net.Conn, error) {
	dst, err := a.resolve(d)
	if err != nil {
		return nil, err
	}
	dst.plane.nudge()
	c, err := dst.plane.tun.DialUDP(ctx, dst.local, dst.remote)
	if err != nil {
		return nil, a.dialFault(&dst, err)
	}
	return a.flows.addPacket(c, dst, origin.From(ctx)), nil
}

// resolve reads view, selection and plane once.
func (a *Agent) resolve(d localapi.Dial) (destination, error) {
	v, p, sel := a.view.Load(), a.plane.Load(), a.selected.Load()
	if v == nil || p == nil {
		return destination{}, a.notConnected()
	}
	if d.Port == 0 {
		return destination{}, fault.New(string(kind.Invalid), "port 0 cannot be dialled")
	}
	found, network, err := v.lookup(sel, d.VNET, d.Name)
	if err != nil {
		return destination{}, err
	}
	local := p.addrs[network.ID].of(found.Addr)
	if !local.IsValid() {
		return destination{}, fault.New(localapi.CodeUnreachable, "this device has no tunnel address in virtual network %s", network.Name)
	}
	return destination{
		plane: p, network: network, target: found.Target.ID, hostname: found.Target.Hostname,
		local: local, remote: netip.AddrPortFrom(found.Addr, d.Port),
	}, nil
}

// lookup turns what a user typed into an address in a network.
func (v *view) lookup(sel *vnet.Network, ref, name string) (targets.Destination, vnet.Network, error) {
	var only, selected vnet.ID
	if sel != nil {
		selected = sel.ID
	}
	if ref != "" {
		n, err := vnet.Resolve(v.networks, ref)
		if err != nil {
			return targets.Destination{}, vnet.Network{}, vnetFault(err)
		}
		only = n.ID
	}
	var found targets.Destination
	if addr, err := netip.ParseAddr(name); err == nil && plain(addr) && (only != "" || selected != "") {
		// An address needs no list: it stays what it is, whatever the size of the list.
		found = targets.Destination{Addr: addr, VNET: only}
		if only == "" {
			found.VNET = selected
		}
	} else if found, err = targets.ResolveName(v.entries, v.networks, selected, only, name); err != nil {
		return targets.Destination{}, vnet.Network{}, nameFault(err)
	}
	n, ok := v.network(found.VNET)
	if !ok {
		return targets.Destination{}, vnet.Network{}, fault.New(localapi.CodeUnknownVNET, "the virtual network of %q is not available to this device", name)
	}
	return found, n, nil
}

// plain reports whether a can be a tunnel destination as it is.
func plain(a netip.Addr) bool { return !a.Is4In6() && a.Zone() == "" }

func vnetFault(err error) error {
	f := fault.From(err)
	switch kind.Of(err) {
	case kind.NotFound:
		f = fault.New(localapi.CodeUnknownVNET, "%s", f.Message).WithHint("%s; to see them run: warp-cli vnet list", f.Hint)
	case kind.Conflict:
		f = fault.New(localapi.CodeAmbiguous, "%s", f.Message).WithHint("%s", f.Hint)
	default: // the kind is the code
	}
	return f
}

func nameFault(err error) error {
	f := fault.From(err)
	switch kind.Of(err) {
	case kind.NotFound:
		hint := f.Hint
		if hint != "" {
			hint += "; "
		}
		f = fault.New(localapi.CodeUnknownTarget, "%s", f.Message).WithHint("%sto see your targets run: warp-cli target list", hint)
	case kind.Conflict:
		f = fault.New(localapi.CodeAmbiguous, "%s", f.Message).WithHint("%s", f.Hint)
	default: // the kind is the code
	}
	return f
}

// dialFault says what became of a dial, in the user's words.
func (a *Agent) dialFault(d *destination, err error) error {
	port := d.remote.Port()
	switch {
	case errors.Is(err, tunnel.ErrProhibited):
		return fault.New(localapi.CodeProhibited, "policy does not allow you to reach %s on port %d", d, port).
			WithHint("to see what you may reach run: warp-cli target list").WithCause(err)
	case errors.Is(err, tunnel.ErrRefused):
		return fault.New(localapi.CodeRefused, "%s refused the connection on port %d", d, port).
			WithHint("nothing listens there").WithCause(err)
	case errors.Is(err, tunnel.ErrUnreachable):
		return fault.New(localapi.CodeUnreachable, "%s cannot be reached", d).
			WithHint("no route or connector leads there now, or the target is off").WithCause(err)
	case errors.Is(err, tunnel.ErrClosed):
		return a.notConnected().WithCause(err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("dial %s: %w", d, err)
	case errors.Is(err, tunnel.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		if state, _, detail, _ := a.status.current(); state != localapi.Connected {
			return fault.New(localapi.CodeUnreachable, "%s cannot be reached: the gateway does not answer", d).
				WithHint("%s", detail).WithCause(err)
		}
		return fault.New(localapi.CodeTimeout, "%s did not answer on port %d in time", d, port).WithCause(err)
	default:
		return fault.New(localapi.CodeUnreachable, "%s cannot be reached", d).WithCause(err)
	}
}

// notConnected says why there is no tunnel.
func (a *Agent) notConnected() *fault.Error {
	state, reason, detail, _ := a.status.current()
	switch {
	case state == localapi.Unregistered:
		return errNotRegistered()
	case reason == localapi.ReasonRevoked:
		return fault.New(localapi.CodeRevoked, "this device's registration was revoked").
			WithHint("ask your administrator for a new enrolment string, then run: warp-cli registration delete")
	case state == localapi.Disconnected && reason == localapi.ReasonManual:
		return fault.New(localapi.CodeNotConnected, "the agent is not connected").WithHint("run: warp-cli connect")
	}
	if detail == "" {
		detail = string(reason)
	}
	return fault.New(localapi.CodeNotConnected, "the agent is not connected: %s", detail).WithHint("run: warp-cli status")
}
