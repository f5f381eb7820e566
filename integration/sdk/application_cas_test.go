package sdk_test

import (
	"testing"

	v0sdk "github.com/cloudflare/cloudflare-go"
	cf "github.com/cloudflare/cloudflare-go/v6"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

// The SSH CA of an application, the older form of the account's, with both generations of the SDK.
func TestApplicationCAs(t *testing.T) {
	s := controltest.New(t)
	old, rc := v0(t, s)
	ctx, account := t.Context(), cf.F(s.AccountID)
	cas := v6(t, s).ZeroTrust.Access.Applications.CAs
	var apps []v0sdk.AccessApplication
	for _, name := range []string{"one", "two"} {
		criteria := []v0sdk.AccessInfrastructureTargetContext{{TargetAttributes: map[string][]string{"hostname": {"web"}}, Port: 22, Protocol: v0sdk.AccessInfrastructureSSH}}
		apps = append(apps, must(old.CreateAccessApplication(ctx, rc, v0sdk.CreateAccessApplicationParams{Name: name, Type: v0sdk.Infrastructure, TargetContexts: &criteria})))
	}
	_, err := old.GetAccessCACertificate(ctx, rc, apps[0].ID)
	gone(t, "CA", err)

	one := must(old.CreateAccessCACertificate(ctx, rc, v0sdk.CreateAccessCACertificateParams{ApplicationID: apps[0].ID}))
	two := must(cas.New(ctx, apps[1].ID, zt.AccessApplicationCANewParams{AccountID: account}))
	if one.Aud != apps[0].AUD || one.PublicKey == "" || one.PublicKey != two.PublicKey || two.AUD != apps[1].AUD || one.ID == two.ID {
		t.Errorf("made %+v and %+v", one, two)
	}
	if got := must(old.GetAccessCACertificate(ctx, rc, apps[0].ID)); got != one {
		t.Errorf("made %+v, read %+v", one, got)
	}
	if got := must(cas.Get(ctx, apps[1].ID, zt.AccessApplicationCAGetParams{AccountID: account})); got.ID != two.ID || got.PublicKey != two.PublicKey {
		t.Errorf("made %+v, read %+v", two, got)
	}
	if l := all(t, cas.ListAutoPaging(ctx, zt.AccessApplicationCAListParams{AccountID: account, PerPage: cf.F(int64(1))})); len(l) != 2 {
		t.Errorf("v6 lists %+v", l)
	}
	if l, _, err := old.ListAccessCACertificates(ctx, rc, v0sdk.ListAccessCACertificatesParams{}); err != nil || len(l) != 2 || l[0] != one {
		t.Errorf("v0 lists %+v, %v", l, err)
	}
	names := map[string]string{apps[0].AUD: "one", apps[1].AUD: "two"}
	type P0 = v0sdk.ListAccessCACertificatesParams
	effects(t, func(p P0, _ with) ([]string, error) {
		l, _, err := old.ListAccessCACertificates(ctx, rc, p)
		return keys(l, err, func(x v0sdk.AccessCACertificate) string { return names[x.Aud] })
	}, row[P0]{what: "all", want: "one two"}, row[P0]{what: "the second page", params: P0{ResultInfo: pageOf(2, 1)}, want: "two"})
	type P6 = zt.AccessApplicationCAListParams
	effects(t, func(p P6, also with) ([]string, error) {
		p.AccountID = account
		l, err := cas.List(ctx, p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(x zt.CA) string { return names[x.AUD] })
	}, row[P6]{what: "all", want: "one two"}, row[P6]{what: "the second page", params: P6{PerPage: cf.F(int64(1)), Page: cf.F(int64(2))}, want: "two"})
	if gone := must(cas.Delete(ctx, apps[1].ID, zt.AccessApplicationCADeleteParams{AccountID: account})); gone.ID != two.ID {
		t.Errorf("deleted %+v", gone)
	}
	if err := old.DeleteAccessCACertificate(ctx, rc, apps[0].ID); err != nil {
		t.Error(err)
	}
	_, err = old.GetAccessCACertificate(ctx, rc, apps[0].ID)
	gone(t, "CA", err)
}
