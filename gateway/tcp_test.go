package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"weft/api"
	"weft/gateway/audit"
	"weft/tunnel"
	"weft/vnet"
)

func readName(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	s, err := bufio.NewReader(io.LimitReader(c, 64)).ReadString('\n')
	if err != nil {
		t.Fatalf("read name: %v", err)
	}
	return s[:len(s)-1]
}

func TestTCP_SameAddressInTwoVNETs(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	w.startConnector(tunB, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "b")})
	for slot, want := range map[vnet.Slot]string{slotA: "a", slotB: "b"} {
		if got := readName(t, w.mustDial(slot, portTCP)); got != want {
			t.Errorf("slot %d reached %q, want %q", slot, got, want)
		}
	}
}

func TestTCP_HalfCloseKeepsTheOtherDirection(t *testing.T) {
	w := newWorld(t)
	target := listen(t, func(c *net.TCPConn) {
		all, err := io.ReadAll(c) // answers only after the client's FIN
		if err != nil {
			return
		}
		_, _ = c.Write(append([]byte("got "), all...))
	})
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): target})
	c := w.mustDial(slotA, portTCP)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, append([]byte("got "), want...)) {
		t.Errorf("got %d bytes, want %d", len(got), len(want)+4)
	}
	e := w.lastAudit(audit.FlowClose)
	if e.Reason != "closed" || *e.BytesUp != int64(len(want)) || *e.BytesDown != int64(len(want)+4) {
		t.Errorf("close event: reason %q, up %d, down %d", e.Reason, *e.BytesUp, *e.BytesDown)
	}
}

func TestTCP_ResetOfTheTargetReachesTheClient(t *testing.T) {
	w := newWorld(t)
	target := listen(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0) // close sends a reset
	})
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): target})
	c := w.mustDial(slotA, portTCP)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read: %v, want a reset", err)
	}
	if e := w.lastAudit(audit.FlowClose); e.Reason != "reset" {
		t.Errorf("reason %q, want reset", e.Reason)
	}
}

func TestTCP_Refusals(t *testing.T) {
	w := newWorld(t)
	closed := listen(t, func(*net.TCPConn) {})
	refusing := netip.AddrPortFrom(closed.Addr(), freePort(t))
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): refusing})
	spoofed := netip.MustParseAddr("100.64.99.1")
	offRoute := netip.AddrPortFrom(netip.MustParseAddr("10.77.0.5"), portTCP)
	w.update(func(st *api.GatewayState) {
		st.Routes["meta"] = api.WireRoute{ID: "meta", Prefix: netip.MustParsePrefix("169.254.0.0/16"), VNET: netA, Tunnel: tunA}
		off := st.Targets["ta"]
		off.ID, off.IPv4 = "off", &api.AgentAddress{Addr: offRoute.Addr(), VNET: netA}
		st.Targets["off"] = off
	})
	for _, tt := range []struct {
		name   string
		source netip.Addr
		dst    netip.AddrPort
		want   error
		reason string
		event  string
		within time.Duration
	}{
		{"the target refuses", w.source(slotA), at(portTCP), tunnel.ErrRefused, "refused", audit.FlowClose, 4 * time.Second},
		{"no connector is there", w.source(slotB), at(portTCP), tunnel.ErrUnreachable, "no_connector", audit.FlowClose, 4 * time.Second},
		{"no route covers the target", w.source(slotA), offRoute, tunnel.ErrUnreachable, "no_route", audit.FlowDenied, 4 * time.Second},
		{"no application covers the port", w.source(slotA), at(81), tunnel.ErrProhibited, "no_application", audit.FlowDenied, 4 * time.Second},
		{"no target has the address", w.source(slotA), netip.MustParseAddrPort("10.20.0.6:9000"), tunnel.ErrProhibited, "no_target", audit.FlowDenied, 4 * time.Second},
		{"the slot is none of the device's", w.source(9), at(portTCP), tunnel.ErrProhibited, "vnet_not_permitted", audit.FlowDenied, 4 * time.Second},
		{"the control slot is for probes", w.source(vnet.ControlSlot), at(portTCP), tunnel.ErrProhibited, "vnet_not_permitted", audit.FlowDenied, 4 * time.Second},
		{"a route leads to the metadata service", w.source(slotA), netip.MustParseAddrPort("169.254.169.254:80"), tunnel.ErrProhibited, "destination_forbidden", audit.FlowDenied, 4 * time.Second},
		{"another device's tunnel address", w.source(slotA), netip.MustParseAddrPort("100.64.1.1:22"), tunnel.ErrProhibited, "destination_forbidden", audit.FlowDenied, 4 * time.Second},
		{"the source is not of the peer's block", spoofed, at(portTCP), nil, "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == nil {
				expectSilence(t, w, tt.source, tt.dst)
				return
			}
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := w.client.DialTCP(ctx, tt.source, tt.dst)
			if !errors.Is(err, tt.want) {
				t.Fatalf("dial: %v, want %v", err, tt.want)
			}
			if took := time.Since(start); took > tt.within {
				t.Errorf("took %v, want at most %v", took, tt.within)
			}
			w.eventually("audit says "+tt.reason, 30*time.Second, func() bool {
				e := w.lastAudit(tt.event)
				return e.Reason == tt.reason && e.Destination == tt.dst
			})
		})
	}
}

// Flows whose client does not read fill their own windows, not those of everybody on the same connector.
func TestTCP_StalledFlowsDoNotBlockOthers(t *testing.T) {
	w := newWorld(t)
	endless := listen(t, func(c *net.TCPConn) {
		buf := make([]byte, 64<<10)
		for {
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	})
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{
		at(portTCP): endless, netip.AddrPortFrom(netip.MustParseAddr("10.20.0.66"), portTCP): serveTCP(t, "lively"),
	})
	const n = 24
	for range n {
		w.mustDial(slotA, portTCP)
	}
	// Stalled means that nothing more arrives from the targets.
	last := int64(-1)
	w.eventually("the flows are stalled", 20*time.Second, func() bool {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-t.Context().Done():
		}
		now := w.gateway.BytesDownForTest()
		stalled := now == last && now > 0
		last = now
		return stalled
	})
	t.Logf("%d MiB buffered beyond the gateway", last>>20)
	c, err := w.dial(slotA, netip.MustParseAddrPort("10.20.0.66:9000"))
	if err != nil {
		t.Fatalf("dial beside stalled flows: %v", err)
	}
	defer c.Abort()
	if got := readName(t, c); got != "lively" {
		t.Errorf("reached %q", got)
	}
	for range 64 { // more than what small reserves would carry
		if _, err := c.Write(make([]byte, 32<<10)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 32<<10)); err != nil {
			t.Fatal(err)
		}
	}
}
