package vnet_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/internal/kind"
	"weft/vnet"
)

// drawAddr draws addresses that share many leading bits, and the edges.
func drawAddr(t *rapid.T) netip.Addr {
	edge := rapid.SampledFrom([]string{"", "", "", "", "0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:10.0.0.1"}).Draw(t, "edge")
	if edge != "" {
		return netip.MustParseAddr(edge)
	}
	low := func() byte { return rapid.SampledFrom([]byte{0, 1, 2, 127, 128, 254, 255}).Draw(t, "byte") }
	if rapid.Bool().Draw(t, "four") {
		return netip.AddrFrom4([4]byte{rapid.SampledFrom([]byte{10, 0, 255}).Draw(t, "first"), low(), low(), low()})
	}
	a := [16]byte{0: rapid.SampledFrom([]byte{0xfd, 0, 0xff}).Draw(t, "first"), 1: low(), 8: low(), 15: low()}
	return netip.AddrFrom16(a)
}

func TestTable_AgreesWithAScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vnets := []vnet.ID{"a", "b"}
		unique := make(map[vnet.ID]map[netip.Prefix]vnet.Route)
		var routes []vnet.Route
		for i := range rapid.IntRange(0, 25).Draw(t, "routes") {
			a := drawAddr(t)
			if a.Is4In6() {
				continue
			}
			bits := rapid.IntRange(0, a.BitLen()).Draw(t, "bits")
			p, err := a.Prefix(bits)
			if err != nil {
				t.Fatal(err)
			}
			v := rapid.SampledFrom(vnets).Draw(t, "vnet")
			if unique[v] == nil {
				unique[v] = make(map[netip.Prefix]vnet.Route)
			}
			if _, has := unique[v][p]; has {
				continue
			}
			r := vnet.Route{ID: string(rune('A' + i)), Prefix: p, VNET: v}
			unique[v][p] = r
			routes = append(routes, r)
		}
		table, err := vnet.NewTable(routes)
		if err != nil {
			t.Fatal(err)
		}
		probes := []netip.Addr{drawAddr(t), drawAddr(t), drawAddr(t)}
		for _, r := range routes { // both edges of every prefix, and what lies beyond
			first := r.Prefix.Addr()
			last := first
			for _, o := range routes {
				if r.Prefix.Contains(o.Prefix.Addr()) {
					last = o.Prefix.Addr()
				}
			}
			probes = append(probes, first, first.Prev(), last, last.Next())
		}
		clear(routes)
		for _, v := range append(vnets, "c") {
			for _, a := range probes {
				want, found := vnet.Route{}, false
				for p, r := range unique[v] {
					if p.Contains(a) && !a.Is4In6() && (!found || p.Bits() > want.Prefix.Bits()) {
						want, found = r, true
					}
				}
				if got, ok := table.Lookup(v, a); got != want || ok != found {
					t.Fatalf("Lookup(%s, %s) = %v, %v; want %v, %v", v, a, got, ok, want, found)
				}
			}
		}
	})
}

func TestPool_EveryAddressBelongsToOneBlock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := vnet.Pool{
			V4: netip.PrefixFrom(netip.MustParseAddr("100.64.0.0"), rapid.IntRange(10, 26).Draw(t, "v4 bits")),
			V6: netip.PrefixFrom(netip.MustParseAddr("fd12:3456:789a::"), rapid.IntRange(48, 64).Draw(t, "v6 bits")),
		}
		index := rapid.Uint16().Draw(t, "index")
		b, err := p.Block(index)
		if valid := index > 0 && int(index) < p.Capacity(); valid != (err == nil) {
			t.Fatalf("block %d of %d: %v", index, p.Capacity(), err)
		}
		if err != nil {
			return
		}
		s := vnet.Slot(rapid.IntRange(0, 31).Draw(t, "slot"))
		m := rapid.SampledFrom([]vnet.Mode{vnet.ModeNetstack, vnet.ModeTUN}).Draw(t, "mode")
		v4, v6, err := b.Addrs(s, m)
		if err != nil {
			t.Fatal(err)
		}
		other := rapid.Uint16().Draw(t, "other")
		ob, err := p.Block(other)
		for _, a := range []netip.Addr{v4, v6} {
			if !p.V4.Contains(a) && !p.V6.Contains(a) {
				t.Fatalf("%s is outside the pool", a)
			}
			if i, ok := p.Index(a); i != index || !ok {
				t.Fatalf("Index(%s) = %d, %v; want %d", a, i, ok, index)
			}
			if gs, gm, ok := b.Locate(a); gs != s || gm != m || !ok {
				t.Fatalf("Locate(%s) = %d, %d, %v; want %d, %d", a, gs, gm, ok, s, m)
			}
			if err == nil && other != index {
				if _, _, ok := ob.Locate(a); ok {
					t.Fatalf("%s is in the blocks %d and %d", a, index, other)
				}
			}
		}
		if err == nil && other != index && (ob.V4.Overlaps(b.V4) || ob.V6.Overlaps(b.V6)) {
			t.Fatalf("blocks %d and %d overlap", index, other)
		}
	})
}

