package gateway_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/access"
	"weft/api"
	"weft/gateway"
	"weft/gateway/audit"
	"weft/gateway/sessions"
	"weft/targets"
	"weft/tunnel"
	"weft/vnet"
)

// cutWithin bounds how soon a live flow must end after the change. A second is the aim, and a few milliseconds are what it
// takes; the rest is for a loaded machine.
const cutWithin = 5 * time.Second

// expectCut waits for the reset of a flow.
func expectCut(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(cutWithin)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want a reset within %v", err, cutWithin)
	}
}

// expectAlive checks that a flow still echoes.
func expectAlive(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatalf("write: %v", err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatalf("read: %v", err)
	}
}

func TestState_ChangesCutLiveFlows(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*api.GatewayState)
		reason string
	}{
		{"the device is deleted", func(st *api.GatewayState) { st.Devices = without(st.Devices, device) }, "device_removed"},
		{"the user is revoked", func(st *api.GatewayState) {
			id := st.Identities[user]
			id.Revoked = true
			st.Identities[user] = id
		}, "identity_revoked"},
		{"the user is deleted", func(st *api.GatewayState) { st.Identities = without(st.Identities, user) }, "identity_unknown"},
		{"the policy no longer includes the user", func(st *api.GatewayState) {
			app := st.Applications["app"]
			app.Policies[0].Include = []access.Rule{access.EmailRule("somebody@else.com")}
			st.Applications["app"] = app
		}, "no_policy"},
		{"the application is deleted", func(st *api.GatewayState) { st.Applications = without(st.Applications, "app") }, "no_application"},
		{"the port is given to another protocol", func(st *api.GatewayState) {
			app := st.Applications["app"]
			app.Criteria[0].Protocol = targets.Postgres
			st.Applications["app"] = app
		}, "target_changed"},
		{"the target is deleted", func(st *api.GatewayState) { st.Targets = without(st.Targets, "ta") }, "no_target"},
		{"the address is another target's", func(st *api.GatewayState) {
			ta := st.Targets["ta"]
			ta.ID = "new"
			st.Targets = without(st.Targets, "ta")
			st.Targets["new"] = ta
		}, "target_changed"},
		{"the route is deleted", func(st *api.GatewayState) { st.Routes = without(st.Routes, "ra") }, "no_route"},
		{"the route leads to another tunnel", func(st *api.GatewayState) {
			r := st.Routes["ra"]
			r.Tunnel = tunB
			st.Routes["ra"] = r
		}, "route_changed"},
		{"the slot is taken from the device", func(st *api.GatewayState) {
			d := st.Devices[device]
			d.Slots = map[vnet.ID]vnet.Slot{netB: slotB}
			st.Devices[device] = d
		}, "vnet_not_permitted"},
		{"the slot is another VNET's", func(st *api.GatewayState) {
			d := st.Devices[device]
			d.Slots = map[vnet.ID]vnet.Slot{netA: slotB, netB: slotA}
			st.Devices[device] = d
		}, "vnet_changed"},
		{"the device is another user's", func(st *api.GatewayState) {
			st.Identities["u2"] = access.Identity{UserID: "u2", Email: "jdoe@company.com"}
			d := st.Devices[device]
			d.UserID = "u2"
			st.Devices[device] = d
		}, "vnet_changed"},
		{"the tunnel is deleted", func(st *api.GatewayState) { st.Tunnels = without(st.Tunnels, tunA) }, "reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
			c := w.mustDial(slotA, portTCP)
			readName(t, c)
			start := time.Now()
			w.update(tt.change)
			expectCut(t, c)
			t.Logf("cut after %v", time.Since(start))
			if e := w.lastAudit(audit.FlowClose); e.Reason != tt.reason {
				t.Errorf("reason %q, want %q", e.Reason, tt.reason)
			}
		})
	}
}

func TestState_WhatStaysAllowedLivesOn(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	c := w.mustDial(slotA, portTCP)
	readName(t, c)
	w.update(func(st *api.GatewayState) {
		st.Targets = without(st.Targets, "tb")
		st.Routes["more"] = api.WireRoute{ID: "more", Prefix: netip.MustParsePrefix("10.30.0.0/16"), VNET: netB, Tunnel: tunB}
		st.Identities["u2"] = access.Identity{UserID: "u2", Email: "other@company.com"}
	})
	expectAlive(t, c)
}

