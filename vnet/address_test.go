package vnet_test

import (
	"net/netip"
	"testing"

	"weft/internal/kind"
	"weft/vnet"
)

var ula = netip.MustParsePrefix("fd12:3456:789a::/48")

func addr(tb testing.TB, s string) netip.Addr {
	tb.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// TestBlock_EveryAddress goes through all addresses of one block's IPv4 prefix
// and the neighbourhood of its IPv6 ones.
func TestBlock_EveryAddress(t *testing.T) {
	p := vnet.DefaultPool(ula)
	b, err := p.Block(4711)
	if err != nil {
		t.Fatal(err)
	}
	if want := netip.MustParsePrefix("100.68.153.192/26"); b.V4 != want {
		t.Errorf("IPv4 prefix %s; want %s", b.V4, want)
	}
	if want := netip.MustParsePrefix("fd12:3456:789a:1267::/64"); b.V6 != want {
		t.Errorf("IPv6 prefix %s; want %s", b.V6, want)
	}
	given := make(map[netip.Addr]bool)
	for m := vnet.ModeNetstack; m <= vnet.ModeTUN; m++ {
		for s := vnet.ControlSlot; s < 32; s++ {
			v4, v6, err := b.Addrs(s, m)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range []netip.Addr{v4, v6} {
				if given[a] {
					t.Fatalf("%s is given twice", a)
				}
				given[a] = true
				if gs, gm, ok := b.Locate(a); gs != s || gm != m || !ok {
					t.Errorf("Locate(%s) = %d, %d, %v; want %d, %d", a, gs, gm, ok, s, m)
				}
				if i, ok := p.Index(a); i != 4711 || !ok {
					t.Errorf("Index(%s) = %d, %v; want 4711", a, i, ok)
				}
			}
			if !b.V4.Contains(v4) || !b.V6.Contains(v6) {
				t.Errorf("%s, %s are outside the block", v4, v6)
			}
		}
	}
	if len(given) != 128 {
		t.Fatalf("a block gives %d addresses; want 128", len(given))
	}
	for a := b.V4.Addr(); b.V4.Contains(a); a = a.Next() {
		if !given[a] {
			t.Errorf("%s belongs to no slot", a)
		}
	}
	a := b.V6.Addr()
	for range 1000 {
		if _, _, ok := b.Locate(a); ok != given[a] {
			t.Errorf("Locate(%s) = %v; want %v", a, ok, given[a])
		}
		a = a.Next()
	}
	for _, s := range []string{
		"100.68.153.191", "100.68.154.0", "fd12:3456:789a:1266::40", "fd12:3456:789a:1268::40",
		"fd12:3456:789a:1267::", "fd12:3456:789a:1267:1::40", "::ffff:100.68.153.192", "fd12:3456:789a:1267::40%eth0",
	} {
		if _, _, ok := b.Locate(addr(t, s)); ok {
			t.Errorf("Locate(%s) is in the block", s)
		}
	}
	if _, _, ok := b.Locate(netip.Addr{}); ok {
		t.Error("the zero address is in the block")
	}
}

func TestBlock_AddrsRefuses(t *testing.T) {
	b, err := vnet.DefaultPool(ula).Block(1)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Addrs(32, vnet.ModeNetstack); !kind.Is(err, kind.Invalid) {
		t.Errorf("slot 32: %v", err)
	}
	if _, _, err := b.Addrs(1, 2); !kind.Is(err, kind.Invalid) {
		t.Errorf("mode 2: %v", err)
	}
	if _, _, err := (vnet.Block{}).Addrs(1, vnet.ModeTUN); !kind.Is(err, kind.Invalid) {
		t.Errorf("zero block: %v", err)
	}
	if _, _, ok := (vnet.Block{}).Locate(addr(t, "100.64.0.1")); ok {
		t.Error("the zero block holds an address")
	}
}

func TestPool_Blocks(t *testing.T) {
	p := vnet.DefaultPool(ula)
	if _, err := p.Block(0); !kind.Is(err, kind.Invalid) {
		t.Errorf("block 0: %v", err)
	}
	last, err := p.Block(65535)
	if err != nil {
		t.Fatal(err)
	}
	if v4, v6 := last.V4.String(), last.V6.String(); v4 != "100.127.255.192/26" || v6 != "fd12:3456:789a:ffff::/64" {
		t.Errorf("last block is %s, %s", v4, v6)
	}
	v4, v6 := p.GatewayAddrs()
	if v4.String() != "100.64.0.0" || v6.String() != "fd12:3456:789a::40" {
		t.Errorf("gateway addresses are %s, %s", v4, v6)
	}
	for _, a := range []netip.Addr{v4, v6} {
		if i, ok := p.Index(a); i != 0 || !ok {
			t.Errorf("Index(%s) = %d, %v; want 0", a, i, ok)
		}
	}
	for _, s := range []string{"100.63.255.255", "100.128.0.0", "10.0.0.1", "fd12:3456:789b::40", "::ffff:100.64.0.1", "::"} {
		if i, ok := p.Index(addr(t, s)); ok {
			t.Errorf("Index(%s) = %d; want none", s, i)
		}
	}
}

func TestPool_TooSmallOrMalformed(t *testing.T) {
	small := vnet.Pool{V4: netip.MustParsePrefix("10.9.0.0/24"), V6: ula}
	if n := small.Capacity(); n != 4 {
		t.Errorf("a /24 holds %d blocks; want 4", n)
	}
	if _, err := small.Block(3); err != nil {
		t.Error(err)
	}
	if _, err := small.Block(4); !kind.Is(err, kind.Limit) {
		t.Errorf("block 4 of 4: %v", err)
	}
	if _, ok := small.Index(addr(t, "fd12:3456:789a:4::40")); ok {
		t.Error("an address beyond the capacity has an index")
	}
	for _, p := range []vnet.Pool{
		{},
		vnet.DefaultPool(netip.Prefix{}),
		vnet.DefaultPool(netip.MustParsePrefix("10.0.0.0/8")),
		vnet.DefaultPool(netip.MustParsePrefix("fd12:3456:789a::1/48")),
		vnet.DefaultPool(netip.MustParsePrefix("fd12:3456:789a::/65")),
		vnet.DefaultPool(netip.MustParsePrefix("::ffff:0:0/96")),
		{V4: netip.MustParsePrefix("100.64.0.0/27"), V6: ula},
	} {
		if _, err := p.Block(1); !kind.Is(err, kind.Invalid) {
			t.Errorf("pool %v gives a block: %v", p, err)
		}
		if v4, v6 := p.GatewayAddrs(); v4.IsValid() || v6.IsValid() {
			t.Errorf("pool %v gives gateway addresses", p)
		}
		if _, ok := p.Index(addr(t, "100.64.0.1")); ok {
			t.Errorf("pool %v gives an index", p)
		}
	}
}