func drawIDs(t *rapid.T, label string, most int) []vnet.ID {
	return rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 45), func(n int) vnet.ID { return vnet.ID(rune('0' + n)) }), 0, most).Draw(t, label)
}

func TestAssignSlots_KeepsWhatIsHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := map[vnet.ID]vnet.Slot{}
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			want := drawIDs(t, "want", 45)
			distinct := make(map[vnet.ID]bool)
			for _, v := range want {
				distinct[v] = true
			}
			before := maps.Clone(slots)
			next, err := vnet.AssignSlots(slots, want)
			if !maps.Equal(before, slots) {
				t.Fatal("the old table was changed")
			}
			if len(distinct) > vnet.MaxSlots {
				if !kind.Is(err, kind.Limit) {
					t.Fatalf("%d networks wanted: %v", len(distinct), err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			holder := make(map[vnet.Slot]vnet.ID)
			for v, s := range next {
				if s < 1 || s > vnet.MaxSlots || holder[s] != "" {
					t.Fatalf("slot %d of %q; it is %q's", s, v, holder[s])
				}
				holder[s] = v
			}
			for v := range distinct {
				if next[v] == 0 || before[v] != 0 && before[v] != next[v] {
					t.Fatalf("%q had slot %d and has %d", v, before[v], next[v])
				}
			}
			for v, s := range before {
				if _, kept := next[v]; !kept && (distinct[v] || holder[s] == "") {
					t.Fatalf("%q lost slot %d, which nobody needed", v, s)
				}
			}
			slots = next
		}
	})
}