func TestState_OneThatDoesNotCompileIsNotApplied(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	c := w.mustDial(slotA, portTCP)
	readName(t, c)
	before := w.gateway.Stats().Revision
	w.control.update(func(st *api.GatewayState) {
		st.Targets["twin"] = api.WireTarget{ID: "twin", Hostname: "twin", IPv4: &api.AgentAddress{Addr: targetAddr, VNET: netA}}
	})
	w.eventually("the state is refused", 30*time.Second, func() bool { return w.gateway.Stats().BadStates == 1 })
	if rev := w.gateway.Stats().Revision; rev != before {
		t.Errorf("revision %d in force, want %d", rev, before)
	}
	expectAlive(t, c)
	readName(t, w.mustDial(slotA, portTCP))
}

// A revocation may be in the state that does not compile: what is in force must not stay so for ever.
func TestState_OneThatDoesNotCompileGrowsStale(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	w.update(func(st *api.GatewayState) { st.Self.StaleAfterSeconds = 1 })
	w.control.update(func(st *api.GatewayState) {
		st.Targets["twin"] = api.WireTarget{ID: "twin", Hostname: "twin", IPv4: &api.AgentAddress{Addr: targetAddr, VNET: netA}}
	})
	w.eventually("new flows are denied", 30*time.Second, func() bool {
		n, err := w.dial(slotA, at(portTCP))
		if err == nil {
			n.Abort()
		}
		return errors.Is(err, tunnel.ErrProhibited)
	})
	w.update(func(st *api.GatewayState) { st.Targets = without(st.Targets, "twin") })
	readName(t, w.mustDial(slotA, portTCP))
}

// Whatever is wrong with a state, who is revoked in it loses access now, not when somebody has mended it.
func TestState_RevocationInOneThatDoesNotCompile_regression(t *testing.T) {
	twin := func(st *api.GatewayState) {
		st.Targets["twin"] = api.WireTarget{ID: "twin", Hostname: "twin", IPv4: &api.AgentAddress{Addr: targetAddr, VNET: netA}}
	}
	for _, tt := range []struct {
		name   string
		revoke func(*api.GatewayState)
	}{
		{"the device", func(st *api.GatewayState) { st.Devices = without(st.Devices, device) }},
		{"the user", func(st *api.GatewayState) {
			st.Identities[user] = access.Identity{UserID: user, Email: "jdoe@company.com", Revoked: true}
		}},
		{"the target", func(st *api.GatewayState) { st.Targets = without(st.Targets, "ta") }},
		{"the application", func(st *api.GatewayState) { st.Applications = without(st.Applications, "app") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
			c := w.mustDial(slotA, portTCP)
			readName(t, c)
			w.control.update(func(st *api.GatewayState) {
				twin(st)
				tt.revoke(st)
			})
			w.eventually("the flow is cut", 30*time.Second, func() bool { return w.gateway.Stats().Sessions.Open == 0 })
			if _, err := w.dialWithin(slotA, at(portTCP), time.Second); err == nil {
				t.Error("a new flow is allowed")
			}
		})
	}
}

func TestRestart_OldStateDeniesUntilControlAnswers(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	w.stopGateway(w.stop, w.done)
	path := filepath.Join(w.dir, "runtime.json")
	old := []byte(`{"contact":"2020-01-02T03:04:05Z","endpoints":{}}`)
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	w.control.block(api.PathGatewaySync, true)
	w.control.block(api.PathGatewaySelf, true)
	w.startGatewayUnready()
	w.connectClient()
	if err := w.client.ForceHandshake(w.gateway.PublicKey()); err != nil {
		t.Fatal(err)
	}
	w.eventually("new flows are denied", 30*time.Second, func() bool {
		_, err := w.dialWithin(slotA, at(portTCP), time.Second)
		return errors.Is(err, tunnel.ErrProhibited)
	})
	if e := w.lastAudit(audit.FlowDenied); e.Reason != string(access.NoSnapshot) {
		t.Errorf("reason %q", e.Reason)
	}
	w.control.block(api.PathGatewaySync, false)
	w.control.block(api.PathGatewaySelf, false)
	w.wait("gateway ready", w.gateway.Ready())
}

