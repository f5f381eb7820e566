package storetest

import (
	"strings"
	"testing"
	"time"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// reusablePoliciesAreShared: one policy in two applications is one policy, and stays while either has it.
func reusablePoliciesAreShared(t *testing.T, f *fixture) {
	t.Helper()
	body := api.ReusablePolicyWrite{PolicyWrite: api.PolicyWrite{Name: "ops", Decision: "allow", Include: []access.Rule{access.EmailRule("a@b.c")}}}
	var p api.ReusablePolicy
	f.write(t, func(tx *store.Tx) (err error) {
		p, err = tx.CreateReusablePolicy(f.ctx, body)
		return err
	})
	create := func(name string, policies ...api.PolicyWrite) (a api.Application) {
		f.write(t, func(tx *store.Tx) (err error) {
			a, err = tx.CreateApplication(f.ctx, api.ApplicationWrite{
				Name: name, Type: api.ApplicationType, Policies: &policies,
				Criteria: []api.Criteria{{Attributes: map[string][]string{"hostname": {"db"}}, Port: 5432, Protocol: "POSTGRES"}},
			})
			return err
		})
		return a
	}
	own := api.PolicyWrite{Name: "own", Decision: "allow", Precedence: 3, Include: []access.Rule{access.EmailRule("own@b.c")}}
	one := create("one", api.PolicyWrite{ID: p.ID, Precedence: 7}, own)
	two := create("two", api.PolicyWrite{ID: p.ID})
	body.Name = "operators"
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.ReplaceReusablePolicy(f.ctx, p.ID, body)
		return err
	})
	f.read(t, func(r *store.Reader) error {
		apps, err := r.DomainApplications(f.ctx)
		if err != nil {
			return err
		}
		if len(apps[0].Policies) != 2 || apps[0].Policies[0].Name != "own" || apps[0].Policies[1].Name != "operators" || apps[0].Policies[1].Precedence != 7 || apps[1].Policies[0].ID != p.ID {
			t.Errorf("applications %+v", apps)
		}
		got, err := r.ReusablePolicy(f.ctx, p.ID)
		if got.AppCount != 2 || got.Precedence != 0 {
			t.Errorf("reusable policy %+v", got)
		}
		return err
	})
	remove := func(tx *store.Tx) error { return tx.DeleteReusablePolicy(f.ctx, p.ID) }
	names(t, f.refusal(t, kind.Conflict, remove), "application one", "application two")
	f.write(t, func(tx *store.Tx) error { return tx.DeletePolicy(f.ctx, one.ID, p.ID) })
	f.write(t, func(tx *store.Tx) error { return tx.DeleteApplication(f.ctx, two.ID) })
	f.write(t, func(tx *store.Tx) error {
		got, err := tx.MakePolicyReusable(f.ctx, one.ID, one.Policies[0].ID)
		if !got.Reusable || got.Name != "own" {
			t.Errorf("made reusable: %+v", got)
		}
		return err
	})
	f.write(t, remove)
	f.refused(t, kind.NotFound, remove)
}

// serviceTokensLive: secrets rotate, a token that is not in force enrols nobody and suspends whom it enrolled.
func serviceTokensLive(t *testing.T, f *fixture) {
	t.Helper()
	name, hour := "ci", "1h"
	var token api.ServiceToken
	f.write(t, func(tx *store.Tx) (err error) {
		token, err = tx.CreateServiceToken(f.ctx, api.ServiceTokenWrite{Name: &name, Duration: &hour})
		return err
	})
	n := byte(0)
	enrol := func(secret api.Secret) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			n++
			_, _, err := tx.EnrolByServiceToken(f.ctx, token.ClientID, string(secret), "example.com", store.NewDevice{Name: "robot", PublicKey: strings.Repeat(string('A'+n), 43) + "="})
			return err
		}
	}
	suspended := func() (revoked bool) {
		f.read(t, func(r *store.Reader) error {
			all, err := r.Identities(f.ctx)
			if err != nil || len(all) != 1 || all[0].ServiceToken != token.ID || all[0].Email != "" {
				t.Fatalf("identities %+v, %v", all, err)
			}
			revoked = all[0].Revoked
			return nil
		})
		return revoked
	}
	f.write(t, enrol(token.ClientSecret))
	f.write(t, enrol(token.ClientSecret)) // the same user stands for both
	f.refused(t, kind.Unauthenticated, enrol("no"))
	f.refused(t, kind.Unauthenticated, enrol(""))
	until := store.Stamp(f.clock.Now().Add(time.Minute))
	var second api.ServiceToken
	f.write(t, func(tx *store.Tx) (err error) {
		second, err = tx.RotateServiceToken(f.ctx, token.ID, &until)
		return err
	})
	f.write(t, enrol(token.ClientSecret))
	f.write(t, enrol(second.ClientSecret))
	f.clock.Advance(2 * time.Minute)
	f.refused(t, kind.Unauthenticated, enrol(token.ClientSecret))
	f.write(t, enrol(second.ClientSecret))
	settle := func() (ids []string) {
		f.read(t, func(r *store.Reader) (err error) {
			ids, err = r.ExpiredServiceTokens(f.ctx)
			return err
		})
		f.write(t, func(tx *store.Tx) error { return tx.SettleServiceTokens(f.ctx, ids) })
		return ids
	}
	if ids := settle(); len(ids) != 0 || suspended() {
		t.Errorf("expired are %v", ids)
	}
	f.clock.Advance(time.Hour)
	f.refused(t, kind.Unauthenticated, enrol(second.ClientSecret))
	if ids := settle(); len(ids) != 1 || !suspended() {
		t.Errorf("expired are %v", ids)
	}
	if ids := settle(); len(ids) != 0 {
		t.Errorf("expired again are %v", ids)
	}
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.RefreshServiceToken(f.ctx, token.ID)
		return err
	})
	if suspended() {
		t.Error("a refreshed token suspends")
	}
	f.write(t, func(tx *store.Tx) error { return tx.DeleteServiceToken(f.ctx, token.ID) })
	f.read(t, func(r *store.Reader) error {
		devices, err := r.ActiveDevices(f.ctx)
		if len(devices) != 0 {
			t.Errorf("devices of a deleted token %+v", devices)
		}
		return err
	})
	f.refused(t, kind.Unauthenticated, enrol(second.ClientSecret))
}

