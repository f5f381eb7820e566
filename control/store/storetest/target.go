package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

func v4(addr, vnet string) api.TargetIP {
	return api.TargetIP{IPv4: &api.TargetAddress{Addr: addr, VNET: vnet}}
}

func (f *fixture) target(t *testing.T, hostname, addr, vnet string) api.Target {
	t.Helper()
	return f.putTarget(t, api.TargetWrite{Hostname: hostname, IP: v4(addr, vnet)})
}

func (f *fixture) putTarget(t *testing.T, w api.TargetWrite) api.Target {
	t.Helper()
	var x api.Target
	f.write(t, func(tx *store.Tx) (err error) {
		x, err = tx.CreateTarget(f.ctx, "", w)
		return err
	})
	return x
}

func targetsKeepTheirSpelling(t *testing.T, f *fixture) {
	t.Helper()
	n := f.network(t, "prod")
	made := f.putTarget(t, api.TargetWrite{Hostname: "Web-1.Example", Tags: map[string]string{"env": "prod"}, IP: api.TargetIP{
		IPv4: &api.TargetAddress{Addr: "10.0.0.9"}, IPv6: &api.TargetAddress{Addr: "FD00:0:0::1", VNET: n.ID},
	}})
	if made.Hostname != "Web-1.Example" || made.IP.IPv6.Addr != "FD00:0:0::1" || made.IP.IPv4.VNET == "" {
		t.Errorf("made %+v", made)
	}
	get := func() (x api.Target) {
		f.read(t, func(r *store.Reader) (err error) {
			x, err = r.Target(f.ctx, made.ID)
			return err
		})
		return x
	}
	if diff := cmp.Diff(made, get()); diff != "" {
		t.Errorf("read back (-made +read):\n%s", diff)
	}
	f.clock.Advance(time.Hour)
	var changed api.Target
	f.write(t, func(tx *store.Tx) (err error) {
		changed, err = tx.ReplaceTarget(f.ctx, made.ID, api.TargetWrite{Hostname: "WEB-2", IP: v4("10.0.0.9", made.IP.IPv4.VNET)})
		return err
	})
	if changed.CreatedAt != made.CreatedAt || changed.ModifiedAt == made.ModifiedAt || changed.IP.IPv6 != nil || changed.Tags != nil {
		t.Errorf("after the replacement: %+v", changed)
	}
	if diff := cmp.Diff(changed, get()); diff != "" {
		t.Errorf("read back (-changed +read):\n%s", diff)
	}
	f.write(t, func(tx *store.Tx) error { return tx.DeleteTarget(f.ctx, made.ID) })
	f.refused(t, kind.NotFound, func(tx *store.Tx) error { return tx.DeleteTarget(f.ctx, made.ID) })
}

func targetAddressesAreUnique(t *testing.T, f *fixture) {
	t.Helper()
	n := f.network(t, "prod")
	x := f.target(t, "web-1", "10.0.0.9", n.ID)
	f.target(t, "web-1", "10.0.0.9", "") // another network
	f.target(t, "web-1", "10.0.0.10", n.ID)
	create := func(w api.TargetWrite) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			_, err := tx.CreateTarget(f.ctx, "", w)
			return err
		}
	}
	names(t, f.refusal(t, kind.Conflict, create(api.TargetWrite{Hostname: "db", IP: v4("10.0.0.9", n.ID)})), "web-1", x.ID, "prod", "10.0.0.9")
	six := func(a string) api.TargetWrite {
		return api.TargetWrite{Hostname: "db", IP: api.TargetIP{IPv6: &api.TargetAddress{Addr: a}}}
	}
	f.write(t, create(six("fd00::1")))
	f.refused(t, kind.Conflict, create(six("FD00:0::0001"))) // the same address in another spelling
	for _, bad := range []api.TargetWrite{
		{Hostname: "db"},
		{Hostname: "", IP: v4("10.0.0.20", "")},
		{Hostname: "-db", IP: v4("10.0.0.20", "")},
		{Hostname: "d b", IP: v4("10.0.0.20", "")},
		{Hostname: strings.Repeat("x", 254), IP: v4("10.0.0.20", "")},
		{Hostname: "db", IP: v4("10.0.0", "")},
		{Hostname: "db", IP: v4("fd00::2", "")},
		{Hostname: "db", IP: v4("10.0.0.20", "no")},
		six("10.0.0.20"), six("fe80::1%eth0"), six("::ffff:10.0.0.20"),
	} {
		f.refused(t, kind.Invalid, create(bad))
	}
	f.write(t, func(tx *store.Tx) error { // its own address is no conflict
		_, err := tx.ReplaceTarget(f.ctx, x.ID, api.TargetWrite{Hostname: "web-9", IP: v4("10.0.0.9", n.ID)})
		return err
	})
}

