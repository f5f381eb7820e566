package storetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

func sshApp(name string, policies ...api.PolicyWrite) api.ApplicationWrite {
	w := api.ApplicationWrite{
		Name: name, Type: api.ApplicationType,
		Criteria: []api.Criteria{{Attributes: map[string][]string{"hostname": {"web-1"}}, Port: 22, Protocol: "SSH"}},
	}
	if policies != nil {
		w.Policies = &policies
	}
	return w
}

func allow(name, email string, users ...string) api.PolicyWrite {
	return api.PolicyWrite{
		Name: name, Decision: "allow", Include: []access.Rule{access.EmailRule(email)},
		Connection: &api.ConnectionRules{SSH: &api.SSHRules{Usernames: users}},
	}
}

func (f *fixture) app(t *testing.T, w api.ApplicationWrite) api.Application {
	t.Helper()
	var a api.Application
	f.write(t, func(tx *store.Tx) (err error) {
		a, err = tx.CreateApplication(f.ctx, w)
		return err
	})
	return a
}

func policiesKeepTheirIdentity(t *testing.T, f *fixture) {
	t.Helper()
	one := allow("one", "A@b.c", "root", "admin")
	one.Connection.SSH.LocalForwarding = &api.LocalForwarding{Destinations: []string{"db.internal:5432", "unix:/run/app.sock"}}
	one.Connection.SSH.RemoteForwarding = &api.RemoteForwarding{Listen: []string{"localhost:0"}}
	one.Connection.SSH.AgentForwarding, one.Connection.SSH.X11Forwarding = true, true
	one.Connection.SSH.MaxSessionDuration, one.Connection.SSH.IdleTimeout = "8h", "15m"
	a := f.app(t, sshApp("ssh", one, allow("two", "d@e.f")))
	var read api.Application
	f.read(t, func(r *store.Reader) (err error) {
		read, err = r.Application(f.ctx, a.ID)
		return err
	})
	if diff := cmp.Diff(a, read, cmpopts.EquateComparable(access.Rule{})); diff != "" {
		t.Errorf("read back (-made +read):\n%s", diff)
	}
	if len(a.AUD) != 64 || a.Policies[0].Precedence != 1 || a.Policies[1].Precedence != 2 || a.Policies[1].Connection.SSH.Usernames == nil {
		t.Errorf("made %+v", a)
	}
	replace := func(w api.ApplicationWrite) (got api.Application) {
		f.write(t, func(tx *store.Tx) (err error) {
			got, err = tx.ReplaceApplication(f.ctx, a.ID, w)
			return err
		})
		return got
	}
	if got := replace(sshApp("renamed")); len(got.Policies) != 2 || got.Name != "renamed" || got.AUD != a.AUD {
		t.Errorf("policies that are left out: %+v", got)
	}
	got := replace(sshApp("ssh", allow("one again", "A@b.c"), allow("two", "d@e.f"), allow("three", "g@h.i")))
	if len(got.Policies) != 3 || got.Policies[0].ID != a.Policies[0].ID || got.Policies[0].CreatedAt != a.Policies[0].CreatedAt ||
		got.Policies[0].Name != "one again" || got.Policies[1].ID != a.Policies[1].ID {
		t.Errorf("policies that are replaced: %+v", got.Policies)
	}
	got = replace(sshApp("ssh", api.PolicyWrite{ID: got.Policies[2].ID, Precedence: 1}))
	if len(got.Policies) != 1 || got.Policies[0].Name != "three" || got.Policies[0].Precedence != 1 {
		t.Errorf("a policy that is named: %+v", got.Policies)
	}
	none := sshApp("ssh")
	none.Policies = &[]api.PolicyWrite{}
	if got := replace(none); len(got.Policies) != 0 {
		t.Errorf("none: %+v", got.Policies)
	}
	separatePolicies(t, f, a.ID)
}