// 1,000 live flows are cut within a second of the policy change (the aim is 100 ms).
func TestState_CutsAThousandFlows(t *testing.T) {
	w := newWorld(t, withLimits(gateway.Limits{Sessions: sessions.Limits{MaxDialsPerDevice: 2000}}))
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	const n = 1000
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := worker; i < n; i += 16 {
				c, err := w.dial(slotA, at(portTCP))
				if err != nil {
					t.Errorf("flow %d: %v", i, err)
					return
				}
				conns[i] = c
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	rev := w.control.update(func(st *api.GatewayState) { st.Applications = without(st.Applications, "app") })
	start := time.Now()
	for i, c := range conns {
		if err := c.SetReadDeadline(start.Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := c.Read(make([]byte, 16)); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
					t.Fatalf("flow %d: %v, want a reset", i, err)
				}
				break
			}
		}
	}
	took := time.Since(start)
	t.Logf("all cut %v after the change was made", took)
	if took > cutWithin {
		t.Errorf("took %v, want at most %v", took, cutWithin)
	}
	w.eventually("all are counted", 30*time.Second, func() bool { // after the last of them was cut
		st := w.gateway.Stats()
		return st.Revision == rev && st.Cut == n
	})
}

func TestState_StaleDeniesNewFlowsOnly(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	c := w.mustDial(slotA, portTCP)
	readName(t, c)
	w.update(func(st *api.GatewayState) { st.Self.StaleAfterSeconds = 1 })
	w.control.block(api.PathGatewaySync, true)
	w.eventually("new flows are denied", 30*time.Second, func() bool {
		n, err := w.dial(slotA, at(portTCP))
		if err == nil {
			n.Abort()
		}
		return errors.Is(err, tunnel.ErrProhibited)
	})
	if e := w.lastAudit(audit.FlowDenied); e.Reason != string(access.NoSnapshot) {
		t.Errorf("reason %q, want %q", e.Reason, access.NoSnapshot)
	}
	expectAlive(t, c)
	w.control.block(api.PathGatewaySync, false)
	w.eventually("new flows are allowed again", 30*time.Second, func() bool {
		n, err := w.dial(slotA, at(portTCP))
		if err == nil {
			n.Abort()
		}
		return err == nil
	})
}

