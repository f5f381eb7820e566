package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"weft/control/controltest"
)

func TestAuditLogs_OlderForm(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	const path = "~/audit_logs"
	g := c.good(t, "POST", "~/access/groups", `{"name":"ops","include":[{"everyone":{}}]}`).result
	at := "~/access/groups/" + text(g, "id")
	c.good(t, "PUT", at, `{"name":"ops-2","include":[{"everyone":{}}]}`)
	c.good(t, "DELETE", at, "")
	s.Enrol("jdoe@company.com", "laptop")
	ours := c.good(t, "GET", path+"?action.type=rule_group.create&action.type=rule_group.update&action.type=rule_group.delete", "").list
	if len(ours) != 3 {
		t.Fatalf("the group's events %v", ours)
	}
	deleted, updated, created := ours[0], ours[1], ours[2]
	if keys(created) != "action actor id interface metadata newValue newValueJson oldValue oldValueJson owner resource when" {
		t.Errorf("keys %s", keys(created))
	}
	name := func(e map[string]any, of string) any { return e[of].(map[string]any)["name"] }
	if name(created, "newValueJson") != "ops" || name(created, "oldValueJson") != nil || name(updated, "oldValueJson") != "ops" || name(updated, "newValueJson") != "ops-2" ||
		name(deleted, "oldValueJson") != "ops-2" || name(deleted, "newValueJson") != nil {
		t.Errorf("created %v, updated %v, deleted %v", created, updated, deleted)
	}
	actor := created["actor"].(map[string]any)
	if actor["type"] != "user" || actor["ip"] != "127.0.0.1" || actor["id"] == "" || created["metadata"].(map[string]any)["actor_name"] != "test" ||
		created["resource"].(map[string]any)["id"] != g["id"] || created["owner"].(map[string]any)["id"] != s.AccountID || created["action"].(map[string]any)["result"] != true {
		t.Errorf("created %v", created)
	}
	now, tomorrow := time.Now().UTC(), time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	count := func(query string) int {
		t.Helper()
		l := c.good(t, "GET", path+query, "")
		if l.env.ResultInfo == nil || l.list == nil {
			t.Fatalf("%q: %s", query, l.raw)
		}
		return l.env.ResultInfo.TotalCount
	}
	all := count("")
	for query, want := range map[string]int{
		"?since=" + now.AddDate(0, 0, -1).Format(time.RFC3339): all, "?since=2001-01-01&before=" + tomorrow: all, "?since=" + tomorrow: 0, "?before=2001-01-01": 0,
		"?id=" + text(created, "id"): 1, "?id=none": 0, "?actor.ip=127.0.0.0%2F8&action.type=rule_group.update": 1, "?actor.ip=127.0.0.1&action.type=rule_group.update": 1, "?actor.ip=10.0.0.0%2F8": 0,
		"?actor.email=JDOE@company.com&action.type=enrol": 1, "?actor.email=other@company.com": 0, "?action.type=device.enrol": 1, "?hide_user_logs=true&action.type=enrol": 0,
		"?zone.name=example.com": 0, "?per_page=1": all, "?action.type=delete": 1,
	} {
		if got := count(query); got != want {
			t.Errorf("%q: %d events, want %d", query, got, want)
		}
	}
	if l := c.good(t, "GET", path+"?direction=asc&action.type=rule_group.update&action.type=rule_group.create", "").list; l[0]["id"] != created["id"] {
		t.Errorf("oldest first %v", l)
	}
	if l := c.good(t, "GET", path+"?per_page=2&page=2&action.type=rule_group.update&action.type=rule_group.create&action.type=rule_group.delete", "").list; len(l) != 1 || l[0]["id"] != created["id"] {
		t.Errorf("second page %v", l)
	}
	for _, query := range []string{"?since=soon", "?direction=x", "?actor.ip=x", "?actor.ip=10.0.0.0%2F99", "?export=true", "?hide_user_logs=x", "?per_page=0"} {
		if r := c.admin(t, "GET", path+query, ""); r.status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", query, r.status, r.raw)
		}
	}
}

