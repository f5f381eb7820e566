package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"weft/api"
	"weft/control/controltest"
)

func TestUsers_AreWritten(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const path = "~/access/users"
	made := c.good(t, "POST", path, `{"email":"JDoe@company.com","name":"J. Doe"}`).result
	if made["email"] != "JDoe@company.com" || made["access_seat"] != true || made["active_device_count"] != 0.0 || made["id"] != made["uid"] {
		t.Errorf("made %v", made)
	}
	at := path + "/" + text(made, "id")
	if got := c.good(t, "GET", at, "").result; fmt.Sprint(got) != fmt.Sprint(made) {
		t.Errorf("read %v, made %v", got, made)
	}
	for _, refused := range []struct{ method, path, body string }{
		{"POST", path, `{"email":"jdoe@COMPANY.com"}`},
		{"POST", path, `{"email":"nobody"}`},
		{"POST", path, `{"email":""}`},
		{"POST", path, `{"email":"a@b.c","nam":"x"}`},
		{"POST", path, `{"email":"` + strings.Repeat("x", 260) + `@b.c"}`},
		{"POST", path, `{"email":"a@b.c","name":"` + strings.Repeat("x", 351) + `"}`},
		{"PUT", at, `{"email":"x"}`},
	} {
		if r := c.admin(t, refused.method, refused.path, refused.body); r.status != http.StatusBadRequest {
			t.Errorf("%s %s: %d %s", refused.method, refused.body, r.status, r.raw)
		}
	}
	// The first device is that user's.
	dev := s.Enrol("jdoe@company.com", "laptop")
	got := c.good(t, "GET", at, "").result
	if got["active_device_count"] != 1.0 || got["last_successful_login"] == nil {
		t.Errorf("with a device %v", got)
	}
	if up := c.good(t, "PUT", at, `{"email":"jane@company.com","name":"Jane","access_seat":true}`).result; up["email"] != "jane@company.com" || up["name"] != "Jane" || up["created_at"] != made["created_at"] {
		t.Errorf("updated %v", up)
	}
	c.s.Enrol("other@company.com", "desktop")
	for query, want := range map[string]int{
		"": 2, "?email=JANE@company.com": 1, "?email=jane": 0, "?name=jane": 1, "?search=JAN": 1, "?search=company": 2, "?search=_": 0, "?page=2": 0, "?page=1&per_page=1": 1,
	} {
		if l := c.good(t, "GET", path+query, ""); len(l.list) != want {
			t.Errorf("%q: %s", query, l.raw)
		}
	}
	if r := c.good(t, "DELETE", at, ""); r.result["id"] != made["id"] {
		t.Errorf("deleted %s", r.raw)
	}
	if r := c.do(t, "GET", api.PathAgentSelf, dev.Token, ""); r.status != http.StatusUnauthorized {
		t.Errorf("the device of a deleted user: %d", r.status)
	}
	if l := c.good(t, "GET", path, ""); len(l.list) != 1 {
		t.Errorf("after the deletion %s", l.raw)
	}
	s.Enrol("jane@company.com", "again") // somebody new, as far as anybody can tell
	if l := c.good(t, "GET", path+"?email=jane@company.com", ""); len(l.list) != 1 || l.list[0]["id"] == made["id"] {
		t.Errorf("enrolled again %s", l.raw)
	}
}

