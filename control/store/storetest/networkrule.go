package storetest

import (
	"sync"
	"testing"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

func ruleWrite(name, traffic string, precedence int64) api.NetworkRuleWrite {
	action := "block"
	return api.NetworkRuleWrite{Name: &name, Action: &action, Traffic: &traffic, Precedence: &precedence, Filters: []string{"l4"}}
}

// networkRulesHaveTheirOrder: precedences are unique, also when two writers race, and order the list.
func networkRulesHaveTheirOrder(t *testing.T, f *fixture) {
	t.Helper()
	for _, p := range []int64{30, 10, 20} {
		f.write(t, func(tx *store.Tx) error {
			_, err := tx.CreateNetworkRule(f.ctx, ruleWrite("r", "net.dst.port == 1", p))
			return err
		})
	}
	names(t, f.refusal(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.CreateNetworkRule(f.ctx, ruleWrite("again", "", 20))
		return err
	}), "precedence 20", "already")
	var wg sync.WaitGroup
	won := make(chan bool, 8)
	for range 8 {
		wg.Go(func() {
			won <- f.Update(f.ctx, admin, func(tx *store.Tx) error {
				_, err := tx.CreateNetworkRule(f.ctx, ruleWrite("race", "", 40))
				return err
			}) == nil
		})
	}
	wg.Wait()
	close(won)
	n := 0
	for ok := range won {
		if ok {
			n++
		}
	}
	var order []int64
	f.read(t, func(r *store.Reader) error {
		all, err := r.NetworkRules(f.ctx)
		for _, x := range all {
			order = append(order, x.Precedence)
		}
		return err
	})
	if n != 1 || len(order) != 4 || order[0] != 10 || order[3] != 40 {
		t.Errorf("%d writers won; order %v", n, order)
	}
}

// listsInUseStay: a list that a network rule, enabled or not, a policy or a rule group names cannot go.
func listsInUseStay(t *testing.T, f *fixture) {
	t.Helper()
	var l api.List
	name, typ := "servers", "IP"
	f.write(t, func(tx *store.Tx) (err error) {
		l, err = tx.CreateList(f.ctx, api.ListWrite{Name: &name, Type: &typ, Items: []api.ListItemWrite{{Value: "10.0.0.1"}}})
		return err
	})
	var r api.NetworkRule
	f.write(t, func(tx *store.Tx) (err error) {
		in, off := ruleWrite("user", "net.dst.ip in $"+l.ID, 1), false
		in.Enabled = &off
		r, err = tx.CreateNetworkRule(f.ctx, in)
		return err
	})
	names(t, f.refusal(t, kind.Conflict, func(tx *store.Tx) error { return tx.DeleteList(f.ctx, l.ID) }), "servers", "user")
	f.write(t, func(tx *store.Tx) error { return tx.DeleteNetworkRule(f.ctx, r.ID) })
	rulesKeepLists(t, f, l)
	f.write(t, func(tx *store.Tx) error { return tx.DeleteList(f.ctx, l.ID) })
	f.refused(t, kind.NotFound, func(tx *store.Tx) error { return tx.DeleteList(f.ctx, l.ID) })
	f.refused(t, kind.NotFound, func(tx *store.Tx) error { return tx.DeleteNetworkRule(f.ctx, r.ID) })
}
