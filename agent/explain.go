package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"weft/agent/explain"
	"weft/agent/localapi"
	"weft/api"
	"weft/tunnel"
	"weft/vnet"
)

// askTimeout bounds a question to the gateway, which may dial and log in for it.
const askTimeout = 30 * time.Second

// Explain implements server.Explainer.
func (a *Agent) Explain(ctx context.Context, q localapi.ExplainRequest) (localapi.Explanation, error) {
	in := explain.Input{Request: q, Status: a.Status(), HasAddress: func(vnet.ID, netip.Addr) bool { return false }}
	v, p := a.view.Load(), a.plane.Load()
	if v != nil {
		in.Known, in.Networks, in.Entries = true, v.networks, v.entries
		in.HasAddress = func(n vnet.ID, remote netip.Addr) bool { return v.addrs[n].of(remote).IsValid() }
	}
	if sel := a.selected.Load(); sel != nil {
		in.Selected = sel.ID
	}
	if v != nil && p != nil {
		in.Ask = func(ctx context.Context, q api.FlowQuestion) (api.FlowAnswer, error) { return ask(ctx, v, p, q) }
	}
	return explain.Explain(ctx, in)
}

// ask puts a question to the gateway, through the tunnel.
func ask(ctx context.Context, v *view, p *plane, q api.FlowQuestion) (api.FlowAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	at, ok := v.gatewayAddr()
	if !ok {
		return api.FlowAnswer{}, explain.ErrNotAsked
	}
	c, err := p.tun.DialTCP(ctx, v.control.of(at.Addr()), at)
	switch {
	case errors.Is(err, tunnel.ErrProhibited), errors.Is(err, tunnel.ErrRefused):
		return api.FlowAnswer{}, explain.ErrNotAsked
	case err != nil:
		return api.FlowAnswer{}, err
	}
	stop := context.AfterFunc(ctx, c.Abort)
	defer stop()
	defer c.Abort() // one question, one answer
	raw, err := json.Marshal(q)
	if err != nil {
		return api.FlowAnswer{}, fmt.Errorf("render question: %w", err)
	}
	if _, err := c.Write(append(raw, '\n')); err != nil {
		return api.FlowAnswer{}, fmt.Errorf("ask the gateway: %w", err)
	}
	line, err := bufio.NewReader(io.LimitReader(c, api.MaxAnswerBytes)).ReadBytes('\n')
	if err != nil {
		return api.FlowAnswer{}, fmt.Errorf("hear the gateway: %w", err)
	}
	return parseAnswer(line)
}

// parseAnswer reads what a gateway sent.
func parseAnswer(line []byte) (api.FlowAnswer, error) {
	var a api.FlowAnswer
	if err := json.Unmarshal(line, &a); err != nil || a.Version != api.FlowAnswerVersion {
		return api.FlowAnswer{}, explain.ErrNotAsked // of another generation
	}
	return a, nil
}

// gatewayAddr is where the gateway itself is found inside the tunnel.
func (v *view) gatewayAddr() (netip.AddrPort, bool) {
	for _, g := range v.gateways {
		at := g.ProbeV4
		if !at.IsValid() {
			at = g.ProbeV6
		}
		if at.IsValid() && g.ProbePort != 0 {
			return netip.AddrPortFrom(at, g.ProbePort), true
		}
	}
	return netip.AddrPort{}, false
}