func TestAuditLogs_NewerForm(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	g := c.good(t, "POST", "~/access/groups", `{"name":"ops","include":[{"everyone":{}}]}`).result
	at := "~/access/groups/" + text(g, "id")
	c.good(t, "PUT", at, `{"name":"ops-2","include":[{"everyone":{}}]}`)
	c.good(t, "DELETE", at, "")
	s.Enrol("jdoe@company.com", "laptop")
	path := "~/logs/audit?since=2001-01-01&before=" + time.Now().UTC().AddDate(0, 0, 2).Format(time.DateOnly)
	ours := c.good(t, "GET", path+"&resource_type=rule_groups", "").list
	if len(ours) != 3 {
		t.Fatalf("the group's events %v", ours)
	}
	created := ours[2]
	action, actor := created["action"].(map[string]any), created["actor"].(map[string]any)
	if keys(created) != "account action actor id resource" || action["type"] != "create" || action["description"] != "rule_group.create" || action["result"] != "success" ||
		actor["context"] != "api_token" || actor["token_name"] != "test" || actor["ip_address"] != "127.0.0.1" || created["account"].(map[string]any)["id"] != s.AccountID {
		t.Errorf("created %v", created)
	}
	// Every page of one, until the cursor ends.
	var ids []string
	for cursor := ""; ; {
		r := c.good(t, "GET", path+"&resource_type=rule_groups&limit=1&cursor="+cursor, "")
		for _, e := range r.list {
			ids = append(ids, text(e, "id"))
		}
		_, rest, _ := strings.Cut(string(r.raw), `"cursor":"`)
		if cursor, _, _ = strings.Cut(rest, `"`); cursor == "" || len(ids) > 3 {
			break
		}
	}
	if want := fmt.Sprint(text(ours[0], "id"), " ", text(ours[1], "id"), " ", text(created, "id")); strings.Join(ids, " ") != want {
		t.Errorf("by the cursor %v, want %s", ids, want)
	}
	all := len(c.good(t, "GET", path+"&limit=1000", "").list)
	n := func(query string) int { t.Helper(); return len(c.good(t, "GET", path+"&limit=1000"+query, "").list) }
	enrolments := n("&actor_email=jdoe@company.com")
	if enrolments == 0 {
		t.Error("nothing by the new user")
	}
	const ofGroups = "&resource_type=rule_groups"
	for query, want := range map[string]int{
		ofGroups + "&action_type=create": 1, ofGroups + "&action_type=update": 1, ofGroups + "&action_type.not=update": 2, ofGroups + "&action_type=create&action_type=delete": 2,
		ofGroups + "&action_type=update&action_type=delete": 2, ofGroups + "&action_type=view": 0, ofGroups + "&actor_type=user": 3, ofGroups + "&actor_type=system": 0, ofGroups + "&actor_type.not=system": 3,
		ofGroups + "&actor_context=api_token": 3, ofGroups + "&actor_context=dash": 0, ofGroups + "&actor_token_name=test": 3, ofGroups + "&actor_token_name=x": 0,
		ofGroups + "&actor_token_id=" + text(actor, "id"): 3, ofGroups + "&actor_id.not=" + text(actor, "id"): 0, ofGroups + "&actor_ip_address=127.0.0.1": 3,
		"&resource_id=" + text(g, "id"): 3, "&resource_type.not=rule_groups": all - 3, "&id=" + text(created, "id"): 1, "&id.not=" + text(created, "id"): all - 1,
		"&actor_email.not=jdoe@company.com": all - enrolments, "&zone_name=x": 0, "&action_result=failure": 0, "&action_result.not=success": 0, "&account_name=weft": all, "&resource_product=zero_trust": all,
		"&raw_method=GET": 0, "&resource_scope=zones": 0, "&audit_log_id=" + text(created, "id"): 1,
	} {
		if got := n(query); got != want {
			t.Errorf("%q: %d events, want %d", query, got, want)
		}
	}
	if l := c.good(t, "GET", path+ofGroups+"&direction=asc", "").list; l[0]["id"] != created["id"] {
		t.Errorf("oldest first %v", l)
	}
	for _, query := range []string{"~/logs/audit?since=soon", path + "&action_type=x", path + "&actor_type=x", path + "&limit=0", path + "&direction=x"} {
		if r := c.admin(t, "GET", query, ""); r.status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", query, r.status, r.raw)
		}
	}
}