// providerSecretsStay: a secret is not shown, survives being written as it is shown, and is really kept.
func providerSecretsStay(t *testing.T, f *fixture) {
	t.Helper()
	in := api.IdentityProviderWrite{Name: "corp", Type: "github", Config: map[string]any{"client_id": "a", "client_secret": "hush"}}
	var p api.IdentityProvider
	f.write(t, func(tx *store.Tx) (err error) {
		p, err = tx.CreateIdentityProvider(f.ctx, in)
		return err
	})
	if p.Config["client_secret"] != nil {
		t.Errorf("made %+v", p)
	}
	f.write(t, func(tx *store.Tx) (err error) {
		p, err = tx.ReplaceIdentityProvider(f.ctx, p.ID, api.IdentityProviderWrite{Name: "corp", Type: "github", Config: p.Config})
		return err
	})
	f.read(t, func(r *store.Reader) error {
		all, err := r.IdentityProviders(f.ctx)
		if len(all) != 1 || all[0].Config["client_secret"] != nil || all[0].Config["client_id"] != "a" {
			t.Errorf("providers %+v", all)
		}
		return err
	})
	if in.Config["client_secret"] != "hush" {
		t.Error("the caller's map was changed")
	}
	f.write(t, func(tx *store.Tx) error { return tx.DeleteIdentityProvider(f.ctx, p.ID) })
	f.refused(t, kind.NotFound, func(tx *store.Tx) error { return tx.DeleteIdentityProvider(f.ctx, p.ID) })
}

// oneOrganization: there is always one to read, and one to write.
func oneOrganization(t *testing.T, f *fixture) {
	t.Helper()
	name, session := "company", "8h"
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.CreateOrganization(f.ctx, api.OrganizationWrite{Name: &name})
		return err
	})
	f.refused(t, kind.Conflict, func(tx *store.Tx) error {
		_, err := tx.CreateOrganization(f.ctx, api.OrganizationWrite{Name: &name})
		return err
	})
	f.write(t, func(tx *store.Tx) error {
		_, err := tx.ReplaceOrganization(f.ctx, api.OrganizationWrite{SessionDuration: &session})
		return err
	})
	f.read(t, func(r *store.Reader) error {
		o, made, err := r.Organization(f.ctx)
		if !made || o.Name != name || o.SessionDuration != session || o.CreatedAt >= o.UpdatedAt {
			t.Errorf("organization %+v", o)
		}
		return err
	})
}

// usersComeAndGo: an address belongs to one user; one who was deleted leaves it to the next.
func usersComeAndGo(t *testing.T, f *fixture) {
	t.Helper()
	create := func(email string) (u store.User) {
		f.write(t, func(tx *store.Tx) (err error) {
			u, err = tx.CreateUser(f.ctx, api.UserWrite{Email: email, Name: "x"})
			return err
		})
		return u
	}
	a, b := create("A@company.com"), create("b@company.com")
	f.refused(t, kind.Conflict, func(tx *store.Tx) error {
		_, err := tx.CreateUser(f.ctx, api.UserWrite{Email: "a@COMPANY.com"})
		return err
	})
	f.refused(t, kind.Conflict, func(tx *store.Tx) error {
		_, err := tx.ReplaceUser(f.ctx, b.ID, api.UserWrite{Email: "a@company.com"})
		return err
	})
	f.write(t, func(tx *store.Tx) error { return tx.DeleteUser(f.ctx, a.ID) })
	f.refused(t, kind.NotFound, func(tx *store.Tx) error { return tx.DeleteUser(f.ctx, a.ID) })
	again := create("a@company.com")
	f.read(t, func(r *store.Reader) error {
		list, total, err := r.ListUsers(f.ctx, store.UserFilter{}, store.Page{Number: 1, Size: 10})
		if total != 2 || len(list) != 2 || list[0].ID != again.ID || again.ID == a.ID {
			t.Errorf("users %+v", list)
		}
		return err
	})
}

