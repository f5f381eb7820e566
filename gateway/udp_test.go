package gateway_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weft/gateway/audit"
	"weft/tunnel"
	"weft/vnet"
)

// serveUDP echoes datagrams on loopback.
func serveUDP(tb testing.TB) netip.AddrPort {
	tb.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65535)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue // an ICMP error of a client that has gone
			}
			if _, err := c.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return
			}
		}
	}()
	tb.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (w *world) dialUDP(s vnet.Slot, dst netip.AddrPort) *tunnel.UDPConn {
	w.tb.Helper()
	c, err := w.client.DialUDP(w.tb.Context(), w.source(s), dst)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(c.Abort)
	return c
}

// exchange sends a datagram until its echo comes: UDP may lose either.
func exchange(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	buf := make([]byte, 65535)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if _, err := c.Write(b); err != nil {
			t.Fatalf("write %d bytes: %v", len(b), err)
		}
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(buf)
		if err != nil {
			continue
		}
		if !bytes.Equal(buf[:n], b) {
			t.Fatalf("echo of %d bytes has %d", len(b), n)
		}
		return
	}
	t.Fatalf("no echo of %d bytes", len(b))
}

func TestUDP_KeepsDatagrams(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portUDP): serveUDP(t)})
	c := w.dialUDP(slotA, at(portUDP))
	// 1 byte, what fits a packet, what needs the stream instead of a QUIC datagram, what is larger than the small buffer.
	for i, n := range []int{1, 1200, 1252, 3000, 9000, 1} {
		start := time.Now()
		exchange(t, c, bytes.Repeat([]byte{byte('a' + i)}, n))
		t.Logf("%d bytes: %v", n, time.Since(start))
	}
	e := w.lastAudit(audit.FlowOpen)
	if e.Protocol != "UDP" || e.Transport != "udp" {
		t.Errorf("opened as %s over %s", e.Protocol, e.Transport)
	}
	if st := w.gateway.Stats(); st.Sessions.OpenUDP != 1 {
		t.Errorf("%d UDP flows open, want 1", st.Sessions.OpenUDP)
	}
}

func TestUDP_DeniedIsRefused(t *testing.T) {
	w := newWorld(t)
	c := w.dialUDP(slotA, at(portDNS))
	w.eventually("the write fails", 30*time.Second, func() bool {
		_, err := c.Write([]byte("x"))
		return err != nil
	})
	if e := w.lastAudit(audit.FlowDenied); e.Reason != "no_application" || e.Transport != "udp" {
		t.Errorf("denied event %+v", e)
	}
}

func TestProbe_IsAnswered(t *testing.T) {
	w := newWorld(t)
	v4, _ := pool.GatewayAddrs()
	c := w.dialUDP(vnet.ControlSlot, netip.AddrPortFrom(v4, probePort))
	exchange(t, c, []byte("are you there"))
	exchange(t, c, bytes.Repeat([]byte("x"), 1200))
	if _, err := c.Write(bytes.Repeat([]byte("x"), 1201)); err != nil {
		t.Fatal(err)
	}
	exchange(t, c, []byte("still there"))
	if n := len(w.auditEvents()); n != 1 { // gateway_start
		t.Errorf("%d audit events, want 1: probes are no access", n)
	}
}

// TestProbe_ReconnectsAreNotCounted: an agent that connects again and again comes from another port each time. However
// often it does, it is answered, and what it left behind is bounded.
func TestProbe_ReconnectsAreNotCounted(t *testing.T) {
	const limit, reconnects = 8, 30
	w := newWorld(t)
	v4, _ := pool.GatewayAddrs()
	for range reconnects {
		exchange(t, w.dialUDP(vnet.ControlSlot, netip.AddrPortFrom(v4, probePort)), []byte("are you there"))
	}
	w.eventually("the oldest flows have ended", 5*time.Second, func() bool { return w.gateway.Stats().Tunnel.FlowsOpen <= limit })
	if st := w.gateway.Stats(); st.ProbesReplaced != reconnects-limit || st.ProbesRefused != 0 {
		t.Errorf("%d probe flows replaced, %d probes refused; want %d and 0", st.ProbesReplaced, st.ProbesRefused, reconnects-limit)
	}
}

func TestProbe_OnlyFromTheControlSlot(t *testing.T) {
	w := newWorld(t)
	v4, _ := pool.GatewayAddrs()
	c := w.dialUDP(slotA, netip.AddrPortFrom(v4, probePort))
	w.eventually("the write fails", 30*time.Second, func() bool {
		_, err := c.Write([]byte("x"))
		return err != nil
	})
}

func TestUDP_WithoutConnectorEnds(t *testing.T) {
	w := newWorld(t)
	c := w.dialUDP(slotA, at(portUDP))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if e := w.lastAudit(audit.FlowClose); e.Reason != "no_connector" {
		t.Errorf("reason %q, want no_connector", e.Reason)
	}
	w.eventually("the flow is gone", 30*time.Second, func() bool { return w.gateway.Stats().Sessions.Open == 0 })
}

func TestUDP_IdleFlowEnds(t *testing.T) {
	w := newWorld(t, func(w *world) { w.udpIdle = 300 * time.Millisecond })
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portUDP): serveUDP(t)})
	c := w.dialUDP(slotA, at(portUDP))
	start := time.Now()
	for time.Since(start) < 600*time.Millisecond { // traffic keeps it open beyond the limit
		exchange(t, c, []byte("x"))
	}
	if n := w.gateway.Stats().Sessions.OpenUDP; n != 1 {
		t.Fatalf("%d UDP flows open, want 1", n)
	}
	e := w.lastAudit(audit.FlowClose)
	if e.Reason != "idle" || e.Error != "" || *e.BytesUp == 0 || *e.BytesUp != *e.BytesDown {
		t.Errorf("close event: reason %q, error %q, up %d, down %d", e.Reason, e.Error, *e.BytesUp, *e.BytesDown)
	}
}

// A gateway that is killed seconds after a peer came must know where the peer was.
func TestProbe_EndpointIsSavedSoon(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, nil)
	v4, _ := pool.GatewayAddrs()
	exchange(t, w.dialUDP(vnet.ControlSlot, netip.AddrPortFrom(v4, probePort)), []byte("hello"))
	w.eventually("endpoint of the peer and address of the connector are on disk", 30*time.Second, func() bool {
		b, err := os.ReadFile(filepath.Join(w.dir, "runtime.json"))
		return err == nil && bytes.Contains(b, []byte(clientHost.String())) && bytes.Contains(b, []byte(`"connectors":["127.0.0.1:`))
	})
}
