package sdk_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	cf "github.com/cloudflare/cloudflare-go/v6"
	"github.com/cloudflare/cloudflare-go/v6/accounts"
	"github.com/cloudflare/cloudflare-go/v6/audit_logs"
	"github.com/cloudflare/cloudflare-go/v6/memberships"
	"github.com/cloudflare/cloudflare-go/v6/shared"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/api"
	"weft/control/controltest"
	"weft/vnet"
)

// accessEvents makes an access log: a user enrols, by a string that cannot be used again, and logs in as root, but not as
// admin; another user enrols too. It returns the application.
func accessEvents(t *testing.T, s *controltest.Server) (app string) {
	t.Helper()
	s.Target("web-1", "10.0.0.9", s.DefaultVNET())
	app = s.App("ssh", "web-1", "SSH", 22, "a@b.c", "root").ID
	s.Call(http.MethodPost, s.Account("/access/gateway_ca"), nil, nil)
	gateway := s.ClientWith(api.Secret(s.Gateway("gw").Token))
	enrolment := s.Enrolment("a@b.c")
	dev := must(s.TryEnrol(enrolment, "laptop"))
	if _, err := s.TryEnrol(enrolment, "laptop"); err == nil {
		t.Fatal("an enrolment string was used twice")
	}
	for _, as := range []string{"root", "admin"} {
		err := gateway.Do(t.Context(), http.MethodPost, api.PathGatewayCertificate, api.CertificateRequest{
			PublicKey: sshKey(), SessionID: "s", DeviceID: dev.DeviceID, VNET: vnet.ID(s.DefaultVNET()), Destination: netip.MustParseAddrPort("10.0.0.9:22"), Login: as,
		}, nil)
		if (err == nil) != (as == "root") {
			t.Fatalf("login as %s: %v", as, err)
		}
	}
	s.Enrol("b@b.c", "desktop")
	return app
}

// sshKey is an authorized_keys line with 32 random bytes for a key of Ed25519 (RFC 8709, section 4).
func sshKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	var blob []byte
	for _, part := range [][]byte{[]byte("ssh-ed25519"), key} {
		blob = append(binary.BigEndian.AppendUint32(blob, uint32(len(part))), part...)
	}
	return "ssh-ed25519 " + base64.StdEncoding.EncodeToString(blob)
}

