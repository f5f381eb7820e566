package enforce_test

import (
	"net/netip"
	"strings"
	"testing"

	"weft/access"
	"weft/api"
	"weft/gateway/enforce"
	"weft/targets"
	"weft/tunnel"
	"weft/vnet"
)

var pool = vnet.Pool{V4: netip.MustParsePrefix("100.64.0.0/10"), V6: netip.MustParsePrefix("fd12:3456:789a::/48")}

const (
	netA, netGone = vnet.ID("net-a"), vnet.ID("net-gone")
	slotA         = vnet.Slot(3)
	slotGone      = vnet.Slot(4)
	probePort     = 5350
)

func state(tb testing.TB) *api.GatewayState {
	tb.Helper()
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		tb.Fatal(err)
	}
	return &api.GatewayState{
		Self: api.GatewaySyncSelf{
			GatewayID: "gw", AccountID: "acc", PoolV4: pool.V4, PoolV6: pool.V6, ProbePort: probePort,
		},
		Networks: map[string]api.WireNetwork{string(netA): {ID: netA, Name: "staging"}},
		Routes: map[string]api.WireRoute{
			"wide":   {ID: "wide", Prefix: netip.MustParsePrefix("10.0.0.0/8"), VNET: netA, Tunnel: "t1"},
			"narrow": {ID: "narrow", Prefix: netip.MustParsePrefix("10.20.0.0/16"), VNET: netA, Tunnel: "t2"},
			"v6":     {ID: "v6", Prefix: netip.MustParsePrefix("2001:db8::/32"), VNET: netA, Tunnel: "t2"},
		},
		Targets: map[string]api.WireTarget{
			"web": {
				ID: "web", Hostname: "web", IPv4: &api.AgentAddress{Addr: netip.MustParseAddr("10.20.0.5"), VNET: netA},
				IPv6: &api.AgentAddress{Addr: netip.MustParseAddr("2001:db8::5"), VNET: netA},
			},
			"lost": {ID: "lost", Hostname: "web", IPv4: &api.AgentAddress{Addr: netip.MustParseAddr("172.16.0.5"), VNET: netA}},
		},
		Applications: map[string]access.Application{"app": {
			ID: "app", Name: "web",
			Criteria: []targets.Criteria{
				{Attributes: map[string][]string{"hostname": {"web"}}, Port: 443, Protocol: targets.HTTPS},
				{Attributes: map[string][]string{"hostname": {"web"}}, Port: 22, Protocol: targets.SSH},
			},
			Policies: []access.Policy{{
				ID: "pol", Name: "people", Decision: "allow", Include: []access.Rule{access.EmailRule("jdoe@company.com")},
				SSH: &access.SSHRules{Usernames: []string{"ubuntu"}},
			}},
		}},
		Identities: map[string]access.Identity{"u": {UserID: "u", Email: "jdoe@company.com"}},
		Devices: map[string]api.GatewayDevice{"d": {
			ID: "d", Name: "laptop", UserID: "u", PublicKey: key.Public().String(), BlockIndex: 300,
			Slots: map[vnet.ID]vnet.Slot{netA: slotA, netGone: slotGone},
		}},
		Tunnels: map[string]api.GatewayTunnel{},
	}
}

