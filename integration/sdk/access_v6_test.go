package sdk_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	cf "github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/accounts"
	"github.com/cloudflare/cloudflare-go/v6/audit_logs"
	"github.com/cloudflare/cloudflare-go/v6/option"
	"github.com/cloudflare/cloudflare-go/v6/shared"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

func v6Include(email string) []zt.AccessRuleUnionParam {
	return []zt.AccessRuleUnionParam{zt.EmailRuleParam{Email: cf.F(zt.EmailRuleEmailParam{Email: cf.F(email)})}}
}

func TestV6_ReusablePolicies(t *testing.T) {
	s := controltest.New(t)
	access, account := v6(t, s).ZeroTrust.Access, cf.F(s.AccountID)
	c := access.Policies
	ctx := t.Context()
	ssh := option.WithJSONSet("connection_rules", map[string]any{"ssh": map[string]any{"usernames": []string{"root"}}}) // the SDK knows only RDP here
	p := must(c.New(ctx, zt.AccessPolicyNewParams{AccountID: account, Name: cf.F("ops"), Decision: cf.F(zt.DecisionAllow), Include: cf.F(v6Include("jdoe@company.com"))}, ssh))
	if p.Name != "ops" || !bool(p.Reusable) || p.AppCount != 0 || p.CreatedAt.IsZero() || len(p.Include) != 1 {
		t.Errorf("made %+v", p)
	}
	app := must(access.Applications.New(ctx, zt.AccessApplicationNewParams{AccountID: account, Body: zt.AccessApplicationNewParamsBodyInfrastructureApplication{
		Name: cf.F("ssh"), Type: cf.F(zt.ApplicationTypeInfrastructure),
		TargetCriteria: cf.F([]zt.AccessApplicationNewParamsBodyInfrastructureApplicationTargetCriterion{{
			Port: cf.F(int64(22)), Protocol: cf.F(zt.AccessApplicationNewParamsBodyInfrastructureApplicationTargetCriteriaProtocolSSH),
			TargetAttributes: cf.F(map[string][]string{"hostname": {"web-1"}}),
		}}),
	}}, option.WithJSONSet("policies", []any{map[string]any{"id": p.ID, "precedence": 5}})))
	infra, ok := app.AsUnion().(zt.AccessApplicationNewResponseInfrastructureApplication)
	if !ok || len(infra.Policies) != 1 || infra.Policies[0].ID != p.ID || infra.Policies[0].ConnectionRules.SSH.Usernames[0] != "root" {
		t.Fatalf("application %T %+v", app.AsUnion(), infra)
	}
	up := must(c.Update(ctx, p.ID, zt.AccessPolicyUpdateParams{AccountID: account, Name: cf.F("operators"), Decision: cf.F(zt.DecisionAllow), Include: cf.F(v6Include("other@company.com"))}, ssh))
	if up.Name != "operators" || up.AppCount != 1 {
		t.Errorf("updated %+v", up)
	}
	got := must(access.Applications.Get(ctx, zt.AppIDParam(app.ID), zt.AccessApplicationGetParams{AccountID: account}))
	if infra, ok := got.AsUnion().(zt.AccessApplicationGetResponseInfrastructureApplication); !ok || infra.Policies[0].Name != "operators" {
		t.Errorf("the application is %T %+v", got.AsUnion(), infra)
	}
	if l := all(t, c.ListAutoPaging(ctx, zt.AccessPolicyListParams{AccountID: account})); len(l) != 1 || l[0].AppCount != 1 {
		t.Errorf("policies %+v", l)
	}
	_, err := c.Delete(ctx, p.ID, zt.AccessPolicyDeleteParams{AccountID: account})
	status(t, "deleted while in use", err, http.StatusBadRequest)
	must(access.Applications.Delete(ctx, zt.AppIDParam(app.ID), zt.AccessApplicationDeleteParams{AccountID: account}))
	if d := must(c.Delete(ctx, p.ID, zt.AccessPolicyDeleteParams{AccountID: account})); d.ID != p.ID {
		t.Errorf("deleted %+v", d)
	}
	_, err = c.Get(ctx, p.ID, zt.AccessPolicyGetParams{AccountID: account})
	status(t, "after the deletion", err, http.StatusNotFound)
}

