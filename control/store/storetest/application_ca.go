package storetest

import (
	"slices"
	"testing"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

func createApplicationCA(f *fixture, application string, to *api.ApplicationCA) writer {
	return func(tx *store.Tx) (err error) {
		*to, err = tx.CreateApplicationCA(f.ctx, application, false)
		return err
	}
}

// applicationCAsShowTheAccounts: each has an ID of its own and the key of the authority that signs.
func applicationCAsShowTheAccounts(t *testing.T, f *fixture) {
	t.Helper()
	var one, two, again api.ApplicationCA
	a, b := f.app(t, sshApp("one")), f.app(t, sshApp("two"))
	f.refused(t, kind.NotFound, createApplicationCA(f, a.ID, &one)) // no authority signs, and nothing stays of it
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.CreateUserCA(f.ctx, "key 1", []byte("reference"), false)
		return err
	})
	f.write(t, createApplicationCA(f, a.ID, &one))
	f.clock.Advance(time.Second)
	f.write(t, createApplicationCA(f, b.ID, &two))
	f.refused(t, kind.Conflict, createApplicationCA(f, a.ID, &again))
	f.refused(t, kind.NotFound, createApplicationCA(f, "none", &again))
	if one.AUD != a.AUD || one.PublicKey != "key 1" || two.AUD != b.AUD || one.ID == two.ID {
		t.Errorf("%+v and %+v", one, two)
	}
	list := func(want ...string) {
		t.Helper()
		f.read(t, func(r *store.Reader) error {
			all, err := r.ApplicationCAs(f.ctx)
			var got []string
			for _, c := range all {
				got = append(got, c.AUD+" "+c.PublicKey)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			return err
		})
	}
	list(a.AUD+" key 1", b.AUD+" key 1")
	f.write(t, func(tx *store.Tx) error {
		next, err := tx.CreateUserCA(f.ctx, "key 2", []byte("reference"), true)
		if err != nil {
			return err
		}
		_, err = tx.ActivateUserCA(f.ctx, next.ID)
		return err
	})
	list(a.AUD+" key 2", b.AUD+" key 2")
	f.write(t, func(tx *store.Tx) error { return tx.DeleteApplication(f.ctx, a.ID) })
	list(b.AUD + " key 2")
	f.write(t, func(tx *store.Tx) error {
		gone, err := tx.DeleteApplicationCA(f.ctx, b.ID)
		if err == nil && gone.ID != two.ID {
			t.Errorf("deleted %+v", gone)
		}
		return err
	})
	list()
	f.refused(t, kind.NotFound, func(tx *store.Tx) error {
		_, err := tx.DeleteApplicationCA(f.ctx, b.ID)
		return err
	})
}

// precedencesFit: what one engine has no room for the other refuses too.
func precedencesFit(t *testing.T, f *fixture) {
	t.Helper()
	a := f.app(t, sshApp("one", allow("p", "a@b.c")))
	most := allow("most", "a@b.c")
	most.Precedence = 1<<31 - 1
	put := func(w api.PolicyWrite) writer {
		return func(tx *store.Tx) error {
			_, err := tx.CreatePolicy(f.ctx, a.ID, w)
			return err
		}
	}
	f.write(t, put(most))
	more := most
	more.Precedence++
	f.refused(t, kind.Invalid, put(more))
	f.refused(t, kind.Invalid, put(allow("behind it", "a@b.c")))
}
