package targets_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

func TestIndex_At(t *testing.T) {
	ts := []targets.Target{
		{ID: "t1", Hostname: "web", IPv4: address("10.0.0.9", "a")},
		{ID: "t2", Hostname: "web", IPv4: address("10.0.0.9", "b"), IPv6: address("fd00::9", "a")},
	}
	x, err := targets.NewIndex(ts)
	if err != nil {
		t.Fatal(err)
	}
	ts[0].IPv4.Addr = netip.MustParseAddr("10.9.9.9")
	tests := []struct {
		name, addr string
		vnet       vnet.ID
		want       targets.ID
	}{
		{"in one network", "10.0.0.9", "a", "t1"},
		{"in the other", "10.0.0.9", "b", "t2"},
		{"in no network", "10.0.0.9", "", ""},
		{"in a third", "10.0.0.9", "c", ""},
		{"IPv6", "fd00::9", "a", "t2"},
		{"IPv6 in the other network", "fd00::9", "b", ""},
		{"IPv4-mapped", "::ffff:10.0.0.9", "a", ""},
		{"with a zone", "fd00::9%eth0", "a", ""},
		{"changed in the input since", "10.9.9.9", "a", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := x.At(tt.vnet, netip.MustParseAddr(tt.addr))
			if ok != (tt.want != "") || ok && got.ID != tt.want {
				t.Errorf("got %v, %v; want %q", got, ok, tt.want)
			}
		})
	}
	if _, ok := x.At("a", netip.Addr{}); ok {
		t.Error("the zero address has a target")
	}
	if tg, ok := x.ByID("t2"); !ok || tg.ID != "t2" || x.Len() != 2 {
		t.Errorf("ByID: %v, %v", tg, ok)
	}
	var none *targets.Index
	if _, ok := none.At("a", netip.MustParseAddr("10.0.0.9")); ok || none.Len() != 0 {
		t.Error("a nil index has a target")
	}
	if _, ok := none.ByID("t1"); ok {
		t.Error("a nil index has a target")
	}
}

func TestNewIndex_Conflicts(t *testing.T) {
	one := targets.Target{ID: "t1", Hostname: "one", IPv4: address("10.0.0.9", "a")}
	_, err := targets.NewIndex([]targets.Target{one, {ID: "t2", Hostname: "two", IPv4: address("10.0.0.9", "a")}})
	says(t, err, kind.Conflict, "/ip/ipv4/ip_addr", `address 10.0.0.9 in virtual network a already belongs to target "one" (t1)`)
	_, err = targets.NewIndex([]targets.Target{one, {ID: "t1", Hostname: "two", IPv4: address("10.0.0.10", "a")}})
	says(t, err, kind.Conflict, "", `target ID t1 belongs to both "one" and "two"`)
	if _, err := targets.NewIndex([]targets.Target{one, {ID: "t2", Hostname: "one", IPv4: address("10.0.0.9", "b")}}); err != nil {
		t.Errorf("the same address in another network: %v", err)
	}
}

func TestIndex_CheckFree(t *testing.T) {
	x, err := targets.NewIndex([]targets.Target{{ID: "t1", Hostname: "one", IPv6: address("fd00::9", "a")}})
	if err != nil {
		t.Fatal(err)
	}
	says(t, x.CheckFree(&targets.Target{ID: "t2", IPv6: address("fd00::9", "a")}), kind.Conflict, "/ip/ipv6/ip_addr", `"one" (t1)`)
	says(t, x.CheckFree(&targets.Target{IPv6: address("fd00::9", "a")}), kind.Conflict, "/ip/ipv6/ip_addr", `"one" (t1)`)
	for _, free := range []targets.Target{
		{ID: "t1", IPv6: address("fd00::9", "a")},
		{ID: "t2", IPv6: address("fd00::9", "b")},
		{ID: "t2", IPv6: address("fd00::a", "a")},
	} {
		if err := x.CheckFree(&free); err != nil {
			t.Error(err)
		}
	}
}

// TestIndex_AgreesWithAScan compares with going through all targets.
func TestIndex_AgreesWithAScan(t *testing.T) {
	addrs := []string{"10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2", "::ffff:10.0.0.1", "::a00:1"}
	vnets := []vnet.ID{"a", "b", ""}
	rapid.Check(t, func(t *rapid.T) {
		var ts []targets.Target
		holder := make(map[targets.Address]targets.ID)
		for i := range rapid.IntRange(0, 5).Draw(t, "targets") {
			tg := targets.Target{ID: targets.ID(rune('A' + i))}
			for _, p := range []**targets.Address{&tg.IPv4, &tg.IPv6} {
				a := address(rapid.SampledFrom(addrs).Draw(t, "address"), rapid.SampledFrom(vnets).Draw(t, "vnet"))
				if a.Addr.Is4() == (p == &tg.IPv4) && !a.Addr.Is4In6() {
					*p = a
				}
			}
			ts = append(ts, tg)
		}
		conflict := false
		for _, tg := range ts {
			for _, a := range []*targets.Address{tg.IPv4, tg.IPv6} {
				if a != nil {
					conflict = conflict || holder[*a] != ""
					holder[*a] = tg.ID
				}
			}
		}
		x, err := targets.NewIndex(ts)
		if conflict != kind.Is(err, kind.Conflict) || !conflict && err != nil {
			t.Fatalf("conflict is %v and the error %v", conflict, err)
		}
		if conflict {
			return
		}
		for _, s := range addrs {
			for _, v := range vnets {
				var got targets.ID
				if tg, ok := x.At(v, netip.MustParseAddr(s)); ok {
					got = tg.ID
				}
				if want := holder[*address(s, v)]; got != want {
					t.Fatalf("At(%q, %s) = %q; want %q", v, s, got, want)
				}
			}
		}
	})
}