func TestUsers_SessionsAndRefusals(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	string1 := s.Enrolment("jdoe@company.com")
	one, err := s.TryEnrol(string1, "laptop")
	if err != nil {
		t.Fatal(err)
	}
	s.Enrol("jdoe@company.com", "desktop")
	user := c.good(t, "GET", "~/access/users?email=jdoe@company.com", "").list[0]
	at := "~/access/users/" + text(user, "id")
	sessions := c.good(t, "GET", at+"/active_sessions", "").list
	if len(sessions) != 2 {
		t.Fatalf("sessions %v", sessions)
	}
	var nonces []string
	for _, x := range sessions {
		nonces = append(nonces, x["name"].(string)+" "+text(x["metadata"].(map[string]any), "nonce"))
	}
	if !strings.Contains(strings.Join(nonces, ","), "laptop "+one.RegistrationID) {
		t.Errorf("sessions %v", nonces)
	}
	session := at + "/active_sessions/" + one.RegistrationID
	if got := c.good(t, "GET", session, "").result; got["device_id"] != one.DeviceID || got["email"] != "jdoe@company.com" || got["isActive"] != true || got["ip"] != "127.0.0.1" {
		t.Errorf("session %v", got)
	}
	if got := c.good(t, "GET", at+"/last_seen_identity", "").result; got["user_uuid"] != user["id"] || got["account_id"] != s.AccountID {
		t.Errorf("identity %v", got)
	}
	c.good(t, "POST", "~/devices/revoke", `["`+one.DeviceID+`"]`)
	if r := c.admin(t, "GET", session, ""); r.status != http.StatusNotFound {
		t.Errorf("a revoked session: %d", r.status)
	}
	if l := c.good(t, "GET", at+"/active_sessions", ""); len(l.list) != 1 {
		t.Errorf("after a revocation %s", l.raw)
	}
	// The string is used up: that is on record. A string that nobody gave out is not.
	if _, err := s.TryEnrol(string1, "thief"); err == nil {
		t.Fatal("an enrolment string was used twice")
	}
	failed := c.good(t, "GET", at+"/failed_logins", "").list
	if len(failed) != 1 || !strings.Contains(fmt.Sprint(failed[0]["metadata"]), "already been used") || failed[0]["expiration"].(float64) < float64(time.Now().Unix()) {
		t.Errorf("failed logins %v", failed)
	}
	empty := c.good(t, "POST", "~/access/users", `{"email":"new@company.com"}`).result
	if r := c.admin(t, "GET", "~/access/users/"+text(empty, "id")+"/last_seen_identity", ""); r.status != http.StatusNotFound {
		t.Errorf("a user who was never seen: %d", r.status)
	}
}

func TestAccessLog_Filters(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const path = "~/access/logs/access_requests"
	start := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	string1 := s.Enrolment("jdoe@company.com")
	if _, err := s.TryEnrol(string1, "laptop"); err != nil {
		t.Fatal(err)
	}
	_, _ = s.TryEnrol(string1, "laptop") // refused
	s.Enrol("other@company.com", "desktop")
	user := text(c.good(t, "GET", "~/access/users?email=jdoe@company.com", "").list[0], "id")
	all := c.good(t, "GET", path, "").list
	if len(all) != 3 || all[0]["user_email"] != "other@company.com" || all[1]["allowed"] != false || all[2]["action"] != "enrol" || all[2]["connection"] != "enrolment_key" || all[1]["ray_id"] == "" {
		t.Fatalf("log %v", all)
	}
	for query, want := range map[string]int{
		"?limit=2": 2, "?limit=2&page=2": 1, "?per_page=1&page=2": 1, "?email=COMPANY": 3, "?email=jdoe": 2, "?email=jdoe&email_exact=true": 0, "?email=JDOE@company.com&email_exact=true": 2,
		"?email=jdoe&emailOp=neq": 1, "?allowed=false": 1, "?allowed=false&allowedOp=neq": 2, "?allowed=true&allowedOp=eq": 2, "?user_id=" + user: 2, "?user_id=" + user + "&user_idOp=neq": 1,
		"?since=" + start: 3, "?until=" + start: 0, "?since=2999-01-01T00:00:00Z": 0, "?app_type=infrastructure": 3, "?app_type=saas": 0, "?app_type=saas&app_typeOp=neq": 3,
		"?country_code=PT": 0, "?country_code=PT&country_codeOp=neq": 3, "?idp=enrolment_key": 3, "?idp=enrolment_key&idpOp=neq": 0, "?non_identity=true": 0, "?non_identity=true&non_identityOp=neq": 3,
		"?ray_id=" + text(all[1], "ray_id"): 1, "?app_uid=x": 0, "?app_uid=x&app_uidOp=neq": 3, "?unknown=1": 3, "?page=9": 0,
	} {
		if l := c.good(t, "GET", path+query, ""); l.list == nil || len(l.list) != want {
			t.Errorf("%q: %d events, want %d: %s", query, len(l.list), want, l.raw)
		}
	}
	if l := c.good(t, "GET", "~/access/logs/access-requests?direction=asc&fields=user_email,allowed", "").list; keys(l[0]) != "allowed user_email" || l[2]["user_email"] != "other@company.com" {
		t.Errorf("oldest first, two fields: %v", l)
	}
	for _, query := range []string{"?since=yesterday", "?limit=x", "?direction=up", "?emailOp=like", "?allowed=maybe", "?fields=password", "?email_exact=x", "?non_identity=x", "?until=1", "?page=0"} {
		if r := c.admin(t, "GET", path+query, ""); r.status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", query, r.status, r.raw)
		}
	}
}
