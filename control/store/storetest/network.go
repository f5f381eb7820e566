package storetest

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

func (f *fixture) network(t *testing.T, name string) api.VirtualNetwork {
	t.Helper()
	var n api.VirtualNetwork
	f.write(t, func(tx *store.Tx) (err error) {
		n, err = tx.CreateNetwork(f.ctx, store.NetworkFields{Name: name})
		return err
	})
	return n
}

func (f *fixture) tunnel(t *testing.T) api.Tunnel {
	t.Helper()
	var x api.Tunnel
	f.write(t, func(tx *store.Tx) (err error) {
		x, err = tx.CreateTunnel(f.ctx, "lab", "local", nil)
		return err
	})
	return x
}

func (f *fixture) route(t *testing.T, network, vnet, tunnel string) api.Route {
	t.Helper()
	var x api.Route
	f.write(t, func(tx *store.Tx) (err error) {
		x, err = tx.CreateRoute(f.ctx, store.RouteFields{Network: network, VNET: vnet, TunnelID: tunnel})
		return err
	})
	return x
}

// names says whether an error's message holds all words.
func names(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not name %q: %v", w, err)
		}
	}
}

func networksHaveOneDefault(t *testing.T, f *fixture) {
	t.Helper()
	yes, no := true, false
	defaults := func() (list []api.VirtualNetwork) {
		f.read(t, func(r *store.Reader) (err error) {
			list, err = r.ListNetworks(f.ctx, store.NetworkFilter{IsDefault: &yes})
			return err
		})
		return list
	}
	first := defaults()
	if len(first) != 1 || first[0].Name != "default" {
		t.Fatalf("a new account has the defaults %+v", first)
	}
	n := f.network(t, "prod")
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.UpdateNetwork(f.ctx, n.ID, nil, nil, &yes)
		return err
	})
	if now := defaults(); len(now) != 1 || now[0].ID != n.ID {
		t.Errorf("after the change the defaults are %+v", now)
	}
	f.refused(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.UpdateNetwork(f.ctx, n.ID, nil, nil, &no)
		return err
	})
	f.refused(t, kind.Conflict, func(tx *store.Tx) error {
		_, err := tx.DeleteNetwork(f.ctx, n.ID)
		return err
	})
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.DeleteNetwork(f.ctx, first[0].ID)
		return err
	})
}

func networkNamesAreUnique(t *testing.T, f *fixture) {
	t.Helper()
	n := f.network(t, "Prod")
	create := func(tx *store.Tx) error {
		_, err := tx.CreateNetwork(f.ctx, store.NetworkFields{Name: "pROD"})
		return err
	}
	names(t, f.refusal(t, kind.Conflict, create), "Prod", n.ID)
	for _, bad := range []string{"", " x", "x\ny", strings.Repeat("x", 400), "\xff"} {
		f.refused(t, kind.Invalid, func(tx *store.Tx) error {
			_, err := tx.CreateNetwork(f.ctx, store.NetworkFields{Name: bad})
			return err
		})
	}
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.DeleteNetwork(f.ctx, n.ID)
		return err
	})
	f.write(t, create)
	deleted := true
	f.read(t, func(r *store.Reader) error {
		list, err := r.ListNetworks(f.ctx, store.NetworkFilter{IsDeleted: &deleted})
		if len(list) != 1 || list[0].ID != n.ID || list[0].DeletedAt == nil {
			t.Errorf("the deleted networks are %+v", list)
		}
		return err
	})
}

func networksInUseStay(t *testing.T, f *fixture) {
	t.Helper()
	n, tun := f.network(t, "prod"), f.tunnel(t)
	r := f.route(t, "10.0.0.0/24", n.ID, tun.ID)
	x := f.target(t, "web-1", "10.0.0.9", n.ID)
	del := func(tx *store.Tx) error {
		_, err := tx.DeleteNetwork(f.ctx, n.ID)
		return err
	}
	names(t, f.refusal(t, kind.Conflict, del), "10.0.0.0/24", r.ID, "web-1", x.ID)
	f.write(t, func(tx *store.Tx) error {
		if _, err := tx.DeleteRoute(f.ctx, r.ID); err != nil {
			return err
		}
		return tx.DeleteTarget(f.ctx, x.ID)
	})
	f.write(t, del)
}