// fullDisk is a writer that fails while full is set.
type fullDisk struct{ full atomic.Bool }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.full.Load() {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

func TestAudit_NoLineNoFlow(t *testing.T) {
	disk := new(fullDisk)
	w := newWorld(t, withAudit(disk))
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	disk.full.Store(true)
	if _, err := w.dial(slotA, at(portTCP)); !errors.Is(err, tunnel.ErrProhibited) {
		t.Errorf("dial: %v, want prohibited", err)
	}
	st := w.gateway.Stats()
	if st.Denied["audit_unavailable"] != 1 || st.AuditFailed != 1 || st.Sessions.Open != 0 || st.Connectors.Dials != 0 {
		t.Errorf("denied %v, failed %d, open %d, dials %d", st.Denied, st.AuditFailed, st.Sessions.Open, st.Connectors.Dials)
	}
	u := w.dialUDP(slotA, at(portUDP))
	if _, err := u.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	w.eventually("the UDP flow is refused", 30*time.Second, func() bool {
		st := w.gateway.Stats()
		return st.Denied["audit_unavailable"] == 2 && st.Sessions.Open == 0 && st.Connectors.Dials == 0
	})
	disk.full.Store(false)
	readName(t, w.mustDial(slotA, portTCP))
}

func TestLimits_FlowsPerDevice(t *testing.T) {
	w := newWorld(t, withLimits(gateway.Limits{Sessions: sessions.Limits{MaxFlowsPerDevice: 3, MaxUDPPerDevice: 1}}))
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a"), at(portUDP): serveUDP(t)})
	var open []*tunnel.TCPConn
	for range 3 {
		open = append(open, w.mustDial(slotA, portTCP))
	}
	if _, err := w.dial(slotA, at(portTCP)); !errors.Is(err, tunnel.ErrRefused) {
		t.Errorf("fourth flow: %v, want refused", err)
	}
	if e := w.lastAudit(audit.FlowDenied); e.Reason != "limit" {
		t.Errorf("reason %q, want limit", e.Reason)
	}
	if n := w.gateway.Stats().Sessions.Refused["flows_per_device"]; n != 1 {
		t.Errorf("counter %d, want 1", n)
	}
	for _, c := range open[:2] {
		c.Abort()
	}
	w.eventually("places are free again", 30*time.Second, func() bool { return w.gateway.Stats().Sessions.Open == 1 })
	exchange(t, w.dialUDP(slotA, at(portUDP)), []byte("one"))
	second := w.dialUDP(slotA, at(portUDP))
	w.eventually("the second UDP flow is refused", 30*time.Second, func() bool {
		_, err := second.Write([]byte("x"))
		return err != nil
	})
	if n := w.gateway.Stats().Sessions.Refused["udp_flows_per_device"]; n == 0 {
		t.Error("the limit of UDP flows was not counted")
	}
}

func TestDenials_AreLimitedPerDevice(t *testing.T) {
	w := newWorld(t)
	const n = 60
	for range n {
		if _, err := w.dial(slotA, at(81)); !errors.Is(err, tunnel.ErrProhibited) {
			t.Fatalf("dial: %v", err)
		}
	}
	lines := 0
	for _, e := range w.auditEvents() {
		if e.Event == audit.FlowDenied {
			lines++
		}
	}
	if lines < 20 || lines >= n {
		t.Errorf("%d lines for %d denials, want about 20", lines, n)
	}
	if got := w.gateway.Stats().Denied["no_application"]; got != n {
		t.Errorf("counted %d denials, want %d", got, n)
	}
	w.eventually("a later line tells of the others", 30*time.Second, func() bool {
		_, _ = w.dial(slotA, at(81))
		for _, e := range w.auditEvents() {
			if e.Suppressed > 0 {
				return true
			}
		}
		return false
	})
}

func TestConnector_DeadOneIsSkipped(t *testing.T) {
	w := newWorld(t)
	stop1, first := w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "one")})
	_, second := w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "two")})
	seen := map[string]int{}
	for range 10 {
		seen[readName(t, w.mustDial(slotA, portTCP))]++
	}
	if seen["one"] != 5 || seen["two"] != 5 {
		t.Errorf("flows went %v, want five each", seen)
	}
	stop1()
	for range 5 {
		if got := readName(t, w.mustDial(slotA, portTCP)); got != "two" {
			t.Errorf("reached %q, want two", got)
		}
	}
	t.Logf("first %+v, second %+v", first.Stats(), second.Stats())
}

func TestConnector_WrongProofIsRefused(t *testing.T) {
	w := newWorld(t)
	w.control.lie(tunA)
	c := w.newConnector(tunA, nil)
	done := make(chan error, 1)
	runCtx, cancel := context.WithCancel(t.Context())
	go func() { done <- c.Run(runCtx) }()
	w.eventually("the connector is refused", 30*time.Second, func() bool { return w.gateway.Stats().Connectors.Refused > 0 })
	if st := w.gateway.Stats().Connectors; st.Accepted != 0 || st.Sessions != 0 {
		t.Errorf("accepted %d, sessions %d", st.Accepted, st.Sessions)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRestart_KeepsPeersAndConnectors(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	readName(t, w.mustDial(slotA, portTCP))
	endpoint := netip.MustParseAddrPort(w.control.reported().ConnectorEndpoints[0])
	key := w.gateway.PublicKey()
	w.stopGateway(w.stop, w.done)
	w.control.block(api.PathGatewaySync, true) // control is away: the saved state must do
	w.control.block(api.PathGatewaySelf, true)
	w.cfg.ConnectorListen = endpoint
	start := time.Now()
	w.startGatewayUnready()
	if w.gateway.PublicKey() != key {
		t.Error("the WireGuard key changed")
	}
	w.eventually("traffic flows again without control", 30*time.Second, func() bool {
		c, err := w.dialWithin(slotA, at(portTCP), 200*time.Millisecond)
		if err != nil {
			return false
		}
		readName(t, c)
		c.Abort()
		return true
	})
	t.Logf("gap %v", time.Since(start))
	w.control.block(api.PathGatewaySync, false)
	w.control.block(api.PathGatewaySelf, false)
	w.wait("gateway ready", w.gateway.Ready())
}
