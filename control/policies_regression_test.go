package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"weft/control/controltest"
)

// sentPolicy is a policy as a body has it; more is put before its rules.
func sentPolicy(name, more string) string {
	return fmt.Sprintf(`{"name":%q,"decision":"allow",%s"include":[{"email":{"email":"a@b.c"}}],"connection_rules":{"ssh":{"usernames":["root"]}}}`, name, more)
}

func sentApplication(policies ...string) string {
	return `{"name":"app","type":"infrastructure","target_criteria":[{"target_attributes":{"hostname":["web"]},"port":22,"protocol":"SSH"}],"policies":[` +
		strings.Join(policies, ",") + `]}`
}

// policiesOf are the policies of an answer: their IDs by name, and "name precedence" in order.
func policiesOf(t *testing.T, app map[string]any) (ids map[string]string, order []string) {
	t.Helper()
	ids = map[string]string{}
	list, _ := app["policies"].([]any)
	for _, p := range list {
		p, _ := p.(map[string]any)
		name, _ := p["name"].(string)
		ids[name], _ = p["id"].(string)
		order = append(order, fmt.Sprintf("%s %v", name, p["precedence"]))
	}
	return ids, order
}

// A policy that is put before others that are named by their IDs took the first one's identity, and the whole change was
// refused with an error about a name that was there.
func TestEmbeddedPolicies_NewOneBeforeNamedOnes_regression(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	app := c.good(t, http.MethodPost, "~/access/apps", sentApplication(sentPolicy("a", ""), sentPolicy("b", ""))).result
	before, _ := policiesOf(t, app)
	at := fmt.Sprintf("~/access/apps/%s", app["id"])
	r := c.good(t, http.MethodPut, at, sentApplication(sentPolicy("new", ""), `{"id":"`+before["a"]+`"}`, `"`+before["b"]+`"`))
	after, order := policiesOf(t, r.result)
	if after["a"] != before["a"] || after["b"] != before["b"] || after["new"] == before["a"] {
		t.Errorf("the identities were %v and are %v", before, after)
	}
	if got := strings.Join(order, ", "); got != "new 1, a 2, b 3" {
		t.Errorf("the order is %s", got)
	}
	// Whole ones that name themselves keep their identity too, wherever they stand.
	r = c.good(t, http.MethodPut, at, sentApplication(sentPolicy("newer", ""), sentPolicy("b", `"id":"`+before["b"]+`",`)))
	if again, _ := policiesOf(t, r.result); again["b"] != before["b"] {
		t.Errorf("policy b had the ID %s and has %s", before["b"], again["b"])
	}
}

// What stands beside the ID of a policy was dropped without a word: whoever excluded somebody was told that it had worked.
func TestEmbeddedPolicies_ContentBesideAnID_regression(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	app := c.good(t, http.MethodPost, "~/access/apps", sentApplication(sentPolicy("a", ""))).result
	ids, _ := policiesOf(t, app)
	for _, more := range []string{
		`"exclude":[{"email":{"email":"a@b.c"}}]`, `"require":[{"email":{"email":"a@b.c"}}]`, `"connection_rules":{"ssh":{"usernames":[]}}`,
	} {
		r := c.admin(t, http.MethodPut, fmt.Sprintf("~/access/apps/%s", app["id"]), sentApplication(`{"id":"`+ids["a"]+`",`+more+`}`))
		if r.status != http.StatusBadRequest || !strings.HasPrefix(pointerOf(r), "/policies/0/") {
			t.Errorf("%s: status %d: %s", more, r.status, r.raw)
		}
	}
}

func pointerOf(r reply) string {
	if len(r.env.Errors) == 0 || r.env.Errors[0].Source == nil {
		return ""
	}
	return r.env.Errors[0].Source.Pointer
}

// Errors pointed into the list as it was sorted by precedence, which is not the one that was sent; a precedence that a
// database does not hold was an internal error on one engine, and made the next policy the first on the other.
func TestEmbeddedPolicies_Pointers_regression(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	app := c.good(t, http.MethodPost, "~/access/apps", sentApplication(sentPolicy("a", ""), sentPolicy("b", ""))).result
	ids, _ := policiesOf(t, app)
	at := fmt.Sprintf("~/access/apps/%s", app["id"])
	for _, tc := range []struct{ name, path, body, pointer string }{
		{"no name", "", sentApplication(sentPolicy("", `"precedence":5,`), sentPolicy("x", `"precedence":1,`)), "/policies/0/name"},
		{"a precedence twice", "", sentApplication(sentPolicy("x", `"precedence":3,`), sentPolicy("y", `"precedence":1,`), sentPolicy("z", `"precedence":3,`)), "/policies/2/precedence"},
		{"a policy twice", "", sentApplication(`"`+ids["a"]+`"`, `"`+ids["a"]+`"`), "/policies/1/id"},
		{"a rule", "", sentApplication(sentPolicy("x", ""), strings.Replace(sentPolicy("y", ""), `"a@b.c"`, `5`, 1)), "/policies/1/include/0/email/email"},
		{"too great a precedence", "", sentApplication(sentPolicy("x", `"precedence":2147483648,`)), "/policies/0/precedence"},
		{"too great a precedence of one", "/policies", sentPolicy("x", `"precedence":9223372036854775807,`), "/precedence"},
		{"the precedence of a later one", "/policies/" + ids["a"], sentPolicy("a", `"precedence":2,`), "/precedence"},
	} {
		method := http.MethodPut
		if tc.path == "/policies" {
			method = http.MethodPost
		}
		r := c.admin(t, method, at+tc.path, tc.body)
		if r.status != http.StatusBadRequest || pointerOf(r) != tc.pointer || r.env.Errors[0].Code != 12130 {
			t.Errorf("%s: status %d, want code 12130 and the pointer %s: %s", tc.name, r.status, tc.pointer, r.raw)
		}
	}
}