func TestAssignSlots(t *testing.T) {
	full := make(map[vnet.ID]vnet.Slot)
	for s := range vnet.Slot(vnet.MaxSlots) {
		full[vnet.ID(rune('A'+s))] = s + 1
	}
	tests := []struct {
		name string
		old  map[vnet.ID]vnet.Slot
		want []vnet.ID
		got  map[vnet.ID]vnet.Slot
	}{
		{"nothing", nil, nil, map[vnet.ID]vnet.Slot{}},
		{"the first", nil, []vnet.ID{"x", "y", "x"}, map[vnet.ID]vnet.Slot{"x": 1, "y": 2}},
		{"a gap is filled", map[vnet.ID]vnet.Slot{"x": 1, "z": 3}, []vnet.ID{"z", "y"}, map[vnet.ID]vnet.Slot{"x": 1, "y": 2, "z": 3}},
		{"what is no longer wanted stays", map[vnet.ID]vnet.Slot{"x": 1}, []vnet.ID{"y"}, map[vnet.ID]vnet.Slot{"x": 1, "y": 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := vnet.AssignSlots(tt.old, tt.want)
			if err != nil || !maps.Equal(got, tt.got) {
				t.Errorf("got %v, %v; want %v", got, err, tt.got)
			}
		})
	}
	t.Run("the lowest unwanted is taken when all are held", func(t *testing.T) {
		got, err := vnet.AssignSlots(full, []vnet.ID{"A", "C", "new"})
		if err != nil || got["new"] != 2 || got["A"] != 1 || got["C"] != 3 || len(got) != vnet.MaxSlots {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("one more than there are", func(t *testing.T) {
		want := append(slices.Collect(maps.Keys(full)), "new")
		if _, err := vnet.AssignSlots(full, want); !kind.Is(err, kind.Limit) || !strings.Contains(err.Error(), "32 virtual networks are wanted") {
			t.Errorf("got %v", err)
		}
	})
	for name, old := range map[string]map[vnet.ID]vnet.Slot{
		"the control slot": {"x": 0}, "a slot beyond": {"x": 32}, "one slot twice": {"x": 1, "y": 1}, "no network": {"": 1},
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			if _, err := vnet.AssignSlots(old, nil); !kind.Is(err, kind.Invalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := vnet.AssignSlots(nil, []vnet.ID{""}); !kind.Is(err, kind.Invalid) {
		t.Errorf("a network without an ID: %v", err)
	}
}

func TestResolve(t *testing.T) {
	networks := []vnet.Network{
		{ID: "1111", Name: "default", Default: true},
		{ID: "2222", Name: "Prod"},
		{ID: "3333", Name: "2222"},
		{ID: "4444", Name: "twin"},
		{ID: "5555", Name: "TWIN"},
		{ID: "6666", Name: ""},
	}
	tests := []struct {
		name, ref string
		want      vnet.ID
		kind      kind.Kind
		says      string
	}{
		{name: "by ID", ref: "1111", want: "1111"},
		{name: "by name", ref: "default", want: "1111"},
		{name: "by name in another case", ref: "pROD", want: "2222"},
		{name: "an ID wins over a name", ref: "2222", want: "2222"},
		{name: "part of an ID", ref: "111", kind: kind.NotFound, says: `no virtual network is called "111"`},
		{name: "ambiguous", ref: "twin", kind: kind.Conflict, says: `"twin" (4444), "TWIN" (5555)`},
		{name: "empty", ref: "", kind: kind.Invalid, says: "is empty"},
		{name: "a blank", ref: "default ", kind: kind.NotFound, says: "no virtual network"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := vnet.Resolve(networks, tt.ref)
			if got.ID != tt.want || kind.Of(err) != tt.kind || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %q, %v; want %q and a %q error that says %q", got.ID, err, tt.want, tt.kind, tt.says)
			}
		})
	}
	if _, err := vnet.Resolve(nil, "x"); !kind.Is(err, kind.NotFound) {
		t.Errorf("without networks: %v", err)
	}
}

func FuzzResolve(f *testing.F) {
	for _, s := range []string{"", "default", "PROD", "1111", "tw\u0131n", "\u212A", "\xff"} {
		f.Add(s, "k")
	}
	f.Fuzz(func(t *testing.T, ref, name string) {
		networks := []vnet.Network{{ID: "1111", Name: "default"}, {ID: "2222", Name: name}, {ID: "3333", Name: "prod"}}
		got, err := vnet.Resolve(networks, ref)
		if err != nil {
			if kind.Is(err, kind.Internal) || got != (vnet.Network{}) {
				t.Fatalf("%q: %v, %v", ref, got, err)
			}
			return
		}
		if string(got.ID) != ref && !strings.EqualFold(got.Name, ref) || ref == "" {
			t.Fatalf("%q resolved to %v", ref, got)
		}
	})
}

// FuzzLocate checks that no address is taken for one that Addrs does not give.
func FuzzLocate(f *testing.F) {
	for _, s := range []string{"100.64.0.65", "100.64.0.0", "fd12:3456:789a:1::41", "fd12:3456:789a:1::", "::ffff:100.64.0.65", "fd12:3456:789a:1::41%x"} {
		f.Add(s)
	}
	p := vnet.DefaultPool(ula)
	f.Fuzz(func(t *testing.T, s string) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return
		}
		i, ok := p.Index(a)
		if !ok || i == 0 {
			return
		}
		b, err := p.Block(i)
		if err != nil {
			t.Fatal(err)
		}
		slot, m, ok := b.Locate(a)
		if !ok {
			return
		}
		v4, v6, err := b.Addrs(slot, m)
		if err != nil || a != v4 && a != v6 {
			t.Fatalf("%s is located at (%d, %d), whose addresses are %s and %s (%v)", a, slot, m, v4, v6, err)
		}
	})
}

func BenchmarkTable_Lookup(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		var routes []vnet.Route
		for i := range n {
			routes = append(routes, vnet.Route{VNET: "11111111-1111-1111-1111-111111111111", Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i)}), 24)})
		}
		routes = append(routes, vnet.Route{VNET: "11111111-1111-1111-1111-111111111111", Prefix: netip.MustParsePrefix("10.0.0.0/8")})
		table, err := vnet.NewTable(routes)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 7919) % n
				if _, ok := table.Lookup("11111111-1111-1111-1111-111111111111", netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 9})); !ok {
					b.Fatal("no route")
				}
			}
		})
	}
}

func TestTable_LookupAllocatesNothing(t *testing.T) {
	table, err := vnet.NewTable([]vnet.Route{route("r", "a", "10.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	a := netip.MustParseAddr("10.0.0.1")
	if n := testing.AllocsPerRun(100, func() { table.Lookup("a", a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
