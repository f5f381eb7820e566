package targets_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

var networks = []vnet.Network{{ID: "a", Name: "A1net", Default: true}, {ID: "b", Name: "b1.net"}, {ID: "c", Name: "net"}}

func entries() []targets.Entry {
	list := []targets.Target{
		{ID: "t1", Hostname: "web", IPv4: address("10.0.0.9", "a"), IPv6: address("fd00::9", "a")},
		{ID: "t2", Hostname: "web", IPv4: address("10.0.0.9", "b")},
		{ID: "t3", Hostname: "db", IPv4: address("10.0.0.5", "b")},
		{ID: "t4", Hostname: "twin", IPv4: address("10.0.0.6", "a")},
		{ID: "t5", Hostname: "TWIN", IPv4: address("10.0.0.7", "a")},
		{ID: "t6", Hostname: "split", IPv4: address("10.0.1.1", "a"), IPv6: address("fd00:1::1", "b")},
		{ID: "t7", Hostname: "six", IPv6: address("fd00::6", "a")},
		{ID: "t8", Hostname: "db.b1.net", IPv4: address("10.0.0.8", "a")},
		{ID: "t9", Hostname: "10.0.0.5", IPv4: address("10.0.9.9", "a")},
		{ID: "t10", Hostname: "app.b1", IPv4: address("10.0.2.1", "c")},
		{ID: "t11", Hostname: "app", IPv4: address("10.0.2.2", "b")},
	}
	var es []targets.Entry
	for _, tg := range list {
		es = append(es, targets.Entry{Target: tg, Protocol: targets.SSH, Port: 22}, targets.Entry{Target: tg, Protocol: targets.TCP, Port: 80})
	}
	return es
}

