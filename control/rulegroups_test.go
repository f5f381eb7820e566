package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"weft/api"
	"weft/control/controltest"
)

func TestRuleGroups_AsClientsUseThem(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	const path = "~/access/groups"
	made := c.good(t, "POST", path, `{"name":"ops","include":[{"email":{"email":"JDoe@company.com"}},{"email_domain":{"domain":"company.com"}}],"exclude":null,"require":[]}`).result
	if keys(made) != "created_at exclude id include name require updated_at" || !strings.Contains(fmt.Sprint(made), "JDoe@company.com") {
		t.Errorf("made %v", made)
	}
	at := fmt.Sprintf("%s/%s", path, made["id"])
	changed := c.good(t, "PUT", at, `{"name":"ops","include":[{"everyone":{}}]}`).result
	if changed["created_at"] != made["created_at"] || len(changed["include"].([]any)) != 1 {
		t.Errorf("changed %v", changed)
	}
	if l := c.good(t, "GET", path+"?page=1&per_page=25&name=ops", ""); len(l.list) != 1 || l.env.ResultInfo.TotalPages != 1 {
		t.Errorf("list %s", l.raw)
	}
	if l := c.good(t, "GET", path+"?name=op", ""); l.list == nil || len(l.list) != 0 {
		t.Errorf("list by another name %s", l.raw)
	}
	if l := c.good(t, "GET", path+"?search=OP", ""); len(l.list) != 1 {
		t.Errorf("search %s", l.raw)
	}
	for _, body := range []string{
		`{"name":"x","include":[]}`, `{"name":"","include":[{"everyone":{}}]}`, `{"name":"x","include":[{"everyone":{}}],"is_default":true}`,
		`{"name":"x","include":[{"group":{"id":"gone"}}]}`, `{"name":"x","include":[{"nonsense":{}}]}`, `{"name":"x","include":[{"everyone":{}}],"exclud":[]}`,
	} {
		if r := c.admin(t, "POST", path, body); r.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, r.status, r.raw)
		}
	}
	c.good(t, "DELETE", at, "")
	if r := c.admin(t, "GET", at, ""); r.status != http.StatusNotFound {
		t.Errorf("deleted: %d", r.status)
	}
}

// A change of a group changes who reaches what, at once.
func TestSync_RuleGroups(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	group := c.good(t, "POST", "~/access/groups", `{"name":"ops","include":[{"email":{"email":"other@company.com"}}]}`).result["id"]
	s.Target("db-1", "10.0.0.9", s.DefaultVNET())
	c.good(t, "POST", "~/access/apps", fmt.Sprintf(`{"name":"db","type":"infrastructure","target_criteria":[{"target_attributes":{"hostname":["db-1"]},"port":5432,"protocol":"POSTGRES"}],`+
		`"policies":[{"name":"p","decision":"allow","include":[{"group":{"id":"%s"}}]}]}`, group))
	dev := s.Enrol("jdoe@company.com", "laptop")
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync)
	gateway := watch[api.GatewayState](t, s.ClientWith(api.Secret(s.Gateway("gw").Token)), api.PathGatewaySync)
	agent.until(t, "a list without it", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
	gateway.until(t, "the group", func(g *api.GatewayState) bool { return len(g.Groups) == 1 })
	c.good(t, "PUT", fmt.Sprintf("~/access/groups/%s", group), `{"name":"ops","include":[{"email":{"email":"jdoe@company.com"}}]}`)
	agent.until(t, "the target", func(a *api.AgentState) bool { return len(a.Entries) == 1 })
	c.good(t, "PUT", fmt.Sprintf("~/access/groups/%s", group), `{"name":"ops","include":[{"email_domain":{"domain":"company.com"}}],"exclude":[{"email":{"email":"jdoe@company.com"}}]}`)
	agent.until(t, "it to go", func(a *api.AgentState) bool { return len(a.Entries) == 0 })
}
