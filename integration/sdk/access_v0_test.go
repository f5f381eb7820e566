package sdk_test

import (
	"strings"
	"testing"
	"time"

	cf "github.com/cloudflare/cloudflare-go"

	"weft/control/controltest"
)

func v0Include(email string) []any {
	return []any{map[string]any{"email": map[string]string{"email": email}}}
}

func TestV0_ReusablePolicies(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	p := must(c.CreateAccessPolicy(ctx, account, cf.CreateAccessPolicyParams{
		Name: "ops", Decision: "allow", Include: v0Include("jdoe@company.com"),
		InfrastructureConnectionRules: &cf.AccessInfrastructureConnectionRules{SSH: &cf.AccessInfrastructureConnectionRulesSSH{Usernames: []string{"root"}}},
	}))
	if p.Reusable == nil || !*p.Reusable || p.Precedence != 0 || p.InfrastructureConnectionRules.SSH.Usernames[0] != "root" {
		t.Errorf("made %+v", p)
	}
	criteria := &[]cf.AccessInfrastructureTargetContext{{TargetAttributes: map[string][]string{"hostname": {"infra-v0"}}, Port: 22, Protocol: cf.AccessInfrastructureSSH}}
	app := must(c.CreateAccessApplication(ctx, account, cf.CreateAccessApplicationParams{Name: "one", Type: cf.Infrastructure, TargetContexts: criteria, Policies: []string{p.ID}}))
	if len(app.Policies) != 1 || app.Policies[0].ID != p.ID || app.Policies[0].Name != "ops" || app.Policies[0].Precedence != 1 {
		t.Errorf("application %+v", app.Policies)
	}
	up := must(c.UpdateAccessPolicy(ctx, account, cf.UpdateAccessPolicyParams{PolicyID: p.ID, Name: "operators", Decision: "allow", Include: v0Include("other@company.com")}))
	if up.Name != "operators" || up.InfrastructureConnectionRules != nil {
		t.Errorf("updated %+v", up)
	}
	if got := must(c.GetAccessApplication(ctx, account, app.ID)); got.Policies[0].Name != "operators" {
		t.Errorf("the application has %+v", got.Policies)
	}
	if got := must(c.GetAccessPolicy(ctx, account, cf.GetAccessPolicyParams{PolicyID: p.ID, ApplicationID: app.ID})); got.Precedence != 1 {
		t.Errorf("in the application %+v", got)
	}
	if list, _, err := c.ListAccessPolicies(ctx, account, cf.ListAccessPoliciesParams{}); err != nil || len(list) != 1 {
		t.Errorf("policies %+v, %v", list, err)
	}
	if err := c.DeleteAccessPolicy(ctx, account, cf.DeleteAccessPolicyParams{PolicyID: p.ID}); err == nil || !strings.Contains(err.Error(), "application one") {
		t.Errorf("deleted while in use: %v", err)
	}
	if err := c.DeleteAccessApplication(ctx, account, app.ID); err != nil {
		t.Error(err)
	}
	if err := c.DeleteAccessPolicy(ctx, account, cf.DeleteAccessPolicyParams{PolicyID: p.ID}); err != nil {
		t.Error(err)
	}
	_, err := c.GetAccessPolicy(ctx, account, cf.GetAccessPolicyParams{PolicyID: p.ID})
	gone(t, "policy", err)
}