func targetFilters(t *testing.T, f *fixture) {
	t.Helper()
	n := f.network(t, "prod")
	a := f.putTarget(t, api.TargetWrite{Hostname: "Alpha", IP: v4("10.0.0.1", ""), Tags: map[string]string{"env": "prod", "a%": "_"}})
	f.clock.Advance(time.Hour)
	b := f.putTarget(t, api.TargetWrite{Hostname: "beta.x", IP: api.TargetIP{IPv6: &api.TargetAddress{Addr: "fd00::2"}}})
	f.clock.Advance(time.Hour)
	c := f.putTarget(t, api.TargetWrite{Hostname: "alpha", IP: v4("10.0.0.255", n.ID), Tags: map[string]string{"env": "stage"}})
	_ = b
	at := func(s string) time.Time {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	addr := netip.MustParseAddr
	for _, tc := range []struct {
		name string
		f    store.TargetFilter
		want string
	}{
		{"everything by creation", store.TargetFilter{}, "Alpha beta.x alpha"},
		{"everything backwards", store.TargetFilter{Descending: true}, "alpha beta.x Alpha"},
		{"by hostname", store.TargetFilter{OrderByHostname: true}, "Alpha alpha beta.x"},
		{"hostname without case", store.TargetFilter{Hostname: "ALPHA"}, "Alpha alpha"},
		{"part of the hostname", store.TargetFilter{HostnameContains: "ETA"}, "beta.x"},
		{"a part with a point", store.TargetFilter{HostnameContains: "a.x"}, "beta.x"},
		{"wildcards in it are literal", store.TargetFilter{HostnameContains: "l_ha"}, ""},
		{"IPv4", store.TargetFilter{IPv4: addr("10.0.0.1")}, "Alpha"},
		{"IPv6", store.TargetFilter{IPv6: addr("fd00:0::2")}, "beta.x"},
		{"any of addresses", store.TargetFilter{IPs: []netip.Addr{addr("10.0.0.1"), addr("fd00::2")}}, "Alpha beta.x"},
		{"a pattern", store.TargetFilter{IPLike: "10.*.1"}, "Alpha"},
		{"a pattern of IPv6", store.TargetFilter{IPLike: "FD00*"}, "beta.x"},
		{"an IPv4 range", store.TargetFilter{IPv4Start: addr("10.0.0.2"), IPv4End: addr("10.0.0.255")}, "alpha"},
		{"an IPv6 range", store.TargetFilter{IPv6Start: addr("fd00::"), IPv6End: addr("fd00::2")}, "beta.x"},
		{"IDs", store.TargetFilter{IDs: []string{a.ID, "no"}}, "Alpha"},
		{"no ID of any", store.TargetFilter{IDs: []string{}}, ""},
		{"a network", store.TargetFilter{VNET: n.ID}, "alpha"},
		{"a tag", store.TargetFilter{Tags: [][2]string{{"env", "prod"}}}, "Alpha"},
		{"two tags", store.TargetFilter{Tags: [][2]string{{"env", "prod"}, {"a%", "_"}}}, "Alpha"},
		{"a tag that nobody has", store.TargetFilter{Tags: [][2]string{{"env", "p%"}}}, ""},
		{"created after, inclusive", store.TargetFilter{CreatedAfter: at(c.CreatedAt)}, "alpha"},
		{"created before, inclusive", store.TargetFilter{CreatedBefore: at(a.CreatedAt)}, "Alpha"},
		{"modified between", store.TargetFilter{ModifiedAfter: at(b.ModifiedAt), ModifiedBefore: at(b.ModifiedAt)}, "beta.x"},
		{"all at once", store.TargetFilter{Hostname: "alpha", VNET: n.ID, IPv4: addr("10.0.0.255")}, "alpha"},
		{"that contradict each other", store.TargetFilter{Hostname: "alpha", IPv6: addr("fd00::2")}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.read(t, func(r *store.Reader) error {
				list, total, err := r.ListTargets(f.ctx, tc.f, store.Page{Number: 1, Size: 10})
				var got []string
				for _, x := range list {
					got = append(got, x.Hostname)
				}
				if strings.Join(got, " ") != tc.want || total != len(list) {
					t.Errorf("got %q of %d, want %q", got, total, tc.want)
				}
				return err
			})
		})
	}
}

func targetPages(t *testing.T, f *fixture) {
	t.Helper()
	var want, got []string
	for i := range 7 {
		want = append(want, f.target(t, "web", fmt.Sprintf("10.0.0.%d", i+1), "").ID)
	}
	f.read(t, func(r *store.Reader) error {
		for page := 1; ; page++ {
			list, total, err := r.ListTargets(f.ctx, store.TargetFilter{}, store.Page{Number: page, Size: 3})
			if err != nil || total != 7 {
				t.Fatalf("page %d: %d in total, %v", page, total, err)
			}
			if len(list) == 0 {
				if list == nil || page != 4 {
					t.Errorf("page %d is %v", page, list)
				}
				return nil
			}
			for _, x := range list {
				got = append(got, x.ID)
			}
		}
	})
	if !slices.Equal(got, want) {
		t.Errorf("pages hold %q, want %q", got, want)
	}
}