func tunnelSecretsComeBack(t *testing.T, f *fixture) {
	t.Helper()
	secret := bytes.Repeat([]byte("s"), 32)
	var x api.Tunnel
	f.write(t, func(tx *store.Tx) (err error) {
		x, err = tx.CreateTunnel(f.ctx, "lab", "local", secret)
		return err
	})
	f.read(t, func(r *store.Reader) error {
		got, err := r.TunnelSecret(f.ctx, x.ID)
		if !bytes.Equal(got, secret) {
			t.Errorf("the secret is %q", got)
		}
		return err
	})
	tok := api.ConnectorToken{AccountID: f.Account().ID, TunnelID: x.ID, Secret: secret}
	try := func(tok api.ConnectorToken) error {
		return f.View(f.ctx, func(r *store.Reader) error {
			_, err := r.AuthenticateConnector(f.ctx, tok)
			return err
		})
	}
	if err := try(tok); err != nil {
		t.Error(err)
	}
	other := tok
	other.Secret = bytes.Repeat([]byte("x"), 32)
	foreign := tok
	foreign.AccountID = strings.Repeat("0", 32)
	unknown := tok
	unknown.TunnelID = "no"
	for _, bad := range []api.ConnectorToken{other, foreign, unknown} {
		if err := try(bad); !kind.Is(err, kind.Unauthenticated) {
			t.Errorf("token %+v: error is %v", bad, err)
		}
	}
	f.refused(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.CreateTunnel(f.ctx, "short", "local", []byte("short"))
		return err
	})
	f.refused(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.CreateTunnel(f.ctx, "c77b744e-acc8-428f-9257-6878c046ed55", "local", nil)
		return err
	})
	names(t, f.refusal(t, kind.Conflict, func(tx *store.Tx) error {
		_, err := tx.CreateTunnel(f.ctx, "LAB", "local", nil)
		return err
	}), x.ID)
}

func tunnelsInUseStay(t *testing.T, f *fixture) {
	t.Helper()
	tun := f.tunnel(t)
	r := f.route(t, "10.0.0.0/24", "", tun.ID)
	names(t, f.refusal(t, kind.Conflict, func(tx *store.Tx) error {
		_, err := tx.DeleteTunnel(f.ctx, tun.ID, false)
		return err
	}), r.ID, r.Network)
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.DeleteTunnel(f.ctx, tun.ID, true)
		return err
	})
	f.refused(t, kind.NotFound, func(tx *store.Tx) error {
		_, err := tx.DeleteRoute(f.ctx, r.ID)
		return err
	})
	f.tunnel(t) // the name is free again
}

func routesAreUnique(t *testing.T, f *fixture) {
	t.Helper()
	n, tun := f.network(t, "prod"), f.tunnel(t)
	r := f.route(t, "10.0.0.0/24", n.ID, tun.ID)
	f.route(t, "10.0.0.0/24", "", tun.ID) // another network
	f.route(t, "10.0.0.0/25", n.ID, tun.ID)
	again := func(network string) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			_, err := tx.CreateRoute(f.ctx, store.RouteFields{Network: network, VNET: n.ID, TunnelID: tun.ID})
			return err
		}
	}
	names(t, f.refusal(t, kind.Conflict, again("10.0.0.0/24")), r.ID, "lab", "prod")
	for _, bad := range []string{"", "10.0.0.1/24", "10.0.0.0", "10.0.0.0/33", "::ffff:10.0.0.0/120", "fe80::%eth0/64"} {
		f.refused(t, kind.Invalid, again(bad))
	}
	f.refused(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.CreateRoute(f.ctx, store.RouteFields{Network: "10.1.0.0/24", VNET: "no", TunnelID: tun.ID})
		return err
	})
	f.refused(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.CreateRoute(f.ctx, store.RouteFields{Network: "10.1.0.0/24", TunnelID: "no"})
		return err
	})
}

func routesAreFound(t *testing.T, f *fixture) {
	t.Helper()
	tun := f.tunnel(t)
	for _, p := range []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "0.0.0.0/0", "fd00::/8", "::/0"} {
		f.route(t, p, "", tun.ID)
	}
	f.read(t, func(r *store.Reader) error {
		for a, want := range map[string]string{
			"10.1.2.3": "10.1.2.0/24", "10.1.3.3": "10.1.0.0/16", "10.9.9.9": "10.0.0.0/8", "11.0.0.1": "0.0.0.0/0",
			"10.1.2.255": "10.1.2.0/24", "10.255.255.255": "10.0.0.0/8", "fd00::1": "fd00::/8", "2001::1": "::/0",
		} {
			x, err := r.RouteByAddr(f.ctx, netip.MustParseAddr(a), "")
			if err != nil || x.Network != want || x.TunnelName != "lab" {
				t.Errorf("route to %s is %q by %q, %v; want %q", a, x.Network, x.TunnelName, err, want)
			}
		}
		for _, tc := range []struct {
			name             string
			subset, superset string
			want             int
		}{
			{"inside", "10.1.0.0/16", "", 2},
			{"around", "", "10.1.0.0/16", 3},
			{"exactly", "10.1.0.0/16", "10.1.0.0/16", 1},
			{"all of IPv4", "0.0.0.0/0", "", 4},
			{"all of IPv6", "::/0", "", 2},
			{"none", "192.0.2.0/24", "192.0.2.0/24", 0},
		} {
			var flt store.RouteFilter
			if tc.subset != "" {
				flt.Subset = netip.MustParsePrefix(tc.subset)
			}
			if tc.superset != "" {
				flt.Superset = netip.MustParsePrefix(tc.superset)
			}
			list, total, err := r.ListRoutes(f.ctx, flt, store.Page{Number: 1, Size: 100})
			if err != nil || len(list) != tc.want || total != tc.want {
				t.Errorf("%s: %d routes of %d, %v; want %d", tc.name, len(list), total, err, tc.want)
			}
		}
		return nil
	})
}