func TestV6_AccessLogFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).ZeroTrust.Access
	app := accessEvents(t, s)
	type P = zt.AccessLogAccessRequestListParams
	ray := ""
	list := func(p P, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.Logs.AccessRequests.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		return keys(*l, nil, func(e zt.AccessRequest) string {
			if e.UserEmail == "b@b.c" && e.RayID != "" {
				ray = e.RayID
			}
			if e.Allowed {
				return e.Action + "+" + e.UserEmail
			}
			return e.Action + "-" + e.UserEmail
		})
	}
	const everything = "enrol+b@b.c login-a@b.c login+a@b.c enrol-a@b.c enrol+a@b.c"
	effects(t, list, row[P]{what: "none", want: everything})
	users := all(t, c.Users.ListAutoPaging(t.Context(), zt.AccessUserListParams{AccountID: account, Email: cf.F("b@b.c")}))
	effects(t, list,
		row[P]{what: "oldest first", params: P{Direction: cf.F(zt.AccessLogAccessRequestListParamsDirectionAsc)}, want: "enrol+a@b.c enrol-a@b.c login+a@b.c login-a@b.c enrol+b@b.c"},
		row[P]{what: "part of the email address", params: P{Email: cf.F("B@")}, want: "enrol+b@b.c"},
		row[P]{what: "not a part of it", params: P{Email: cf.F("a@"), EmailOp: cf.F(zt.AccessLogAccessRequestListParamsEmailOpNeq)}, want: "enrol+b@b.c"},
		row[P]{what: "all of the email address", params: P{Email: cf.F("b@"), EmailExact: cf.F(true)}, want: ""},
		row[P]{what: "user", params: P{UserID: cf.F(users[0].ID)}, want: "enrol+b@b.c"},
		row[P]{what: "another user", params: P{UserID: cf.F(users[0].ID), UserIDOp: cf.F(zt.AccessLogAccessRequestListParamsUserIDOpNeq)}, want: "login-a@b.c login+a@b.c enrol-a@b.c enrol+a@b.c"},
		row[P]{what: "since", params: P{Since: cf.F(future)}, want: ""},
		row[P]{what: "until", params: P{Until: cf.F(past)}, want: ""},
		row[P]{what: "some", params: P{Limit: cf.F(int64(1))}, want: "enrol+b@b.c"},
		row[P]{what: "the second page", params: P{PerPage: cf.F(int64(3)), Page: cf.F(int64(2))}, want: "enrol-a@b.c enrol+a@b.c"},
		row[P]{what: "one field", params: P{Fields: cf.F("user_email"), Limit: cf.F(int64(1))}, want: "-b@b.c"},
	)
	// The SDK has the operators of these, and not their values.
	effects(t, list,
		row[P]{what: "refused", also: with{query("allowed", "false")}, want: "login-a@b.c enrol-a@b.c"},
		row[P]{what: "not refused", also: with{query("allowed", "false")}, params: P{AllowedOp: cf.F(zt.AccessLogAccessRequestListParamsAllowedOpNeq)}, want: "enrol+b@b.c login+a@b.c enrol+a@b.c"},
		row[P]{what: "application", also: with{query("app_uid", app)}, want: "login-a@b.c login+a@b.c"},
		row[P]{what: "another application", also: with{query("app_uid", app)}, params: P{AppUIDOp: cf.F(zt.AccessLogAccessRequestListParamsAppUIDOpNeq)}, want: "enrol+b@b.c enrol-a@b.c enrol+a@b.c"},
		row[P]{what: "type of application", also: with{query("app_type", "infrastructure")}, want: everything},
		row[P]{what: "another type of application", also: with{query("app_type", "infrastructure")}, params: P{AppTypeOp: cf.F(zt.AccessLogAccessRequestListParamsAppTypeOpNeq)}, want: ""},
		row[P]{what: "country", also: with{query("country_code", "DE")}, want: ""},
		row[P]{what: "another country", also: with{query("country_code", "DE")}, params: P{CountryCodeOp: cf.F(zt.AccessLogAccessRequestListParamsCountryCodeOpNeq)}, want: everything},
		row[P]{what: "what vouched", also: with{query("idp", "device")}, want: "login-a@b.c login+a@b.c"},
		row[P]{what: "what else vouched", also: with{query("idp", "device")}, params: P{IdPOp: cf.F(zt.AccessLogAccessRequestListParamsIdPOpNeq)}, want: "enrol+b@b.c enrol-a@b.c enrol+a@b.c"},
		row[P]{what: "service tokens", also: with{query("non_identity", "true")}, want: ""},
		row[P]{what: "no service tokens", also: with{query("non_identity", "true")}, params: P{NonIdentityOp: cf.F(zt.AccessLogAccessRequestListParamsNonIdentityOpNeq)}, want: everything},
		row[P]{what: "request", also: with{query("ray_id", ray)}, want: "enrol+b@b.c"},
		row[P]{what: "another request", also: with{query("ray_id", ray)}, params: P{RayIDOp: cf.F(zt.AccessLogAccessRequestListParamsRayIDOpNeq)}, want: "login-a@b.c login+a@b.c enrol-a@b.c enrol+a@b.c"},
	)
}

// changes makes an audit log behind what a new account begins with: a network comes and goes, two users enrol.
func changes(t *testing.T, s *controltest.Server) {
	t.Helper()
	id := s.VNET("staging")
	s.Call(http.MethodDelete, s.Account("/teamnet/virtual_networks/"+id), nil, nil)
	s.Enrol("a@b.c", "laptop")
	s.Enrol("b@b.c", "desktop")
}

// lastChanges are those events, the newest first.
const lastChanges = "device.enrol user.create enrolment_key.create device.enrol user.create enrolment_key.create virtual_network.delete virtual_network.create"

// firstChanges are what the log of a new account begins with. On PostgreSQL its control planes share a secret.
func firstChanges() string {
	if os.Getenv("WEFT_TEST_DATABASE") == "postgres" {
		return "token.create shared_secret.create virtual_network.create"
	}
	return "token.create virtual_network.create"
}

func everyChange() string { return lastChanges + " " + firstChanges() }

