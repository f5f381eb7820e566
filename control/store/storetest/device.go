package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
	"weft/vnet"
)

func (f *fixture) key(t *testing.T, in api.NewEnrolmentKey) string {
	t.Helper()
	var secret string
	f.write(t, func(tx *store.Tx) (err error) {
		_, secret, err = tx.CreateEnrolmentKey(f.ctx, in)
		return err
	})
	return secret
}

func (f *fixture) enrol(secret, publicKey string) (d store.Device, token string, err error) {
	err = f.Update(f.ctx, store.Actor{Type: "enrolment"}, func(tx *store.Tx) (err error) {
		d, token, err = tx.Enrol(f.ctx, secret, store.NewDevice{Name: "laptop", OS: "linux", PublicKey: publicKey, SourceIP: "192.0.2.1"})
		return err
	})
	return d, token, err
}

// device enrols a device of a user.
func (f *fixture) device(t *testing.T, email, publicKey string) (store.Device, string) {
	t.Helper()
	d, token, err := f.enrol(f.key(t, api.NewEnrolmentKey{Email: email}), publicKey)
	if err != nil {
		t.Fatal(err)
	}
	return d, token
}

func (f *fixture) byToken(token string) error {
	return f.View(f.ctx, func(r *store.Reader) error {
		_, err := r.DeviceByToken(f.ctx, token)
		return err
	})
}

func keysAreUsedUp(t *testing.T, f *fixture) {
	t.Helper()
	secret := f.key(t, api.NewEnrolmentKey{Email: "a@b.c", MaxUses: 2, Groups: []string{"ops"}})
	for i := range 2 {
		if _, _, err := f.enrol(secret, fmt.Sprint("key ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := f.enrol(secret, "key 3"); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("a third use: %v", err)
	}
	if _, _, err := f.enrol("nonsense", "key 4"); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("an unknown key: %v", err)
	}
	f.read(t, func(r *store.Reader) error {
		ids, err := r.Identities(f.ctx)
		if len(ids) != 1 || len(ids[0].Groups) != 1 || ids[0].Groups[0].Name != "ops" {
			t.Errorf("identities are %+v", ids)
		}
		return err
	})
	// A use that fails is no use.
	secret = f.key(t, api.NewEnrolmentKey{Email: "a@b.c"})
	if _, _, err := f.enrol(secret, "key 1"); !kind.Is(err, kind.Conflict) {
		t.Errorf("a public key of another device: %v", err)
	}
	if _, _, err := f.enrol(secret, "key 5"); err != nil {
		t.Errorf("after a failure: %v", err)
	}
	for _, bad := range []api.NewEnrolmentKey{
		{},
		{Email: "nobody"},
		{Email: "a@b@c"},
		{Email: "a b@c.d"},
		{Email: "a@b.c", MaxUses: -1},
		{Email: "a@b.c", MaxUses: 1_000_000},
		{Email: "a@b.c", TTLSeconds: -1},
		{Email: "a@b.c", TTLSeconds: 1 << 40},
		{Email: "a@b.c", Groups: []string{""}},
		{Email: "a@b.c", Name: "\n"},
	} {
		f.refused(t, kind.Invalid, func(tx *store.Tx) error {
			_, _, err := tx.CreateEnrolmentKey(f.ctx, bad)
			return err
		})
	}
}

func keysExpire(t *testing.T, f *fixture) {
	t.Helper()
	secret := f.key(t, api.NewEnrolmentKey{Email: "a@b.c", TTLSeconds: 60, MaxUses: 9})
	f.clock.Advance(59 * time.Second)
	if _, _, err := f.enrol(secret, "key 1"); err != nil {
		t.Errorf("before the end: %v", err)
	}
	f.clock.Advance(time.Second)
	_, _, err := f.enrol(secret, "key 2")
	if !kind.Is(err, kind.Unauthenticated) {
		t.Fatalf("after the end: %v", err)
	}
	names(t, err, "expired")
}

func oneShotKeysInARace(t *testing.T, f *fixture) {
	t.Helper()
	secret := f.key(t, api.NewEnrolmentKey{Email: "a@b.c"})
	const racers = 16
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { _, _, errs[i] = f.enrol(secret, fmt.Sprint("key ", i)) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !kind.Is(err, kind.Unauthenticated) {
			t.Errorf("a loser gets %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d enrolments won", won)
	}
}

func revokingAUser(t *testing.T, f *fixture) {
	t.Helper()
	d, token := f.device(t, "JDoe@b.c", "key 1")
	other, otherToken := f.device(t, "x@b.c", "key 2")
	pending := f.key(t, api.NewEnrolmentKey{Email: "jdoe@b.c"})
	f.write(t, func(tx *store.Tx) error { return tx.RevokeUser(f.ctx, "jdoe@B.C") })
	err := f.byToken(token)
	if !kind.Is(err, kind.Unauthenticated) {
		t.Fatalf("the device of a revoked user: %v", err)
	}
	names(t, err, "revoked")
	if err := f.byToken(otherToken); err != nil {
		t.Errorf("the device %s of another user: %v", other.ID, err)
	}
	if _, _, err := f.enrol(pending, "key 3"); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("a key from before the revocation: %v", err)
	}
	f.refused(t, kind.Conflict, func(tx *store.Tx) error { return tx.UnrevokeDevices(f.ctx, []string{d.ID}) })
	again, _ := f.device(t, "jdoe@b.c", "key 1") // even with the old public key
	if again.UserID != d.UserID {
		t.Errorf("the user became another: %s, %s", again.UserID, d.UserID)
	}
	if err := f.byToken(token); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("the old registration: %v", err)
	}
	f.read(t, func(r *store.Reader) error {
		ids, err := r.Identities(f.ctx)
		for _, id := range ids {
			if id.Revoked {
				t.Errorf("%s is still revoked", id.Email)
			}
		}
		return err
	})
	f.refused(t, kind.Invalid, func(tx *store.Tx) error { return tx.RevokeUser(f.ctx, "nobody@b.c") })
}

