package storetest

import (
	"slices"
	"strings"
	"testing"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// textSortsByBytes: lists come in the order of the bytes, whatever language the database was made for, so that both
// engines and every restored copy page alike.
func textSortsByBytes(t *testing.T, f *fixture) {
	t.Helper()
	words := []string{"z", "Zebra", "zebra-1", "zebra_1", "zebra 1", "ähnlich", "Ångström", "a", "b", "é", "e-acute", "ﬀ", "日本", "ß", "ss", "10", "9", "_x"}
	for _, w := range words {
		f.network(t, w)
	}
	var got []string
	f.read(t, func(r *store.Reader) error {
		list, err := r.ListNetworks(f.ctx, store.NetworkFilter{})
		for _, n := range list {
			got = append(got, strings.ToLower(n.Name))
		}
		return err
	})
	want := slices.Clone(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(got) != len(words)+1 {
		t.Errorf("networks come as %q, want %q", got, want)
	}
	items := []string{"Z", "a", "B", "ä", "_", "z"}
	name, typ := "items", "DOMAIN"
	w := api.ListWrite{Name: &name, Type: &typ}
	for _, x := range items {
		w.Items = append(w.Items, api.ListItemWrite{Value: x})
	}
	f.write(t, func(tx *store.Tx) error {
		made, err := tx.CreateList(f.ctx, w)
		if err != nil {
			return err
		}
		read, err := tx.List(f.ctx, made.ID)
		slices.Sort(items)
		for i, x := range read.Items {
			if x.Value != items[i] {
				t.Errorf("items come as %v, want %q", read.Items, items)
				break
			}
		}
		return err
	})
}

// textIsComparedWithCase: what LIKE matches does not depend on the engine.
func textIsComparedWithCase(t *testing.T, f *fixture) {
	t.Helper()
	f.putTarget(t, api.TargetWrite{Hostname: "Web-1", IP: v4("10.0.0.1", ""), Tags: map[string]string{"env": "Prod"}})
	for _, tc := range []struct {
		name string
		f    store.TargetFilter
		want int
	}{
		{"the tag as it is", store.TargetFilter{Tags: [][2]string{{"env", "Prod"}}}, 1},
		{"the tag in another case", store.TargetFilter{Tags: [][2]string{{"env", "prod"}}}, 0},
		{"a part of the hostname in another case", store.TargetFilter{HostnameContains: "WEB"}, 1},
	} {
		f.read(t, func(r *store.Reader) error {
			list, total, err := r.ListTargets(f.ctx, tc.f, store.Page{Number: 1, Size: 10})
			if len(list) != tc.want || total != tc.want {
				t.Errorf("%s: %d targets of %d, want %d", tc.name, len(list), total, tc.want)
			}
			return err
		})
	}
}

// textThatCannotBe: what is no text finds nothing, and does no harm.
func textThatCannotBe(t *testing.T, f *fixture) {
	t.Helper()
	for _, bad := range []string{"\x00", "a\x00b", "\xff\xfe"} {
		err := f.View(f.ctx, func(r *store.Reader) error {
			_, err := r.Target(f.ctx, bad)
			return err
		})
		if !kind.Is(err, kind.NotFound) && !kind.Is(err, kind.Invalid) {
			t.Errorf("target %q: %v", bad, err)
		}
		f.refused(t, kind.Invalid, func(tx *store.Tx) error {
			_, err := tx.CreateNetwork(f.ctx, store.NetworkFields{Name: bad})
			return err
		})
	}
}

// emptyAccountReads: the greatest of nothing, the sum of nothing and a page behind the last are not errors.
func emptyAccountReads(t *testing.T, f *fixture) {
	t.Helper()
	f.read(t, func(r *store.Reader) error {
		list, total, err := r.ListTargets(f.ctx, store.TargetFilter{}, store.Page{Number: 1_000_000, Size: 1000})
		if len(list) != 0 || total != 0 {
			t.Errorf("an empty account has %d targets of %d", len(list), total)
		}
		return err
	})
	if d, _ := f.device(t, "first@b.c", "first"); d.BlockIndex != 1 {
		t.Errorf("the first device has block %d", d.BlockIndex)
	}
}