func TestV6_ServiceTokens(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Access.ServiceTokens, cf.F(s.AccountID)
	ctx := t.Context()
	made := must(c.New(ctx, zt.AccessServiceTokenNewParams{AccountID: account, Name: cf.F("ci"), Duration: cf.F("forever")}))
	if made.ClientSecret == "" || made.Duration != "forever" {
		t.Errorf("made %+v", made)
	}
	up := must(c.Update(ctx, made.ID, zt.AccessServiceTokenUpdateParams{AccountID: account, Name: cf.F("ci-2"), Duration: cf.F("60h")}))
	if up.Name != "ci-2" || up.Duration != "60h" || time.Until(up.ExpiresAt) > 61*time.Hour {
		t.Errorf("updated %+v", up)
	}
	second := must(c.Update(ctx, made.ID, zt.AccessServiceTokenUpdateParams{AccountID: account, ClientSecretVersion: cf.F(2.0), PreviousClientSecretExpiresAt: cf.F(time.Now().Add(time.Hour))}))
	if second.Name != "ci-2" || !strings.Contains(second.JSON.RawJSON(), `"client_secret":`) {
		t.Errorf("second %s", second.JSON.RawJSON())
	}
	if third := must(c.Rotate(ctx, made.ID, zt.AccessServiceTokenRotateParams{AccountID: account})); third.ClientSecret == "" || third.ClientID != made.ClientID {
		t.Errorf("third %+v", third)
	}
	if got := must(c.Refresh(ctx, made.ID, zt.AccessServiceTokenRefreshParams{AccountID: account})); got.ExpiresAt.Before(up.ExpiresAt) {
		t.Errorf("refreshed %+v", got)
	}
	for name, want := range map[string]int{"ci-2": 1, "ci": 0} {
		if l := all(t, c.ListAutoPaging(ctx, zt.AccessServiceTokenListParams{AccountID: account, Name: cf.F(name)})); len(l) != want {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if l := all(t, c.ListAutoPaging(ctx, zt.AccessServiceTokenListParams{AccountID: account, Search: cf.F("CI")})); len(l) != 1 {
		t.Errorf("search %+v", l)
	}
	if d := must(c.Delete(ctx, made.ID, zt.AccessServiceTokenDeleteParams{AccountID: account})); d.ID != made.ID || d.Name != "ci-2" {
		t.Errorf("deleted %+v", d)
	}
	_, err := c.Get(ctx, made.ID, zt.AccessServiceTokenGetParams{AccountID: account})
	status(t, "after the deletion", err, http.StatusNotFound)
}

func TestV6_IdentityProviders(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.IdentityProviders, cf.F(s.AccountID)
	ctx := t.Context()
	oidc := func(name, secret string) zt.IdentityProviderAccessOIDCParam {
		return zt.IdentityProviderAccessOIDCParam{Name: cf.F(name), Type: cf.F(zt.IdentityProviderTypeOIDC), Config: cf.F(zt.IdentityProviderAccessOIDCConfigParam{
			ClientID: cf.F("id"), ClientSecret: cf.F(secret), AuthURL: cf.F("https://idp.example.com/auth"), TokenURL: cf.F("https://idp.example.com/token"),
			CERTsURL: cf.F("https://idp.example.com/keys"), Scopes: cf.F([]string{"openid"}), Claims: cf.F([]string{"groups"}), PKCEEnabled: cf.F(true),
		})}
	}
	made := must(c.New(ctx, zt.IdentityProviderNewParams{AccountID: account, IdentityProvider: oidc("corp", "hush")}))
	if made.Name != "corp" || made.Type != zt.IdentityProviderTypeOIDC || strings.Contains(made.JSON.RawJSON(), "hush") {
		t.Errorf("made %s", made.JSON.RawJSON())
	}
	up := must(c.Update(ctx, made.ID, zt.IdentityProviderUpdateParams{AccountID: account, IdentityProvider: oidc("company", strings.Repeat("*", 34))}))
	if up.Name != "company" {
		t.Errorf("updated %+v", up)
	}
	must(c.New(ctx, zt.IdentityProviderNewParams{AccountID: account, IdentityProvider: zt.IdentityProviderAccessOnetimepinParam{
		Name: cf.F("PIN"), Type: cf.F(zt.IdentityProviderTypeOnetimepin), Config: cf.F(zt.IdentityProviderAccessOnetimepinConfigParam{}),
	}}))
	for scim, want := range map[string]int{"false": 2, "true": 0} {
		if l := all(t, c.ListAutoPaging(ctx, zt.IdentityProviderListParams{AccountID: account, SCIMEnabled: cf.F(scim)})); len(l) != want {
			t.Errorf("scim %s: %+v", scim, l)
		}
	}
	if got := must(c.Get(ctx, made.ID, zt.IdentityProviderGetParams{AccountID: account})); got.Name != "company" {
		t.Errorf("read %+v", got)
	}
	if d := must(c.Delete(ctx, made.ID, zt.IdentityProviderDeleteParams{AccountID: account})); d.ID != made.ID {
		t.Errorf("deleted %+v", d)
	}
	_, err := c.Get(ctx, made.ID, zt.IdentityProviderGetParams{AccountID: account})
	status(t, "after the deletion", err, http.StatusNotFound)
}

func TestV6_Organization(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Organizations, cf.F(s.AccountID)
	ctx := t.Context()
	made := must(c.New(ctx, zt.OrganizationNewParams{
		AccountID: account, Name: cf.F("company"), AuthDomain: cf.F("company.example.com"), SessionDuration: cf.F("12h"), WARPAuthSessionDuration: cf.F("24h"),
		LoginDesign: cf.F(zt.LoginDesignParam{HeaderText: cf.F("hello")}), IsUIReadOnly: cf.F(true),
	}))
	if made.AuthDomain != "company.example.com" || made.LoginDesign.HeaderText != "hello" || !made.IsUIReadOnly {
		t.Errorf("made %+v", made)
	}
	up := must(c.Update(ctx, zt.OrganizationUpdateParams{AccountID: account, SessionDuration: cf.F("8h"), AllowAuthenticateViaWARP: cf.F(true)}))
	if up.SessionDuration != "8h" || up.WARPAuthSessionDuration != "" || !up.AllowAuthenticateViaWARP || up.Name != "company" {
		t.Errorf("updated %+v", up)
	}
	if got := must(c.List(ctx, zt.OrganizationListParams{AccountID: account})); got.SessionDuration != "8h" {
		t.Errorf("read %+v", got)
	}
	_, err := c.Update(ctx, zt.OrganizationUpdateParams{AccountID: account, MfaRequiredForAllApps: cf.F(true)})
	status(t, "what is not enforced", err, http.StatusBadRequest)
}

func TestV6_Users(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Access.Users, cf.F(s.AccountID)
	ctx := t.Context()
	made := must(c.New(ctx, zt.AccessUserNewParams{AccountID: account, Email: cf.F("a@company.com"), Name: cf.F("A")}))
	enrolment := s.Enrolment("a@company.com")
	dev := must(s.TryEnrol(enrolment, "laptop"))
	if _, err := s.TryEnrol(enrolment, "laptop"); err == nil {
		t.Error("an enrolment string was used twice")
	}
	if got := must(c.Get(ctx, made.ID, zt.AccessUserGetParams{AccountID: account})); got.ActiveDeviceCount != 1 || got.LastSuccessfulLogin.IsZero() || got.Name != "A" {
		t.Errorf("read %+v", got)
	}
	up := must(c.Update(ctx, made.ID, zt.AccessUserUpdateParams{AccountID: account, Email: cf.F("a@company.com"), Name: cf.F("Alice")}))
	if up.Name != "Alice" {
		t.Errorf("updated %+v", up)
	}
	for _, tt := range []struct {
		filter zt.AccessUserListParams
		want   int
	}{
		{zt.AccessUserListParams{}, 1},
		{zt.AccessUserListParams{Email: cf.F("A@company.com")}, 1},
		{zt.AccessUserListParams{Name: cf.F("bob")}, 0},
		{zt.AccessUserListParams{Search: cf.F("lic")}, 1},
	} {
		tt.filter.AccountID = account
		if l := all(t, c.ListAutoPaging(ctx, tt.filter)); len(l) != tt.want {
			t.Errorf("%+v: %d users, want %d", tt.filter, len(l), tt.want)
		}
	}
	sessions := all(t, c.ActiveSessions.ListAutoPaging(ctx, made.ID, zt.AccessUserActiveSessionListParams{AccountID: account}))
	if len(sessions) != 1 || sessions[0].Metadata.Nonce != dev.RegistrationID || sessions[0].Metadata.Iat == 0 {
		t.Fatalf("sessions %+v", sessions)
	}
	if got := must(c.ActiveSessions.Get(ctx, made.ID, dev.RegistrationID, zt.AccessUserActiveSessionGetParams{AccountID: account})); !got.IsActive || got.DeviceID != dev.DeviceID {
		t.Errorf("session %+v", got)
	}
	if got := must(c.LastSeenIdentity.Get(ctx, made.ID, zt.AccessUserLastSeenIdentityGetParams{AccountID: account})); got.Email != "a@company.com" || got.UserUUID != made.ID {
		t.Errorf("identity %+v", got)
	}
	if l := all(t, c.FailedLogins.ListAutoPaging(ctx, made.ID, zt.AccessUserFailedLoginListParams{AccountID: account})); len(l) != 1 || l[0].Expiration == 0 {
		t.Errorf("failed logins %+v", l)
	}
	if _, err := c.Delete(ctx, made.ID, zt.AccessUserDeleteParams{AccountID: account}); err != nil {
		t.Error(err)
	}
	_, err := c.Get(ctx, made.ID, zt.AccessUserGetParams{AccountID: account})
	status(t, "after the deletion", err, http.StatusNotFound)
}

func TestV6_Logs(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s), cf.F(s.AccountID)
	ctx := t.Context()
	enrolment := s.Enrolment("a@company.com")
	must(s.TryEnrol(enrolment, "laptop"))
	if _, err := s.TryEnrol(enrolment, "laptop"); err == nil {
		t.Error("an enrolment string was used twice")
	}
	s.Enrol("b@company.com", "desktop")
	for _, tt := range []struct {
		filter zt.AccessLogAccessRequestListParams
		want   int
	}{
		{zt.AccessLogAccessRequestListParams{}, 3},
		{zt.AccessLogAccessRequestListParams{Email: cf.F("a@")}, 2},
		{zt.AccessLogAccessRequestListParams{Email: cf.F("a@"), EmailExact: cf.F(true)}, 0},
		{zt.AccessLogAccessRequestListParams{Email: cf.F("a@"), EmailOp: cf.F(zt.AccessLogAccessRequestListParamsEmailOpNeq)}, 1},
		{zt.AccessLogAccessRequestListParams{Limit: cf.F(int64(2))}, 2},
		{zt.AccessLogAccessRequestListParams{PerPage: cf.F(int64(2)), Page: cf.F(int64(2))}, 1},
		{zt.AccessLogAccessRequestListParams{Since: cf.F(time.Now().Add(time.Hour))}, 0},
		{zt.AccessLogAccessRequestListParams{Until: cf.F(time.Now().Add(time.Hour)), Direction: cf.F(zt.AccessLogAccessRequestListParamsDirectionAsc)}, 3},
	} {
		tt.filter.AccountID = account
		if l := *must(c.ZeroTrust.Access.Logs.AccessRequests.List(ctx, tt.filter)); len(l) != tt.want || len(l) > 0 && (l[0].CreatedAt.IsZero() || l[0].Action != "enrol") {
			t.Errorf("%+v: %+v, want %d", tt.filter, l, tt.want)
		}
	}
	older := all(t, c.AuditLogs.ListAutoPaging(ctx, audit_logs.AuditLogListParams{
		AccountID: account, PerPage: cf.F(2.0), Since: cf.F[audit_logs.AuditLogListParamsSinceUnion](shared.UnionTime(time.Now().Add(-time.Hour))),
		Action: cf.F(audit_logs.AuditLogListParamsAction{Type: cf.F("device.enrol")}),
	}))
	if len(older) != 2 || older[1].When.IsZero() || older[0].Actor.Email != "b@company.com" {
		t.Errorf("audit log %+v", older)
	}
	newer := all(t, c.Accounts.Logs.Audit.ListAutoPaging(ctx, accounts.LogAuditListParams{
		AccountID: account, Since: cf.F(time.Now().AddDate(0, 0, -2)), Before: cf.F(time.Now().AddDate(0, 0, 2)), Limit: cf.F(1.0), Direction: cf.F(accounts.LogAuditListParamsDirectionAsc),
		ActorType: cf.F(accounts.LogAuditListParamsActorType{Not: cf.F([]accounts.LogAuditListParamsActorTypeNot{accounts.LogAuditListParamsActorTypeNotSystem})}),
	}))
	if len(newer) < 4 || newer[0].Action.Time.IsZero() || newer[0].Actor.Type != accounts.LogAuditListResponseActorTypeUser {
		t.Errorf("audit log %+v", newer)
	}
	ids := map[string]bool{}
	for _, e := range newer {
		if ids[e.ID] {
			t.Errorf("%s stands twice", e.ID)
		}
		ids[e.ID] = true
	}
}
