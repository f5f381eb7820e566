package sdk_test

import (
	"fmt"
	"net/http"
	"testing"

	cf "github.com/cloudflare/cloudflare-go/v6"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

// Groups of lists, as configurations have them that share groups with other kinds of applications.
func TestV6_GroupsOfLists(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust, cf.F(s.AccountID)
	ctx := t.Context()
	list := func(name string, typ zt.GatewayListNewParamsType, item string) string {
		return must(c.Gateway.Lists.New(ctx, zt.GatewayListNewParams{
			AccountID: account, Name: cf.F(name), Type: cf.F(typ), Items: cf.F([]zt.GatewayListNewParamsItem{{Value: cf.F(item)}}),
		})).ID
	}
	people, places := list("people", zt.GatewayListNewParamsTypeEmail, "jdoe@company.com"), list("places", zt.GatewayListNewParamsTypeIP, "192.0.2.0/24")
	emailList := func(id string) []zt.AccessRuleUnionParam {
		return []zt.AccessRuleUnionParam{zt.EmailListRuleParam{EmailList: cf.F(zt.EmailListRuleEmailListParam{ID: cf.F(id)})}}
	}
	ipList := []zt.AccessRuleUnionParam{zt.IPListRuleParam{IPList: cf.F(zt.IPListRuleIPListParam{ID: cf.F(places)})}}
	certificate := []zt.AccessRuleUnionParam{zt.CertificateRuleParam{Certificate: cf.F(zt.CertificateRuleCertificateParam{})}}
	made := must(c.Access.Groups.New(ctx, zt.AccessGroupNewParams{
		AccountID: account, Name: cf.F("staff"), Include: cf.F(emailList(people)), Require: cf.F(ipList), Exclude: cf.F(certificate),
	}))
	g := must(c.Access.Groups.Get(ctx, made.ID, zt.AccessGroupGetParams{AccountID: account}))
	if len(g.Include) != 1 || len(g.Require) != 1 || len(g.Exclude) != 1 {
		t.Fatalf("group %+v", g)
	}
	if r, ok := g.Include[0].AsUnion().(zt.EmailListRule); !ok || r.EmailList.ID != people {
		t.Errorf("include %+v", g.Include)
	}
	if r, ok := g.Require[0].AsUnion().(zt.IPListRule); !ok || r.IPList.ID != places {
		t.Errorf("require %+v", g.Require)
	}
	if _, ok := g.Exclude[0].AsUnion().(zt.CertificateRule); !ok {
		t.Errorf("exclude %+v", g.Exclude)
	}
	up := must(c.Access.Groups.Update(ctx, made.ID, zt.AccessGroupUpdateParams{
		AccountID: account, Name: cf.F("staff"), Include: cf.F(emailList(people)),
	}))
	if len(up.Require) != 0 || len(up.Exclude) != 0 {
		t.Errorf("updated %+v", up)
	}
	for what, id := range map[string]string{"a list that is not there": "f174e90a-fafe-4643-bbbc-4a0ed4fc8415", "a list of addresses": places} {
		_, err := c.Access.Groups.Update(ctx, made.ID, zt.AccessGroupUpdateParams{AccountID: account, Name: cf.F("staff"), Include: cf.F(emailList(id))})
		status(t, what, err, http.StatusBadRequest)
	}
	p := must(c.Access.Policies.New(ctx, zt.AccessPolicyNewParams{
		AccountID: account, Name: cf.F("listed"), Decision: cf.F(zt.DecisionAllow), Include: cf.F(emailList(people)), Require: cf.F(certificate),
	}))
	if _, ok := p.Require[0].AsUnion().(zt.CertificateRule); !ok || len(p.Include) != 1 {
		t.Errorf("reusable policy %+v", p)
	}
	del := func() error {
		_, err := c.Gateway.Lists.Delete(ctx, people, zt.GatewayListDeleteParams{AccountID: account})
		return err
	}
	status(t, "the deletion of a list in use", del(), http.StatusBadRequest)
	must(c.Access.Policies.Delete(ctx, p.ID, zt.AccessPolicyDeleteParams{AccountID: account}))
	status(t, "the deletion of a list in use by a group", del(), http.StatusBadRequest)
	must(c.Access.Groups.Delete(ctx, made.ID, zt.AccessGroupDeleteParams{AccountID: account}))
	if err := del(); err != nil {
		t.Error(fmt.Errorf("delete the list: %w", err))
	}
}