func compile(tb testing.TB, st *api.GatewayState) *enforce.View {
	tb.Helper()
	v, err := enforce.Compile(5, st)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// addrOf is an address of a device's block.
func addrOf(tb testing.TB, index uint16, s vnet.Slot, m vnet.Mode) (v4, v6 netip.Addr) {
	tb.Helper()
	b, err := pool.Block(index)
	if err != nil {
		tb.Fatal(err)
	}
	if v4, v6, err = b.Addrs(s, m); err != nil {
		tb.Fatal(err)
	}
	return v4, v6
}

func TestDecide(t *testing.T) {
	v := compile(t, state(t))
	v4, v6 := addrOf(t, 300, slotA, vnet.ModeNetstack)
	tun, _ := addrOf(t, 300, slotA, vnet.ModeTUN)
	control, _ := addrOf(t, 300, vnet.ControlSlot, vnet.ModeNetstack)
	gone, _ := addrOf(t, 300, slotGone, vnet.ModeNetstack)
	unused, _ := addrOf(t, 300, 9, vnet.ModeNetstack)
	stranger, _ := addrOf(t, 301, slotA, vnet.ModeNetstack)
	web := netip.MustParseAddrPort("10.20.0.5:443")
	for _, tt := range []struct {
		name   string
		flow   enforce.Flow
		reason access.Reason
		tunnel vnet.TunnelID
	}{
		{"a target of the VNET is allowed over its narrowest route", enforce.Flow{Source: v4, Destination: web, Transport: "tcp"}, access.Allowed, "t2"},
		{"an OS TUN's address counts the same", enforce.Flow{Source: tun, Destination: web, Transport: "tcp"}, access.Allowed, "t2"},
		{"so does IPv6", enforce.Flow{Source: v6, Destination: netip.MustParseAddrPort("[2001:db8::5]:443"), Transport: "tcp"}, access.Allowed, "t2"},
		{"a granted UNIX user is allowed", enforce.Flow{Source: v4, Destination: netip.MustParseAddrPort("10.20.0.5:22"), Transport: "tcp", Login: "ubuntu"}, access.Allowed, "t2"},
		{"another UNIX user is not", enforce.Flow{Source: v4, Destination: netip.MustParseAddrPort("10.20.0.5:22"), Transport: "tcp", Login: "root"}, access.LoginNotPermitted, ""},
		{"another transport is not", enforce.Flow{Source: v4, Destination: web, Transport: "udp"}, access.NoApplication, ""},
		{"a target that no route covers is not reached", enforce.Flow{Source: v4, Destination: netip.MustParseAddrPort("172.16.0.5:443"), Transport: "tcp"}, enforce.NoRoute, ""},
		{"an address that is no target's is denied though routed", enforce.Flow{Source: v4, Destination: netip.MustParseAddrPort("10.20.0.6:443"), Transport: "tcp"}, access.NoTarget, ""},
		{"the control slot is in no VNET", enforce.Flow{Source: control, Destination: web, Transport: "tcp"}, enforce.VNETNotPermitted, ""},
		{"a slot of a VNET that is gone is refused", enforce.Flow{Source: gone, Destination: web, Transport: "tcp"}, enforce.VNETNotPermitted, ""},
		{"a slot that was not given is refused", enforce.Flow{Source: unused, Destination: web, Transport: "tcp"}, enforce.VNETNotPermitted, ""},
		{"a block of no device is refused", enforce.Flow{Source: stranger, Destination: web, Transport: "tcp"}, enforce.SourceUnknown, ""},
		{"an address outside the pool is refused", enforce.Flow{Source: netip.MustParseAddr("10.9.9.9"), Destination: web, Transport: "tcp"}, enforce.SourceUnknown, ""},
		{"no address at all is refused", enforce.Flow{Destination: web, Transport: "tcp"}, enforce.SourceUnknown, ""},
		{"the tunnel's own space is refused", enforce.Flow{Source: v4, Destination: netip.AddrPortFrom(stranger, 22), Transport: "tcp"}, enforce.DestinationForbidden, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := v.Decide(tt.flow)
			if got.Reason != tt.reason || got.Allow != (tt.reason == access.Allowed) || got.Route.Tunnel != tt.tunnel {
				t.Errorf("allow %v, reason %q, tunnel %q; want reason %q, tunnel %q",
					got.Allow, got.Reason, got.Route.Tunnel, tt.reason, tt.tunnel)
			}
			if !got.Allow && got.Message() == "" {
				t.Error("a refusal says nothing to the user")
			}
		})
	}
}

func TestDecide_WithoutViewDenies(t *testing.T) {
	var v *enforce.View
	if got := v.Decide(enforce.Flow{}); got.Allow || got.Reason != access.NoSnapshot {
		t.Errorf("%+v", got)
	}
	if _, ok := v.Probe(netip.Addr{}, netip.AddrPort{}); ok {
		t.Error("a probe was answered without a state")
	}
}

func TestForbidden(t *testing.T) {
	for _, tt := range []struct {
		addr string
		want bool
	}{
		{"10.20.0.5", false},
		{"192.168.1.1", false},
		{"8.8.8.8", false},
		{"2001:db8::5", false},
		{"fd00::5", false},
		{"127.0.0.1", true},
		{"127.9.9.9", true},
		{"::1", true},
		{"0.0.0.0", true},
		{"0.1.2.3", true},
		{"::", true},
		{"::10.0.0.1", true},
		{"169.254.169.254", true},
		{"fe80::1", true},
		{"224.0.0.1", true},
		{"ff02::1", true},
		{"255.255.255.255", true},
		{"::ffff:10.0.0.1", true},
		{"::ffff:127.0.0.1", true},
		{"100.64.0.1", true},
		{"100.127.255.255", true},
		{"fd12:3456:789a:1::1", true},
		{"fd00:ec2::254", true},
		{"100.100.100.200", true},
		{"64:ff9b::7f00:1", true},    // NAT64 of 127.0.0.1
		{"64:ff9b::a9fe:a9fe", true}, // NAT64 of 169.254.169.254
		{"64:ff9b::a14:5", false},    // NAT64 of 10.20.0.5
		{"2002:7f00:1::", true},      // 6to4 of 127.0.0.1
		{"2002:a14:5::1", false},     // 6to4 of 10.20.0.5
	} {
		if got := enforce.Forbidden(pool, netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("Forbidden(%s) = %v, want %v", tt.addr, got, tt.want)
		}
	}
	if !enforce.Forbidden(pool, netip.Addr{}) {
		t.Error("the zero address is allowed")
	}
}