func separatePolicies(t *testing.T, f *fixture, app string) {
	t.Helper()
	var one, two api.Policy
	f.write(t, func(tx *store.Tx) (err error) {
		w := allow("one", "a@b.c")
		w.Precedence = 5
		if one, err = tx.CreatePolicy(f.ctx, app, w); err != nil {
			return err
		}
		two, err = tx.CreatePolicy(f.ctx, app, allow("two", "a@b.c"))
		return err
	})
	if one.Precedence != 5 || two.Precedence != 6 {
		t.Errorf("precedences are %d and %d", one.Precedence, two.Precedence)
	}
	clash := allow("three", "a@b.c")
	clash.Precedence = 6
	f.refused(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.CreatePolicy(f.ctx, app, clash)
		return err
	})
	bad := allow("four", "a@b.c")
	bad.Decision = "deny"
	f.refused(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.ReplacePolicy(f.ctx, app, one.ID, bad)
		return err
	})
	f.refused(t, kind.Invalid, func(tx *store.Tx) error {
		_, err := tx.CreatePolicy(f.ctx, app, api.PolicyWrite{Name: "five", Decision: "allow"})
		return err
	})
	f.write(t, func(tx *store.Tx) error { return tx.DeletePolicy(f.ctx, app, one.ID) })
	f.refused(t, kind.NotFound, func(tx *store.Tx) error { return tx.DeletePolicy(f.ctx, app, one.ID) })
	f.write(t, func(tx *store.Tx) error { return tx.DeleteApplication(f.ctx, app) })
	f.refused(t, kind.NotFound, func(tx *store.Tx) error { return tx.DeletePolicy(f.ctx, app, two.ID) })
}

func portsCarryOneProtocol(t *testing.T, f *fixture) {
	t.Helper()
	a := f.app(t, sshApp("ssh"))
	f.app(t, sshApp("ssh too"))
	other := sshApp("tcp")
	other.Criteria[0].Protocol = "TCP"
	names(t, f.refusal(t, kind.Conflict, func(tx *store.Tx) error {
		_, err := tx.CreateApplication(f.ctx, other)
		return err
	}), a.Name, a.ID, "22")
	for _, bad := range []func(*api.ApplicationWrite){
		func(w *api.ApplicationWrite) { w.Criteria[0].Port = 0 },
		func(w *api.ApplicationWrite) { w.Criteria[0].Port = 65536 },
		func(w *api.ApplicationWrite) { w.Criteria[0].Protocol = "GOPHER" },
		func(w *api.ApplicationWrite) { w.Criteria = nil },
		func(w *api.ApplicationWrite) { w.Criteria[0].Attributes = nil },
		func(w *api.ApplicationWrite) { w.Name = "" },
	} {
		w := sshApp("bad")
		bad(&w)
		f.refused(t, kind.Invalid, func(tx *store.Tx) error {
			_, err := tx.CreateApplication(f.ctx, w)
			return err
		})
	}
}

func oneGatewayCA(t *testing.T, f *fixture) {
	t.Helper()
	f.read(t, func(r *store.Reader) error {
		if _, err := r.GatewayCAKey(f.ctx); !kind.Is(err, kind.Unavailable) {
			t.Errorf("without a CA: %v", err)
		}
		return nil
	})
	var ca api.GatewayCA
	create := func(tx *store.Tx) (err error) {
		ca, err = tx.CreateGatewayCA(f.ctx, "public", []byte("private"))
		return err
	}
	f.write(t, create)
	id := ca.ID
	names(t, f.refusal(t, kind.Conflict, create), "gateway_ca_already_exists", id)
	f.read(t, func(r *store.Reader) error {
		key, err := r.GatewayCAKey(f.ctx)
		if string(key) != "private" {
			t.Errorf("the key is %q", key)
		}
		return err
	})
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.DeleteGatewayCA(f.ctx, id)
		return err
	})
	f.write(t, create)
}