func TestV0_ServiceTokens(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	made := must(c.CreateAccessServiceToken(ctx, account, cf.CreateAccessServiceTokenParams{Name: "ci", Duration: "17520h"}))
	if made.ClientSecret == "" || made.ClientID == "" || made.Duration != "17520h" || made.ClientSecretVersion != 1 || made.ExpiresAt.Before(time.Now().AddDate(1, 11, 0)) {
		t.Errorf("made %+v", made)
	}
	up := must(c.UpdateAccessServiceToken(ctx, account, cf.UpdateAccessServiceTokenParams{UUID: made.ID, Name: "ci-2"}))
	if up.Name != "ci-2" || up.ClientSecret != "" || up.Duration != "17520h" {
		t.Errorf("updated %+v", up)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	second := must(c.UpdateAccessServiceToken(ctx, account, cf.UpdateAccessServiceTokenParams{UUID: made.ID, Name: "ci-2", ClientSecretVersion: 2, PreviousClientSecretExpiresAt: &until}))
	if second.ClientSecret == "" || second.ClientSecretVersion != 2 || !second.PreviousClientSecretExpiresAt.Equal(until) {
		t.Errorf("second %+v", second)
	}
	third := must(c.RotateAccessServiceToken(ctx, account, made.ID))
	if third.ClientSecret == "" || third.ClientSecret == second.ClientSecret || third.ClientSecretVersion != 3 {
		t.Errorf("third %+v", third)
	}
	if got := must(c.RefreshAccessServiceToken(ctx, account, made.ID)); !got.ExpiresAt.After(*made.ExpiresAt) {
		t.Errorf("refreshed %+v", got)
	}
	if list, _, err := c.ListAccessServiceTokens(ctx, account, cf.ListAccessServiceTokensParams{}); err != nil || len(list) != 1 || list[0].ClientID != made.ClientID {
		t.Errorf("tokens %+v, %v", list, err)
	}
	if got := must(c.DeleteAccessServiceToken(ctx, account, made.ID)); got.ID != made.ID || got.Name != "ci-2" {
		t.Errorf("deleted %+v", got)
	}
	_, err := c.RefreshAccessServiceToken(ctx, account, made.ID)
	gone(t, "service token", err)
}

func TestV0_IdentityProviders(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	config := cf.AccessIdentityProviderConfiguration{
		ClientID: "id", ClientSecret: "hush", AuthURL: "https://idp.example.com/auth", TokenURL: "https://idp.example.com/token", CertsURL: "https://idp.example.com/keys",
		Scopes: []string{"openid"}, Claims: []string{"groups"}, PKCEEnabled: cf.BoolPtr(true),
	}
	made := must(c.CreateAccessIdentityProvider(ctx, account, cf.CreateAccessIdentityProviderParams{Name: "corp", Type: "oidc", Config: config}))
	if made.Config.AuthURL != config.AuthURL || made.Config.ClientSecret != "" || !*made.Config.PKCEEnabled {
		t.Errorf("made %+v", made)
	}
	config.ClientID, config.ClientSecret = "id-2", made.Config.ClientSecret
	up := must(c.UpdateAccessIdentityProvider(ctx, account, cf.UpdateAccessIdentityProviderParams{ID: made.ID, Name: "company", Type: "oidc", Config: config}))
	if up.Name != "company" || up.Config.ClientID != "id-2" {
		t.Errorf("updated %+v", up)
	}
	must(c.CreateAccessIdentityProvider(ctx, account, cf.CreateAccessIdentityProviderParams{Name: "PIN", Type: "onetimepin"}))
	if got := must(c.GetAccessIdentityProvider(ctx, account, made.ID)); got.Name != "company" {
		t.Errorf("read %+v", got)
	}
	if list, _, err := c.ListAccessIdentityProviders(ctx, account, cf.ListAccessIdentityProvidersParams{}); err != nil || len(list) != 2 {
		t.Errorf("providers %+v, %v", list, err)
	}
	must(c.DeleteAccessIdentityProvider(ctx, account, made.ID))
	_, err := c.GetAccessIdentityProvider(ctx, account, made.ID)
	gone(t, "identity provider", err)
}

func TestV0_Organization(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	session, warp := "12h", "24h"
	made := must(c.CreateAccessOrganization(ctx, account, cf.CreateAccessOrganizationParams{
		Name: "company", AuthDomain: "company.example.com", SessionDuration: &session, WarpAuthSessionDuration: &warp, IsUIReadOnly: cf.BoolPtr(true),
		LoginDesign: cf.AccessOrganizationLoginDesign{HeaderText: "hello"},
	}))
	if made.AuthDomain != "company.example.com" || *made.SessionDuration != "12h" || made.LoginDesign.HeaderText != "hello" || !*made.IsUIReadOnly {
		t.Errorf("made %+v", made)
	}
	up := must(c.UpdateAccessOrganization(ctx, account, cf.UpdateAccessOrganizationParams{Name: "company", AuthDomain: "team.example.com", WarpAuthSessionDuration: &warp}))
	if up.AuthDomain != "team.example.com" || up.SessionDuration != nil { // it replaces all
		t.Errorf("updated %+v", up)
	}
	if got, _, err := c.GetAccessOrganization(ctx, account, cf.GetAccessOrganizationParams{}); err != nil || got.AuthDomain != "team.example.com" || *got.WarpAuthSessionDuration != "24h" {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestV0_UserSessionsAndLogs(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	ctx := t.Context()
	enrolment := s.Enrolment("a@company.com")
	dev := must(s.TryEnrol(enrolment, "laptop"))
	if _, err := s.TryEnrol(enrolment, "laptop"); err == nil {
		t.Error("an enrolment string was used twice")
	}
	users, _, err := c.ListAccessUsers(ctx, account, cf.AccessUserParams{})
	if err != nil || len(users) != 1 || users[0].LastSuccessfulLogin == "" {
		t.Fatalf("users %+v, %v", users, err)
	}
	id := users[0].ID
	sessions := must(c.GetAccessUserActiveSessions(ctx, account, id))
	if len(sessions) != 1 || sessions[0].Metadata.Nonce != dev.RegistrationID {
		t.Errorf("sessions %+v", sessions)
	}
	if got := must(c.GetAccessUserSingleActiveSession(ctx, account, id, dev.RegistrationID)); got.Email != "a@company.com" || !*got.IsActive || got.DeviceID != dev.DeviceID {
		t.Errorf("session %+v", got)
	}
	if got := must(c.GetAccessUserLastSeenIdentity(ctx, account, id)); got.UserUUID != id || got.IP != "127.0.0.1" {
		t.Errorf("identity %+v", got)
	}
	if got := must(c.GetAccessUserFailedLogins(ctx, account, id)); len(got) != 1 || got[0].Metadata.UserEmail != "a@company.com" {
		t.Errorf("failed logins %+v", got)
	}
	since := time.Now().Add(-time.Hour)
	if log := must(c.AccessAuditLogs(ctx, s.AccountID, cf.AccessAuditLogFilterOptions{Direction: "asc", Since: &since, Limit: 10})); len(log) != 2 || !log[0].Allowed || log[1].Allowed || log[0].UserEmail != "a@company.com" {
		t.Errorf("access log %+v", log)
	}
	audit := must(c.GetOrganizationAuditLogs(ctx, s.AccountID, cf.AuditLogFilter{ActorEmail: "a@company.com", PerPage: 10, Page: 1}))
	if len(audit.Result) == 0 || audit.Result[0].Actor.Email != "a@company.com" || audit.Result[0].When.IsZero() {
		t.Errorf("audit log %+v", audit.Result)
	}
}