func TestProbe(t *testing.T) {
	v := compile(t, state(t))
	g4, g6 := pool.GatewayAddrs()
	c4, c6 := addrOf(t, 300, vnet.ControlSlot, vnet.ModeNetstack)
	a4, _ := addrOf(t, 300, slotA, vnet.ModeNetstack)
	x4, _ := addrOf(t, 301, vnet.ControlSlot, vnet.ModeNetstack)
	for _, tt := range []struct {
		name   string
		source netip.Addr
		dst    netip.AddrPort
		want   bool
	}{
		{"from the control slot", c4, netip.AddrPortFrom(g4, probePort), true},
		{"from the control slot by IPv6", c6, netip.AddrPortFrom(g6, probePort), true},
		{"from a VNET's slot", a4, netip.AddrPortFrom(g4, probePort), false},
		{"from a block of no device", x4, netip.AddrPortFrom(g4, probePort), false},
		{"to another port", c4, netip.AddrPortFrom(g4, 53), false},
		{"to another address", c4, netip.MustParseAddrPort("100.64.0.77:5350"), false},
	} {
		if _, ok := v.Probe(tt.source, tt.dst); ok != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, ok, tt.want)
		}
	}
}

func TestCompile_Contradictions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*api.GatewayState)
		want   string
	}{
		{"two devices share a block", func(st *api.GatewayState) {
			key, err := tunnel.NewPrivateKey()
			if err != nil {
				panic(err)
			}
			d := st.Devices["d"]
			d.ID, d.PublicKey = "e", key.Public().String()
			st.Devices["e"] = d
		}, "block"},
		{"two devices share a key", func(st *api.GatewayState) {
			d := st.Devices["d"]
			d.ID, d.BlockIndex = "e", 301
			st.Devices["e"] = d
		}, "key"},
		{"a route has host bits", func(st *api.GatewayState) {
			st.Routes["bad"] = api.WireRoute{ID: "bad", Prefix: netip.MustParsePrefix("10.1.1.1/8"), VNET: netA, Tunnel: "t"}
		}, "route"},
		{"an address belongs to two targets", func(st *api.GatewayState) {
			twin := st.Targets["web"]
			twin.ID = "twin"
			st.Targets["twin"] = twin
		}, "policy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := state(t)
			tt.change(st)
			if _, err := enforce.Compile(1, st); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err %v, want one about %q", err, tt.want)
			}
		})
	}
}

// A device that makes no sense is denied, and does not keep a revocation of others from taking effect.
func TestCompile_LeavesOutABrokenDevice(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*api.GatewayDevice)
	}{
		{"its key is no key", func(d *api.GatewayDevice) { d.PublicKey = "x" }},
		{"its block is the gateways'", func(d *api.GatewayDevice) { d.BlockIndex = 0 }},
		{"a VNET has the control slot", func(d *api.GatewayDevice) { d.Slots = map[vnet.ID]vnet.Slot{netA: 0} }},
		{"a slot is too high", func(d *api.GatewayDevice) { d.Slots = map[vnet.ID]vnet.Slot{netA: 32} }},
		{"two VNETs share a slot", func(d *api.GatewayDevice) { d.Slots = map[vnet.ID]vnet.Slot{netA: 1, netGone: 1} }},
		{"its public address is none", func(d *api.GatewayDevice) { d.SourceIP = "here" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st := state(t)
			d := st.Devices["d"]
			tt.change(&d)
			st.Devices["d"] = d
			v := compile(t, st)
			if len(v.Problems()) != 1 {
				t.Errorf("problems %v, want one", v.Problems())
			}
			for d := range v.Devices {
				t.Errorf("device %s is still a peer", d.ID)
			}
		})
	}
}

func TestDecide_AllowAllocatesNothing(t *testing.T) {
	v := compile(t, state(t))
	source, _ := addrOf(t, 300, slotA, vnet.ModeNetstack)
	f := enforce.Flow{Source: source, Destination: netip.MustParseAddrPort("10.20.0.5:443"), Transport: targets.TransportTCP}
	if n := testing.AllocsPerRun(1000, func() {
		if !v.Decide(f).Allow {
			t.Fatal("denied")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	v := compile(b, state(b))
	source, _ := addrOf(b, 300, slotA, vnet.ModeNetstack)
	f := enforce.Flow{Source: source, Destination: netip.MustParseAddrPort("10.20.0.5:443"), Transport: targets.TransportTCP}
	b.ReportAllocs()
	for b.Loop() {
		v.Decide(f)
	}
}
