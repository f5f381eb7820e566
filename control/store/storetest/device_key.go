package storetest

import (
	"testing"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

func deviceKeysChange(t *testing.T, f *fixture) {
	t.Helper()
	d, _ := f.device(t, "a@b.c", "key 1")
	other, _ := f.device(t, "b@b.c", "key 2")
	offer := func(id, key string) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			_, err := tx.OfferDeviceKey(f.ctx, id, key)
			return err
		}
	}
	confirm := func(id, key string) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			_, err := tx.ConfirmDeviceKey(f.ctx, id, key)
			return err
		}
	}
	keys := func(what, current, next string) {
		t.Helper()
		f.read(t, func(r *store.Reader) error {
			got, err := r.Device(f.ctx, d.ID)
			if got.PublicKey != current || got.NextPublicKey != next {
				t.Errorf("%s: keys %q and %q, want %q and %q", what, got.PublicKey, got.NextPublicKey, current, next)
			}
			return err
		})
	}
	f.refused(t, kind.Conflict, confirm(d.ID, "key 3")) // never offered
	f.refused(t, kind.Conflict, offer(d.ID, "key 2"))   // another device's
	f.refused(t, kind.Conflict, offer(d.ID, "key 1"))   // its own
	f.write(t, offer(d.ID, "key 3"))
	f.write(t, offer(d.ID, "key 3"))
	keys("offered", "key 1", "key 3")
	f.refused(t, kind.Conflict, offer(other.ID, "key 3")) // offered to another
	if _, _, err := f.enrol(f.key(t, api.NewEnrolmentKey{Email: "c@b.c"}), "key 3"); !kind.Is(err, kind.Conflict) {
		t.Errorf("enrolment with a key that was offered: %v", err)
	}
	f.refused(t, kind.Conflict, confirm(other.ID, "key 3"))
	f.write(t, offer(d.ID, "key 4")) // another offer
	f.refused(t, kind.Conflict, confirm(d.ID, "key 3"))
	f.write(t, confirm(d.ID, "key 4"))
	f.write(t, confirm(d.ID, "key 4")) // the answer was lost
	keys("confirmed", "key 4", "")
	f.device(t, "d@b.c", "key 1") // the old key is free
	f.write(t, offer(d.ID, "key 5"))
	f.write(t, func(tx *store.Tx) error { return tx.RevokeDevices(f.ctx, []string{d.ID}) })
	f.write(t, offer(other.ID, "key 5")) // an offer ends with the registration
}