func TestV6_AuditLogFilters(t *testing.T) {
	s := controltest.New(t)
	account := cf.F(s.AccountID)
	c := v6(t, s).AuditLogs
	changes(t, s)
	type P = audit_logs.AuditLogListParams
	deleted := ""
	list := func(p P, also with) ([]string, error) {
		p.AccountID = account
		l, err := c.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(e shared.AuditLog) string {
			if e.Action.Type == "virtual_network.delete" {
				deleted = e.ID
			}
			return e.Action.Type
		})
	}
	effects(t, list, row[P]{what: "none", want: everyChange()})
	effects(t, list,
		row[P]{what: "ID", params: P{ID: cf.F(deleted)}, want: "virtual_network.delete"},
		row[P]{what: "action", params: P{Action: cf.F(audit_logs.AuditLogListParamsAction{Type: cf.F("device.enrol")})}, want: "device.enrol device.enrol"},
		row[P]{what: "actor", params: P{Actor: cf.F(audit_logs.AuditLogListParamsActor{Email: cf.F("b@b.c")})}, want: "device.enrol user.create"},
		row[P]{what: "address", params: P{Actor: cf.F(audit_logs.AuditLogListParamsActor{IP: cf.F("192.0.2.1")})}, want: ""},
		row[P]{what: "before", params: P{Before: cf.F[audit_logs.AuditLogListParamsBeforeUnion](shared.UnionTime(past))}, want: ""},
		row[P]{what: "since", params: P{Since: cf.F[audit_logs.AuditLogListParamsSinceUnion](shared.UnionTime(future))}, want: ""},
		row[P]{what: "oldest first", params: P{Direction: cf.F(audit_logs.AuditLogListParamsDirectionAsc), PerPage: cf.F(1.0)}, want: "virtual_network.create"},
		row[P]{what: "the second page", params: P{PerPage: cf.F(2.0), Page: cf.F(2.0)}, want: "enrolment_key.create device.enrol"},
		row[P]{what: "without users", params: P{HideUserLogs: cf.F(true)}, want: "enrolment_key.create enrolment_key.create virtual_network.delete virtual_network.create " + firstChanges()},
		row[P]{what: "zone", params: P{Zone: cf.F(audit_logs.AuditLogListParamsZone{Name: cf.F("example.com")})}, want: ""},
	)
	_, err := list(P{Export: cf.F(true)}, nil)
	status(t, "as CSV", err, http.StatusBadRequest)
	proved[P](t, "Export")
}

