package vnet_test

import (
	"net/netip"
	"strings"
	"testing"

	"weft/internal/kind"
	"weft/vnet"
)

func route(id string, v vnet.ID, prefix string) vnet.Route {
	return vnet.Route{ID: id, VNET: v, Prefix: netip.MustParsePrefix(prefix), Tunnel: vnet.TunnelID("tunnel-of-" + id)}
}

func TestTable_LongestPrefixWithinTheVNET(t *testing.T) {
	table, err := vnet.NewTable([]vnet.Route{
		route("wide", "a", "10.0.0.0/8"),
		route("narrow", "a", "10.1.0.0/16"),
		route("host", "a", "10.1.2.3/32"),
		route("other", "b", "10.1.0.0/16"),
		route("edge", "a", "255.255.255.0/24"),
		route("v6", "a", "::/0"),
		route("v6-narrow", "a", "fd00::/8"),
		route("v6-edge", "a", "ffff:ffff:ffff:ffff::/64"),
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		vnet vnet.ID
		addr string
		want string
	}{
		{"outside every prefix", "a", "11.0.0.1", ""},
		{"below every prefix", "a", "9.255.255.255", ""},
		{"first address", "a", "10.0.0.0", "wide"},
		{"nested", "a", "10.1.0.0", "narrow"},
		{"nested twice", "a", "10.1.2.3", "host"},
		{"behind the innermost", "a", "10.1.2.4", "narrow"},
		{"behind the nested one", "a", "10.2.0.0", "wide"},
		{"last address", "a", "10.255.255.255", "wide"},
		{"the same prefix in another network", "b", "10.1.2.3", "other"},
		{"only in the other network", "b", "10.2.0.0", ""},
		{"unknown network", "c", "10.1.2.3", ""},
		{"no network", "", "10.1.2.3", ""},
		{"last IPv4 address", "a", "255.255.255.255", "edge"},
		{"first IPv6 address", "a", "::", "v6"},
		{"IPv6 nested", "a", "fd00::1", "v6-narrow"},
		{"IPv6 behind the nested one", "a", "fe00::1", "v6"},
		{"last IPv6 address", "a", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "v6-edge"},
		{"IPv4-mapped address", "a", "::ffff:10.1.2.3", ""},
		{"address with a zone", "a", "fd00::1%eth0", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := table.Lookup(tt.vnet, netip.MustParseAddr(tt.addr))
			if got.ID != tt.want || ok != (tt.want != "") {
				t.Errorf("Lookup(%s, %s) = %q, %v; want %q", tt.vnet, tt.addr, got.ID, ok, tt.want)
			}
		})
	}
	if _, ok := table.Lookup("a", netip.Addr{}); ok {
		t.Error("the zero address has a route")
	}
	if _, ok := (*vnet.Table)(nil).Lookup("a", netip.MustParseAddr("10.0.0.1")); ok {
		t.Error("a nil table has a route")
	}
}

func TestNewTable_Refuses(t *testing.T) {
	tests := []struct {
		name   string
		routes []vnet.Route
		kind   kind.Kind
		says   string
	}{
		{"no prefix", []vnet.Route{{ID: "r", VNET: "a"}}, kind.Invalid, "must be an IP prefix"},
		{"host bits", []vnet.Route{route("r", "a", "10.0.0.1/8")}, kind.Invalid, "did you mean 10.0.0.0/8?"},
		{"IPv4-mapped", []vnet.Route{route("r", "a", "::ffff:10.0.0.0/104")}, kind.Invalid, "IPv4-mapped"},
		{"no network", []vnet.Route{route("r", "", "10.0.0.0/8")}, kind.Invalid, "no virtual network"},
		{"twice", []vnet.Route{route("one", "a", "10.0.0.0/8"), route("mid", "a", "10.0.0.0/9"), route("two", "a", "10.0.0.0/8")}, kind.Conflict, "by route one to tunnel tunnel-of-one and by route two"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := vnet.NewTable(tt.routes)
			if !kind.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v; want a %s error that says %q", err, tt.kind, tt.says)
			}
		})
	}
}