func TestResolveName(t *testing.T) {
	tests := []struct {
		name           string
		selected, only vnet.ID
		typed          string
		target         targets.ID
		addr           string
		vnet           vnet.ID
		kind           kind.Kind
		says           string
	}{
		{name: "hostname in the selected network", selected: "a", typed: "web", target: "t1", addr: "10.0.0.9", vnet: "a"},
		{name: "hostname in another case", selected: "b", typed: "WEB", target: "t2", addr: "10.0.0.9", vnet: "b"},
		{name: "hostname in the network asked for", selected: "a", only: "b", typed: "web", target: "t2", addr: "10.0.0.9", vnet: "b"},
		{name: "hostname with network", selected: "a", typed: "web.b1.net", target: "t2", addr: "10.0.0.9", vnet: "b"},
		{name: "hostname with network in another case", selected: "b", typed: "Web.a1NET", target: "t1", addr: "10.0.0.9", vnet: "a"},
		{name: "an IPv6-only target", selected: "a", typed: "six", target: "t7", addr: "fd00::6", vnet: "a"},
		{name: "one match elsewhere", selected: "c", typed: "six", target: "t7", addr: "fd00::6", vnet: "a"},
		{name: "several matches elsewhere", selected: "c", typed: "web", kind: kind.Conflict, says: `ambiguous: t1 (10.0.0.9 in "A1net"), t2 (10.0.0.9 in "b1.net")`},
		{name: "none asked for is not elsewhere", only: "c", typed: "six", kind: kind.NotFound, says: `in virtual network "net"`},
		{name: "two of one hostname in the selected network", selected: "a", typed: "twin", kind: kind.Conflict, says: `t4 (10.0.0.6 in "A1net"), t5 (10.0.0.7 in "A1net")`},
		{name: "one of the two by ID", selected: "a", typed: "t5", target: "t5", addr: "10.0.0.7", vnet: "a"},
		{name: "ID of a target elsewhere", selected: "a", typed: "t3", target: "t3", addr: "10.0.0.5", vnet: "b"},
		{name: "ID in another network than asked for", only: "a", typed: "t3", kind: kind.NotFound, says: "no target"},
		{name: "a target in two networks, selected", selected: "b", typed: "split", target: "t6", addr: "fd00:1::1", vnet: "b"},
		{name: "a target in two networks, neither selected", selected: "c", typed: "t6", kind: kind.Conflict, says: `t6 (10.0.1.1 in "A1net"), t6 (fd00:1::1 in "b1.net")`},
		{name: "hostname wins over hostname with network", selected: "b", typed: "db.b1.net", target: "t8", addr: "10.0.0.8", vnet: "a"},
		{name: "unless it is not in the network asked for", only: "b", typed: "db.b1.net", target: "t3", addr: "10.0.0.5", vnet: "b"},
		{name: "two readings with different networks", selected: "a", typed: "app.b1.net", kind: kind.Conflict, says: "t11 (10.0.2.2 in"},
		{name: "two readings, one network asked for", only: "c", typed: "app.b1.net", target: "t10", addr: "10.0.2.1", vnet: "c"},
		{name: "address of a target", selected: "a", typed: "10.0.0.9", target: "t1", addr: "10.0.0.9", vnet: "a"},
		{name: "IPv6 address of a target", selected: "a", typed: "fd00:0::9", target: "t1", addr: "fd00::9", vnet: "a"},
		{name: "address in the network asked for", selected: "a", only: "b", typed: "10.0.0.9", target: "t2", addr: "10.0.0.9", vnet: "b"},
		{name: "address that is a target's elsewhere only", selected: "c", typed: "10.0.0.9", addr: "10.0.0.9", vnet: "c"},
		{name: "address wins over a hostname of digits", selected: "a", typed: "10.0.0.5", addr: "10.0.0.5", vnet: "a"},
		{name: "address without a network", typed: "10.0.0.9", kind: kind.Invalid, says: "none is selected"},
		{name: "IPv4-mapped address", selected: "a", typed: "::ffff:10.0.0.9", kind: kind.Invalid, says: "write it as 10.0.0.9"},
		{name: "address with a zone", selected: "a", typed: "fd00::9%eth0", kind: kind.Invalid, says: "has a zone"},
		{name: "empty", selected: "a", kind: kind.Invalid, says: "is empty"},
		{name: "unknown", selected: "a", typed: "nowhere", kind: kind.NotFound, says: `no target is called "nowhere"`},
		{name: "unknown network behind", selected: "a", typed: "web.nowhere", kind: kind.NotFound, says: "no target"},
		{name: "only a network", selected: "a", typed: ".b1.net", kind: kind.NotFound, says: "no target"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := targets.ResolveName(entries(), networks, tt.selected, tt.only, tt.typed)
			if tt.kind != "" {
				says(t, err, tt.kind, "", tt.says)
				if diff := cmp.Diff(targets.Destination{}, got, cmpAddr); diff != "" {
					t.Errorf("an error with a destination: %s", diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Target.ID != tt.target || got.Addr.String() != tt.addr || got.VNET != tt.vnet {
				t.Errorf("got %s (%s in %s); want %s (%s in %s)", got.Target.ID, got.Addr, got.VNET, tt.target, tt.addr, tt.vnet)
			}
		})
	}
}

func TestResolveName_LongListsAreCut(t *testing.T) {
	var es []targets.Entry
	for i := range 25 {
		es = append(es, targets.Entry{Target: targets.Target{ID: targets.ID(rune('A' + i)), Hostname: "web", IPv4: &targets.Address{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), VNET: "a"}}})
	}
	_, err := targets.ResolveName(es, nil, "a", "", "web")
	says(t, err, kind.Conflict, "", "J (10.0.0.9 in a) and 15 more")
}

// FuzzResolveName checks that whatever is typed, the answer is a target's
// address in a permitted network, or the address that was typed.
func FuzzResolveName(f *testing.F) {
	for _, s := range []string{"web", "web.b1.net", "10.0.0.9", "fd00::9", "t3", "::ffff:1.2.3.4", "fe80::1%x", ".net", "TWIN.a1net", "\u212A"} {
		f.Add(s, "a", "")
		f.Add(s, "b", "c")
	}
	es := entries()
	f.Fuzz(func(t *testing.T, name, selected, only string) {
		d, err := targets.ResolveName(es, networks, vnet.ID(selected), vnet.ID(only), name)
		if err != nil {
			if kind.Is(err, kind.Internal) {
				t.Fatalf("an error without a kind: %v", err)
			}
			return
		}
		if only != "" && d.VNET != vnet.ID(only) {
			t.Fatalf("%q in %q only resolved into %q", name, only, d.VNET)
		}
		if d.Target.ID == "" {
			if a, err := netip.ParseAddr(name); err != nil || a != d.Addr || d.VNET == "" {
				t.Fatalf("%q resolved to %s, which is no target's", name, d.Addr)
			}
			return
		}
		want := targets.Address{Addr: d.Addr, VNET: d.VNET}
		if (d.Target.IPv4 == nil || *d.Target.IPv4 != want) && (d.Target.IPv6 == nil || *d.Target.IPv6 != want) {
			t.Fatalf("%q resolved to %s in %s, which is not an address of %s", name, d.Addr, d.VNET, d.Target.ID)
		}
	})
}
