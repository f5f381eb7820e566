package storetest

import (
	"slices"
	"testing"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// userCAs rotate: a first signs, a next is published beside it, any can be made to sign.
func userCAsRotate(t *testing.T, f *fixture) {
	t.Helper()
	create := func(name string, next bool) (ca store.UserCA, err error) {
		err = f.Update(f.ctx, admin, func(tx *store.Tx) (err error) {
			ca, err = tx.CreateUserCA(f.ctx, name, []byte("reference of "+name), next)
			return err
		})
		return ca, err
	}
	mustCreate := func(name string, next bool) store.UserCA {
		t.Helper()
		ca, err := create(name, next)
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	signing := func(want string) {
		t.Helper()
		f.read(t, func(r *store.Reader) error {
			ca, reference, err := r.SigningUserCA(f.ctx)
			if want == "" {
				if !kind.Is(err, kind.Unavailable) {
					t.Errorf("%+v signs, %v", ca, err)
				}
				return nil
			}
			one, lerr := r.GatewayCAs(f.ctx)
			if ca.PublicKey != want || string(reference) != "reference of "+want || lerr != nil || len(one) != 1 || one[0].PublicKey != want {
				t.Errorf("%+v signs by %q, %v; the public list is %v, %v", ca, reference, err, one, lerr)
			}
			return nil
		})
	}
	states := func(want ...string) {
		t.Helper()
		f.read(t, func(r *store.Reader) error {
			cas, err := r.UserCAs(f.ctx)
			var got []string
			for _, c := range cas {
				got = append(got, c.PublicKey+" "+string(c.State))
			}
			if !slices.Equal(got, want) {
				t.Errorf("authorities %v, want %v", got, want)
			}
			return err
		})
	}
	activate := func(id string) error {
		return f.Update(f.ctx, admin, func(tx *store.Tx) error {
			_, err := tx.ActivateUserCA(f.ctx, id)
			return err
		})
	}
	remove := func(id string, force bool) (reference []byte, err error) {
		err = f.Update(f.ctx, admin, func(tx *store.Tx) (err error) {
			_, reference, err = tx.DeleteUserCA(f.ctx, id, force)
			return err
		})
		return reference, err
	}
	signing("")
	if _, err := create("a", true); !kind.Is(err, kind.Conflict) {
		t.Errorf("rotated nothing: %v", err)
	}
	a := mustCreate("a", false)
	signing("a")
	_, err := create("b", false)
	names(t, err, "gateway_ca_already_exists", a.ID)
	b := mustCreate("b", true)
	signing("a")
	states("a signs", "b next")
	_, err = create("c", true)
	names(t, err, b.ID)
	for range 2 { // again changes nothing
		if err := activate(b.ID); err != nil {
			t.Fatal(err)
		}
		signing("b")
		states("b signs", "a trusted")
	}
	if err := activate(a.ID); err != nil {
		t.Fatal(err)
	}
	states("a signs", "b trusted")
	if err := activate("none"); !kind.Is(err, kind.NotFound) {
		t.Errorf("activated what is not there: %v", err)
	}
	if _, err := remove(a.ID, false); !kind.Is(err, kind.Conflict) {
		t.Errorf("removed the one that signs: %v", err)
	}
	if reference, err := remove(b.ID, false); err != nil || string(reference) != "reference of b" {
		t.Errorf("removed with %q, %v", reference, err)
	}
	if _, err := remove(b.ID, true); !kind.Is(err, kind.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
	next := mustCreate("d", true)
	if _, err := remove(a.ID, true); err != nil {
		t.Fatal(err)
	}
	signing("")
	states("d next")
	mustCreate("e", false)
	if err := activate(next.ID); err != nil {
		t.Fatal(err)
	}
	states("d signs", "e trusted")
	f.read(t, func(r *store.Reader) error {
		retired, err := r.RetiredUserCAs(f.ctx, 10)
		if !slices.Equal(retired, []string{"a", "b"}) {
			t.Errorf("retired %v", retired)
		}
		return err
	})
	for i := range 6 {
		ca := mustCreate(string(rune('f'+i)), true)
		if err := activate(ca.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := create("z", true); !kind.Is(err, kind.Limit) {
		t.Errorf("the ninth: %v", err)
	}
}

// certificatesAreRevoked: what is on the key revocation list, and for how long.
func certificatesAreRevoked(t *testing.T, f *fixture) {
	t.Helper()
	var ca store.UserCA
	f.write(t, func(tx *store.Tx) (err error) {
		ca, err = tx.CreateUserCA(f.ctx, "ca", []byte("reference"), false)
		return err
	})
	one, _ := f.device(t, "a@b.c", "key 1")
	two, _ := f.device(t, "d@e.f", "key 2")
	issue := func(serial, session, gateway string, d store.Device, ca string) {
		t.Helper()
		f.write(t, func(tx *store.Tx) error {
			return tx.RecordCertificate(f.ctx, store.IssuedCertificate{
				Serial: serial, SessionID: session, GatewayID: gateway, DeviceID: d.ID, UserID: d.UserID, CAID: ca,
				ValidBefore: store.Stamp(tx.Now().Add(2 * time.Minute)),
			})
		})
	}
	issue("1", "s1", "g1", one, ca.ID)
	issue("2", "s1", "g1", one, ca.ID)
	issue("3", "s2", "g2", two, ca.ID)
	issue("4", "s3", "g2", one, ca.ID)
	issue("5", "s4", "g2", one, "gone")
	want := func(serials ...uint64) {
		t.Helper()
		f.read(t, func(r *store.Reader) error {
			list, err := r.RevokedCertificates(f.ctx, store.Stamp(f.clock.Now()), 100)
			var got []uint64
			for _, c := range list {
				if c.CA != "ca" {
					t.Errorf("of %q", c.CA)
				}
				got = append(got, c.Serial)
			}
			if !slices.Equal(got, serials) {
				t.Errorf("revoked are %v, want %v", got, serials)
			}
			return err
		})
	}
	revoke := func(serial uint64, session, gateway string, want int) {
		t.Helper()
		f.write(t, func(tx *store.Tx) error {
			n, err := tx.RevokeCertificates(f.ctx, serial, session, gateway)
			if n != want {
				t.Errorf("revoked %d, want %d", n, want)
			}
			return err
		})
	}
	want()
	revoke(0, "s1", "g2", 0) // another gateway's
	revoke(0, "s1", "g1", 2)
	revoke(0, "s1", "", 0)
	revoke(4, "", "", 1)
	revoke(44, "", "", 0)
	want(1, 2, 4)
	f.write(t, func(tx *store.Tx) error { return tx.RevokeUser(f.ctx, "d@e.f") })
	want(1, 2, 3, 4)
	f.read(t, func(r *store.Reader) error {
		if _, err := r.RevokedCertificates(f.ctx, store.Stamp(f.clock.Now()), 3); !kind.Is(err, kind.Limit) {
			t.Errorf("past the limit: %v", err)
		}
		return nil
	})
	f.refused(t, kind.NotFound, func(tx *store.Tx) error {
		_, _, err := tx.DeleteUserCA(f.ctx, "none", false)
		return err
	})
	// In force certificates keep an authority that does not sign any more.
	var next store.UserCA
	f.write(t, func(tx *store.Tx) (err error) {
		if next, err = tx.CreateUserCA(f.ctx, "next", nil, true); err != nil {
			return err
		}
		_, err = tx.ActivateUserCA(f.ctx, next.ID)
		return err
	})
	drop := func(tx *store.Tx) error {
		_, _, err := tx.DeleteUserCA(f.ctx, ca.ID, false)
		return err
	}
	names(t, f.refusal(t, kind.Conflict, drop), "4 certificates", ca.ID)
	f.clock.Advance(2 * time.Minute)
	want()
	revoke(0, "s3", "", 0)
	f.write(t, drop)
}

// targetHostCAs stand once for each network.
func targetHostCAs(t *testing.T, f *fixture) {
	t.Helper()
	create := func(c api.SSHTargetCA) (api.SSHTargetCA, error) {
		err := f.Update(f.ctx, admin, func(tx *store.Tx) (err error) {
			c, err = tx.CreateTargetHostCA(f.ctx, c)
			return err
		})
		return c, err
	}
	var vnet api.VirtualNetwork
	f.read(t, func(r *store.Reader) (err error) {
		vnet, err = r.DefaultNetwork(f.ctx)
		return err
	})
	ca := api.SSHTargetCA{PublicKey: "key", Fingerprint: "SHA256:x", Hostnames: []string{"*.a", "b"}, Required: true}
	made, err := create(ca)
	if err != nil || made.ID == "" || made.CreatedAt == "" {
		t.Fatalf("made %+v, %v", made, err)
	}
	_, err = create(ca)
	names(t, err, made.ID)
	ca.VNET = vnet.ID
	if _, err := create(ca); err != nil {
		t.Fatal(err)
	}
	ca.VNET = "none"
	if _, err := create(ca); !kind.Is(err, kind.Invalid) {
		t.Errorf("in no network: %v", err)
	}
	f.read(t, func(r *store.Reader) error {
		list, err := r.TargetHostCAs(f.ctx)
		if len(list) != 2 || list[0].ID != made.ID || !slices.Equal(list[0].Hostnames, ca.Hostnames) || !list[0].Required || list[1].VNET != vnet.ID {
			t.Errorf("listed %+v", list)
		}
		return err
	})
	f.write(t, func(tx *store.Tx) error { return tx.DeleteTargetHostCA(f.ctx, made.ID) })
	f.refused(t, kind.NotFound, func(tx *store.Tx) error { return tx.DeleteTargetHostCA(f.ctx, made.ID) })
	ca.VNET = ""
	for i := range 63 {
		ca.Fingerprint = "SHA256:" + string(rune('A'+i))
		if _, err := create(ca); err != nil {
			t.Fatal(err)
		}
	}
	ca.Fingerprint = "SHA256:last"
	if _, err := create(ca); !kind.Is(err, kind.Limit) {
		t.Errorf("past the limit: %v", err)
	}
}