// logsAreFiltered: the access log and the audit log by each of their filters.
func logsAreFiltered(t *testing.T, f *fixture) {
	t.Helper()
	start := f.clock.Now()
	for _, e := range []api.AccessEvent{
		{Action: "login", Allowed: true, UserEmail: "A@b.c", UserID: "u1", DeviceID: "d1", AppUID: "app", AppName: "ssh", AppDomain: "web", Connection: "device"},
		{Action: "login", UserEmail: "a@b.c", UserID: "u1", DeviceID: "d1", Connection: "device"},
		{Action: "enrol", Allowed: true, UserEmail: "x_y@b.c", UserID: "u2", DeviceID: "d2", Connection: "service_token"},
	} {
		f.write(t, func(tx *store.Tx) error { return tx.RecordAccess(f.ctx, store.AccessEvent{AccessEvent: e}) })
	}
	yes := true
	for name, c := range map[string]struct {
		f    store.AccessFilter
		want int
	}{
		"all":               {store.AccessFilter{}, 3},
		"part of addresses": {store.AccessFilter{Email: "B.C"}, 3},
		"an underscore":     {store.AccessFilter{Email: "_"}, 1},
		"an address":        {store.AccessFilter{Email: "a@B.c", EmailExact: true}, 2},
		"not an address":    {store.AccessFilter{Email: "a@b.c", EmailExact: true, Not: map[string]bool{"email": true}}, 1},
		"allowed":           {store.AccessFilter{Allowed: &yes}, 2},
		"not allowed":       {store.AccessFilter{Allowed: &yes, Not: map[string]bool{"allowed": true}}, 1},
		"nobody":            {store.AccessFilter{NonIdentity: &yes}, 1},
		"somebody":          {store.AccessFilter{NonIdentity: &yes, Not: map[string]bool{"non_identity": true}}, 2},
		"a device":          {store.AccessFilter{DeviceID: "d1"}, 2},
		"an application":    {store.AccessFilter{AppUID: "app"}, 1},
		"since":             {store.AccessFilter{Since: start}, 3},
		"until":             {store.AccessFilter{Until: start}, 0},
	} {
		f.read(t, func(r *store.Reader) error {
			list, total, err := r.AccessEvents(f.ctx, c.f, store.Page{Number: 1, Size: 2})
			if total != c.want || len(list) != min(2, c.want) {
				t.Errorf("%s: %d of %d events, want %d", name, len(list), total, c.want)
			}
			return err
		})
	}
	f.read(t, func(r *store.Reader) error {
		apps, err := r.DeviceApps(f.ctx, "u1")
		if len(apps) != 1 || apps["d1"]["app"].Hostname != "web" {
			t.Errorf("applications of devices %+v", apps)
		}
		return err
	})
	name := "net"
	f.write(t, func(tx *store.Tx) error {
		n, err := tx.CreateNetwork(f.ctx, store.NetworkFields{Name: name})
		if err != nil {
			return err
		}
		_, err = tx.DeleteNetwork(f.ctx, n.ID)
		return err
	})
	for name, c := range map[string]struct {
		f    store.AuditFilter
		want int
	}{
		"a verb":           {store.AuditFilter{Is: store.AuditFields{Action: []string{"delete"}}}, 1},
		"a verb or action": {store.AuditFilter{Since: start, Is: store.AuditFields{Action: []string{"delete", "virtual_network.create"}}}, 2},
		"another verb":     {store.AuditFilter{Since: start, Not: store.AuditFields{Action: []string{"delete"}}}, 1},
		"an actor":         {store.AuditFilter{Is: store.AuditFields{ActorID: []string{admin.ID}}}, 2},
		"nobody's address": {store.AuditFilter{Is: store.AuditFields{ActorEmail: []string{"a@b.c"}}}, 0},
		"hidden actors":    {store.AuditFilter{Since: start, HideActors: []string{admin.Type}}, 0},
		"before":           {store.AuditFilter{Before: start, Is: store.AuditFields{ActorID: []string{admin.ID}}}, 0},
	} {
		f.read(t, func(r *store.Reader) error {
			list, total, err := r.Audit(f.ctx, c.f, store.Page{Number: 1, Size: 10})
			if total != c.want || len(list) != c.want {
				t.Errorf("%s: %d of %d events, want %d", name, len(list), total, c.want)
			}
			return err
		})
	}
	f.write(t, func(tx *store.Tx) error {
		n, err := tx.TrimAccessEvents(f.ctx)
		if n != 0 {
			t.Errorf("%d events went", n)
		}
		return err
	})
}