func TestV6_NewerAuditLogFilters(t *testing.T) {
	s := controltest.New(t)
	c := v6(t, s).Accounts
	changes(t, s)
	type P = accounts.LogAuditListParams
	var ids, resources, actors []string
	cursor := ""
	list := func(p P, also with) ([]string, error) {
		p.AccountID = cf.F(s.AccountID)
		if !p.Since.Present {
			p.Since = cf.F(past)
		}
		if !p.Before.Present {
			p.Before = cf.F(future)
		}
		l, err := c.Logs.Audit.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		cursor, ids, resources, actors = l.ResultInfo.Cursors.After, nil, nil, nil
		return keys(l.Result, nil, func(e accounts.LogAuditListResponse) string {
			ids, resources, actors = append(ids, e.ID), append(resources, e.Resource.ID), append(actors, e.Actor.ID)
			return e.Action.Description
		})
	}
	effects(t, list, row[P]{what: "none", want: everyChange()})
	first, made, enrolled := ids[len(ids)-1], resources[len(ids)-1], actors[0]
	const ofUsers = "device.enrol user.create device.enrol user.create"
	ofNoToken := ofUsers + " " + firstChanges()
	butTheFirst := strings.TrimSuffix(everyChange(), " virtual_network.create")
	butTheLast := strings.TrimPrefix(everyChange(), "device.enrol user.create ")
	admin := ""
	for i, id := range actors {
		if resources[i] != "" && i == 2 { // an enrolment key was made by the API token
			admin = id
		}
	}
	effects(t, list,
		row[P]{what: "since", params: P{Since: cf.F(future)}, want: ""},
		row[P]{what: "before", params: P{Before: cf.F(past)}, want: ""},
		row[P]{what: "not an event", params: P{ID: cf.F(accounts.LogAuditListParamsID{Not: cf.F([]string{first})})}, want: butTheFirst},
		row[P]{what: "not an event, as it is called elsewhere", params: P{AuditLogID: cf.F(accounts.LogAuditListParamsAuditLogID{Not: cf.F([]string{first})})}, want: butTheFirst},
		row[P]{what: "not the account", params: P{AccountName: cf.F(accounts.LogAuditListParamsAccountName{Not: cf.F([]string{"weft"})})}, want: ""},
		row[P]{what: "not success", params: P{ActionResult: cf.F(accounts.LogAuditListParamsActionResult{Not: cf.F([]accounts.LogAuditListParamsActionResultNot{accounts.LogAuditListParamsActionResultNotSuccess})})}, want: ""},
		row[P]{what: "nothing made", params: P{ActionType: cf.F(accounts.LogAuditListParamsActionType{Not: cf.F([]accounts.LogAuditListParamsActionTypeNot{accounts.LogAuditListParamsActionTypeNotCreate})})}, want: "virtual_network.delete"},
		row[P]{what: "not by API tokens", params: P{ActorContext: cf.F(accounts.LogAuditListParamsActorContext{Not: cf.F([]accounts.LogAuditListParamsActorContextNot{accounts.LogAuditListParamsActorContextNotAPIToken})})}, want: ofNoToken},
		row[P]{what: "not by a user", params: P{ActorEmail: cf.F(accounts.LogAuditListParamsActorEmail{Not: cf.F([]string{"b@b.c"})})}, want: butTheLast},
		row[P]{what: "not by an actor", params: P{ActorID: cf.F(accounts.LogAuditListParamsActorID{Not: cf.F([]string{enrolled})})}, want: butTheLast},
		row[P]{what: "not from an address", params: P{ActorIPAddress: cf.F(accounts.LogAuditListParamsActorIPAddress{Not: cf.F([]string{"127.0.0.1"})})}, want: firstChanges()},
		row[P]{what: "not by a token", params: P{ActorTokenID: cf.F(accounts.LogAuditListParamsActorTokenID{Not: cf.F([]string{admin})})}, want: ofNoToken},
		row[P]{what: "not by a token's name", params: P{ActorTokenName: cf.F(accounts.LogAuditListParamsActorTokenName{Not: cf.F([]string{"test"})})}, want: ofNoToken},
		row[P]{what: "not by the system", params: P{ActorType: cf.F(accounts.LogAuditListParamsActorType{Not: cf.F([]accounts.LogAuditListParamsActorTypeNot{accounts.LogAuditListParamsActorTypeNotSystem})})}, want: lastChanges},
		row[P]{what: "not of an object", params: P{ResourceID: cf.F(accounts.LogAuditListParamsResourceID{Not: cf.F([]string{made})})}, want: butTheFirst},
		row[P]{what: "not of the product", params: P{ResourceProduct: cf.F(accounts.LogAuditListParamsResourceProduct{Not: cf.F([]string{"zero_trust"})})}, want: ""},
		row[P]{what: "not of the account's objects", params: P{ResourceScope: cf.F(accounts.LogAuditListParamsResourceScope{Not: cf.F([]accounts.LogAuditListParamsResourceScopeNot{accounts.LogAuditListParamsResourceScopeNotAccounts})})}, want: ""},
		row[P]{what: "not of a type", params: P{ResourceType: cf.F(accounts.LogAuditListParamsResourceType{Not: cf.F([]string{"networks"})})}, want: strings.ReplaceAll(strings.ReplaceAll(everyChange(), " virtual_network.delete", ""), " virtual_network.create", "")},
		row[P]{what: "oldest first", params: P{Direction: cf.F(accounts.LogAuditListParamsDirectionAsc), Limit: cf.F(1.0)}, want: "virtual_network.create"},
	)
	if _, err := list(P{Limit: cf.F(2.0)}, nil); err != nil || cursor == "" {
		t.Fatalf("cursor %q, %v", cursor, err)
	}
	effects(t, list, row[P]{what: "what follows", params: P{Cursor: cf.F(cursor), Limit: cf.F(2.0)}, want: "enrolment_key.create device.enrol"})
}

// There is one account, and a token has one membership in it.
func TestV6_AccountFilters(t *testing.T) {
	s := controltest.New(t)
	c := v6(t, s)
	type A = accounts.AccountListParams
	effects(t, func(p A, also with) ([]string, error) {
		l, err := c.Accounts.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(a accounts.Account) string { return a.Name })
	},
		row[A]{what: "none", want: "weft"},
		row[A]{what: "name", params: A{Name: cf.F("another")}, want: ""},
		row[A]{what: "the second page", params: A{Page: cf.F(2.0)}, want: ""},
	)
	type M = memberships.MembershipListParams
	effects(t, func(p M, also with) ([]string, error) {
		l, err := c.Memberships.List(t.Context(), p, also...)
		if err != nil {
			return nil, err
		}
		return keys(l.Result, nil, func(m memberships.Membership) string { return m.Account.Name })
	},
		row[M]{what: "none", want: "weft"},
		row[M]{what: "name", params: M{Name: cf.F("another")}, want: ""},
		row[M]{what: "the account's name", params: M{Account: cf.F(memberships.MembershipListParamsAccount{Name: cf.F("another")})}, want: ""},
		row[M]{what: "status", params: M{Status: cf.F(memberships.MembershipListParamsStatusPending)}, want: ""},
		row[M]{what: "the second page", params: M{Page: cf.F(2.0)}, want: ""},
	)
}
