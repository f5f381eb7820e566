package control_test

import (
	"fmt"
	"strings"
	"testing"

	"weft/api"
	"weft/control/controltest"
)

func TestApplications_SelectByIncludeRequireAndExclude(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	for i, tags := range []string{`"env":"prod","site":"lis"`, `"env":"prod","site":"opo"`, `"env":"stage"`, `"env":"prod","site":"lis","frozen":"yes"`} {
		c.good(t, "POST", "~/infrastructure/targets", fmt.Sprintf(`{"hostname":"t%d","tags":{%s},"ip":{"ipv4":{"ip_addr":"10.0.0.%d"}}}`, i, tags, i+1))
	}
	const criteria = `[{"include":[{"tags":{"env":["prod","stage"]}},{"target_attributes":{"hostname":["nobody"]},"tags":{"env":["x"]}}],"require":[{"tags":{"site":["lis"]}}],"exclude":[{"tags":{"frozen":["yes"]}}],"port":22,"protocol":"SSH"},` +
		`{"include":[{"target_attributes":{"hostname":["T1"]}}],"require":[],"port":22,"protocol":"SSH"}]`
	body := func(criteria string) string {
		return `{"name":"servers","type":"infrastructure","target_criteria":` + criteria + `,"policies":[{"name":"p","decision":"allow","include":[{"everyone":{}}],"connection_rules":{"ssh":{"usernames":["root"]}}}]}`
	}
	made := c.good(t, "POST", "~/access/apps", body(criteria))
	at := fmt.Sprintf("~/access/apps/%s", made.result["id"])
	for _, r := range []reply{made, c.good(t, "GET", at, ""), c.good(t, "PUT", at, body(criteria))} {
		if !strings.Contains(string(r.raw), `"target_criteria":`+criteria+`,`) {
			t.Errorf("not as it was sent: %s", r.raw)
		}
	}
	dev := s.Enrol("jdoe@company.com", "laptop")
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync)
	agent.until(t, "the targets", func(a *api.AgentState) bool {
		var hosts []string
		for _, e := range a.Entries {
			hosts = append(hosts, e.Hostname)
		}
		return len(hosts) == 2 && strings.Contains(strings.Join(hosts, " "), "t0") && strings.Contains(strings.Join(hosts, " "), "t1")
	})
	for _, query := range []string{"target_attributes=env=stage", "target_attributes=hostname=t1", "target_attributes=site=LIS"} {
		if r := c.good(t, "GET", "~/access/apps?"+query, ""); len(r.list) != 1 {
			t.Errorf("%s: %s", query, r.raw)
		}
	}
	if r := c.good(t, "GET", "~/access/apps?target_attributes=frozen=yes", ""); len(r.list) != 0 {
		t.Errorf("what is excluded is found: %s", r.raw)
	}
	for _, tc := range []struct{ name, criteria, pointer string }{
		{"both forms", `[{"target_attributes":{"hostname":["a"]},"include":[{"tags":{"a":["b"]}}],"port":22,"protocol":"SSH"}]`, "/target_criteria/0/target_attributes"},
		{"nothing included", `[{"exclude":[{"tags":{"a":["b"]}}],"port":22,"protocol":"SSH"}]`, "/target_criteria/0/include"},
		{"an empty entry", `[{"include":[{}],"port":22,"protocol":"SSH"}]`, "/target_criteria/0/include/0"},
		{"a key twice", `[{"include":[{"target_attributes":{"env":["a"]},"tags":{"env":["b"]}}],"port":22,"protocol":"SSH"}]`, "/target_criteria/0/include/0/tags"},
		{"a hostname among the tags", `[{"include":[{"tags":{"hostname":["b"]}}],"port":22,"protocol":"SSH"}]`, "/target_criteria/0/include/0/tags"},
		{"a hostname that is none", `[{"include":[{"target_attributes":{"hostname":["-"]}}],"port":22,"protocol":"SSH"}]`, "/target_criteria/0/include/0/target_attributes/hostname/0"},
		{"an unknown key", `[{"include":[{"tag":{"a":["b"]}}],"port":22,"protocol":"SSH"}]`, "/target_criteria/0/include/0/tag"},
		{"no values", `[{"include":[{"tags":{"a":["b"]}}],"exclude":[{"tags":{"a":[]}}],"port":22,"protocol":"SSH"}]`, "/target_criteria/0/exclude/0/target_attributes/a"},
	} {
		r := c.admin(t, "PUT", at, body(tc.criteria))
		if r.status != 400 || r.env.Errors[0].Source == nil || r.env.Errors[0].Source.Pointer != tc.pointer {
			t.Errorf("%s: %d %s", tc.name, r.status, r.raw)
		}
	}
}

func TestTargets_Tags(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	var ids []string
	for i, tags := range []string{`{"env":"prod","owner":"b:c"}`, `{"env":"Prod"}`, `{"env":"dev","owner":"a"}`, `{}`} {
		r := c.good(t, "POST", "~/infrastructure/targets", fmt.Sprintf(`{"hostname":"t%d","tags":%s,"ip":{"ipv4":{"ip_addr":"10.0.0.%d"}}}`, i, tags, i+1)).result
		ids = append(ids, r["id"].(string))
		if i < 3 && r["tags"] == nil {
			t.Errorf("%v", r)
		}
	}
	list := func(query string) string {
		var out []string
		for _, x := range c.good(t, "GET", "~/infrastructure/targets?"+query, "").list {
			out = append(out, fmt.Sprint(x["hostname"]))
		}
		return strings.Join(out, " ")
	}
	for _, tc := range []struct{ query, want string }{
		{"tag=env:prod", "t0"},
		{"tags=env:prod", "t0"},
		{"tag=env:Prod", "t1"},
		{"tag=env:prod&tag=owner:b:c", "t0"},
		{"tag=env:dev&tag=owner:b:c", ""},
		{"tag=owner:%25", ""},
		{"order=tag:env", "t1 t2 t0 t3"},
		{"order=tag:env&direction=desc", "t0 t2 t1 t3"},
		{"order=tag:owner", "t2 t0 t1 t3"},
		{"order=tag:owner&tag=env:prod", "t0"},
		{"order=tag:nobody&direction=desc", "t3 t2 t1 t0"},
		{"order=tag:env&per_page=2&page=2", "t0 t3"},
	} {
		if got := list(tc.query); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.query, got, tc.want)
		}
	}
	for _, query := range []string{"order=tag:", "order=tag", "tag=env"} {
		if r := c.admin(t, "GET", "~/infrastructure/targets?"+query, ""); r.status != 400 {
			t.Errorf("%s: %s", query, r.raw)
		}
	}
	c.good(t, "PUT", "~/infrastructure/targets/"+ids[0], `{"hostname":"t0","tags":{"env":"dev"},"ip":{"ipv4":{"ip_addr":"10.0.0.1"}}}`)
	if got := list("tag=env:dev"); got != "t0 t2" {
		t.Errorf("after a change: %q", got)
	}
	c.good(t, "DELETE", "~/infrastructure/targets/"+ids[2], "")
	if got := list("tag=env:dev"); got != "t0" {
		t.Errorf("after a deletion: %q", got)
	}
}