func revokedDevicesComeBack(t *testing.T, f *fixture) {
	t.Helper()
	d, token := f.device(t, "a@b.c", "key 1")
	both := []string{d.RegistrationID}
	f.write(t, func(tx *store.Tx) error { return tx.RevokeDevices(f.ctx, both) })
	if err := f.byToken(token); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("revoked: %v", err)
	}
	f.write(t, func(tx *store.Tx) error { return tx.RevokeDevices(f.ctx, both) }) // twice is once
	f.write(t, func(tx *store.Tx) error { return tx.UnrevokeDevices(f.ctx, both) })
	if err := f.byToken(token); err != nil {
		t.Errorf("back: %v", err)
	}
	f.read(t, func(r *store.Reader) error {
		all, err := r.ActiveDevices(f.ctx)
		if len(all) != 1 || all[0].BlockIndex != d.BlockIndex {
			t.Errorf("devices are %+v", all)
		}
		return err
	})
	// One unknown ID, and nothing is revoked.
	f.refused(t, kind.Invalid, func(tx *store.Tx) error { return tx.RevokeDevices(f.ctx, []string{d.ID, "no"}) })
	if err := f.byToken(token); err != nil {
		t.Errorf("after a refused request: %v", err)
	}
	f.write(t, func(tx *store.Tx) error { return tx.DeleteDevice(f.ctx, d.ID) })
	err := f.byToken(token)
	if !kind.Is(err, kind.Unauthenticated) {
		t.Fatalf("deleted: %v", err)
	}
	names(t, err, "deleted")
}

func blocksAreNotReused(t *testing.T, f *fixture) {
	t.Helper()
	one, _ := f.device(t, "a@b.c", "key 1")
	two, _ := f.device(t, "a@b.c", "key 2")
	f.write(t, func(tx *store.Tx) error { return tx.DeleteDevice(f.ctx, one.ID) })
	three, _ := f.device(t, "a@b.c", "key 3")
	if one.BlockIndex != 1 || two.BlockIndex != 2 || three.BlockIndex != 3 {
		t.Errorf("blocks are %d, %d, %d", one.BlockIndex, two.BlockIndex, three.BlockIndex)
	}
}

