package storetest

import (
	"slices"
	"testing"

	"weft/control/store"
)

// targetPagesFarDown holds the pages of some thousands of targets, with holes, against the list of what is there.
func targetPagesFarDown(t *testing.T, f *fixture) {
	t.Helper()
	var ids []string
	f.write(t, func(tx *store.Tx) error {
		for i := range 3100 {
			x, err := tx.CreateTarget(f.ctx, "", ScaleTarget(i))
			if err != nil {
				return err
			}
			ids = append(ids, x.ID)
		}
		return nil
	})
	// A whole block, parts of others, every third of the rest, and the last ones, whose places may be given out again.
	gone := func(i int) bool { return i >= 900 && i < 2300 || i%3 == 0 || i >= 3090 }
	var left []string
	f.write(t, func(tx *store.Tx) error {
		for i, id := range ids {
			if !gone(i) {
				left = append(left, id)
				continue
			}
			if err := tx.DeleteTarget(f.ctx, id); err != nil {
				return err
			}
		}
		x, err := tx.CreateTarget(f.ctx, "", ScaleTarget(5000))
		left = append(left, x.ID)
		return err
	})
	for _, descending := range []bool{false, true} {
		for _, size := range []int{7, 1000} {
			if got := allPages(t, f, store.TargetFilter{Descending: descending}, size, len(left)); !slices.Equal(got, left) {
				t.Errorf("descending %t, pages of %d: %d targets, not the %d that are there, in their order", descending, size, len(got), len(left))
			}
		}
		slices.Reverse(left)
	}
}

func allPages(t *testing.T, f *fixture, filter store.TargetFilter, size, want int) (ids []string) {
	t.Helper()
	f.read(t, func(r *store.Reader) error {
		for page := 1; ; page++ {
			list, total, err := r.ListTargets(f.ctx, filter, store.Page{Number: page, Size: size})
			if err != nil || total != want {
				t.Fatalf("page %d: %d in total, want %d, %v", page, total, want, err)
			}
			if len(list) == 0 {
				return nil
			}
			for _, x := range list {
				ids = append(ids, x.ID)
			}
		}
	})
	return ids
}