func gatewayTokensRotate(t *testing.T, f *fixture) {
	t.Helper()
	var g, again store.Gateway
	var token, next string
	f.write(t, func(tx *store.Tx) (err error) {
		g, token, err = tx.EnsureGateway(f.ctx, "gw")
		return err
	})
	by := func(token string) error {
		return f.View(f.ctx, func(r *store.Reader) error {
			_, err := r.GatewayByToken(f.ctx, token)
			return err
		})
	}
	if err := by(token); err != nil {
		t.Error(err)
	}
	f.write(t, func(tx *store.Tx) (err error) {
		again, next, err = tx.EnsureGateway(f.ctx, "GW")
		return err
	})
	if again.ID != g.ID || !kind.Is(by(token), kind.Unauthenticated) || by(next) != nil {
		t.Errorf("gateway %s became %s; old token: %v, new token: %v", g.ID, again.ID, by(token), by(next))
	}
	names(t, f.refusal(t, kind.Conflict, func(tx *store.Tx) error {
		_, _, err := tx.CreateGateway(f.ctx, "gW")
		return err
	}), g.ID)
}

func tokensAreRevoked(t *testing.T, f *fixture) {
	t.Helper()
	var secret string
	f.write(t, func(tx *store.Tx) (err error) {
		_, secret, err = tx.CreateToken(f.ctx, store.TokenFields{Name: "ci", Permissions: []string{"All"}})
		return err
	})
	by := func() error {
		return f.View(f.ctx, func(r *store.Reader) error {
			_, err := r.TokenBySecret(f.ctx, secret)
			return err
		})
	}
	if err := by(); err != nil || len(secret) < 40 || len(secret) > 80 {
		t.Errorf("token of %d characters: %v", len(secret), err)
	}
	f.write(t, func(tx *store.Tx) error {
		n, err := tx.RevokeTokens(f.ctx, "ci")
		if n != 1 {
			t.Errorf("%d tokens revoked", n)
		}
		return err
	})
	if err := by(); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("revoked: %v", err)
	}
}

var errStop = errors.New("stop")

func failedWritesLeaveNothing(t *testing.T, f *fixture) {
	t.Helper()
	state := func() (out string) {
		f.read(t, func(r *store.Reader) error {
			revs, err := r.Revisions(f.ctx)
			if err != nil {
				return err
			}
			events, err := r.AuditEvents(f.ctx, 1000)
			if err != nil {
				return err
			}
			list, err := r.ListNetworks(f.ctx, store.NetworkFilter{})
			out = fmt.Sprint(revs, len(events), list)
			return err
		})
		return out
	}
	before := state()
	err := f.Update(f.ctx, admin, func(tx *store.Tx) error {
		if _, err := tx.CreateNetwork(f.ctx, store.NetworkFields{Name: "x"}); err != nil {
			return err
		}
		return errStop
	})
	if !errors.Is(err, errStop) {
		t.Fatalf("error is %v", err)
	}
	if after := state(); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
}

func writesRaiseRevisions(t *testing.T, f *fixture) {
	t.Helper()
	drain(f)
	revisions := func() (m map[string]uint64, events []store.AuditEvent) {
		f.read(t, func(r *store.Reader) (err error) {
			if m, err = r.Revisions(f.ctx); err != nil {
				return err
			}
			events, err = r.AuditEvents(f.ctx, 1)
			return err
		})
		return m, events
	}
	before, _ := revisions()
	n := f.network(t, "prod")
	after, events := revisions()
	if after[store.Networks] <= before[store.Networks] || after[store.Targets] != before[store.Targets] {
		t.Errorf("revisions were %v and are %v", before, after)
	}
	if e := events[0]; e.Action != "virtual_network.create" || e.ObjectID != n.ID || e.Actor != admin || e.Revision != after[store.Networks] {
		t.Errorf("the event is %+v", e)
	}
	select {
	case <-f.Changed():
	default:
		t.Error("the change was not announced")
	}
}

func drain(f *fixture) {
	select {
	case <-f.Changed():
	default:
	}
}

func slotsStay(t *testing.T, f *fixture) {
	t.Helper()
	n := f.network(t, "prod")
	d, _ := f.device(t, "a@b.c", "key 1")
	drain(f)
	want := map[vnet.ID]vnet.Slot{vnet.ID(n.ID): 7}
	f.write(t, func(tx *store.Tx) error { return tx.SetSlots(f.ctx, d.ID, want) })
	select {
	case <-f.Changed():
		if !f.Shared() {
			t.Error("slots follow from a revision; they raise none")
		}
	default:
		if f.Shared() {
			t.Error("other control planes do not hear of slots")
		}
	}
	f.read(t, func(r *store.Reader) error {
		all, err := r.ActiveDevices(f.ctx)
		if len(all) != 1 || all[0].Slots[vnet.ID(n.ID)] != 7 {
			t.Errorf("devices are %+v", all)
		}
		return err
	})
}
