package control_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"weft/control/controltest"
)

// A clash of something that is unique names the field, as every other refusal does; of a batch, the element too.
func TestConflicts_NameTheField_regression(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	tunnel, _ := s.Tunnel("lab")
	route := fmt.Sprintf(`{"network":"10.0.0.0/24","tunnel_id":%q}`, tunnel)
	target := `{"hostname":"a","ip":{"ipv4":{"ip_addr":"10.0.0.1"}}}`
	target6 := `{"hostname":"a","ip":{"ipv4":{"ip_addr":"10.0.0.2"},"ipv6":{"ip_addr":"fd00::1"}}}`
	group := `{"name":"G","include":[{"email":{"email":"a@b.c"}}]}`
	list := `{"name":"L","type":"IP"}`
	for _, body := range []struct{ path, body string }{
		{"~/infrastructure/targets", target},
		{"~/infrastructure/targets", target6},
		{"~/teamnet/routes", route},
		{"~/access/groups", group},
		{"~/gateway/lists", list},
		{"~/teamnet/virtual_networks", `{"name":"N"}`},
	} {
		c.good(t, http.MethodPost, body.path, body.body)
	}
	for _, tc := range []struct {
		name, method, path, body, pointer string
	}{
		{"target", "POST", "~/infrastructure/targets", target, "/ip/ipv4/ip_addr"},
		{"target by its second address", "POST", "~/infrastructure/targets", strings.Replace(target6, "10.0.0.2", "10.0.0.3", 1), "/ip/ipv6/ip_addr"},
		{"batch", "PUT", "~/infrastructure/targets/batch", "[" + strings.Replace(target, "10.0.0.1", "10.0.0.9", 1) + "," + target + "]", "/1/ip/ipv4/ip_addr"},
		{"batch with itself", "PUT", "~/infrastructure/targets/batch", strings.ReplaceAll("["+target+","+target+"]", "10.0.0.1", "10.0.0.9"), "/1/ip/ipv4/ip_addr"},
		{"route", "POST", "~/teamnet/routes", route, "/network"},
		{"group", "POST", "~/access/groups", strings.ToLower(group), "/name"},
		{"list", "POST", "~/gateway/lists", `{"name":"l","type":"IP"}`, "/name"},
		{"network", "POST", "~/teamnet/virtual_networks", `{"name":"n"}`, "/name"},
		{"tunnel", "POST", "~/cfd_tunnel", `{"name":"LAB"}`, "/name"},
	} {
		r := c.admin(t, tc.method, tc.path, tc.body)
		if r.status != http.StatusBadRequest && r.status != http.StatusConflict || pointerOf(r) != tc.pointer {
			t.Errorf("%s: status %d, want the pointer %s: %s", tc.name, r.status, tc.pointer, r.raw)
		}
	}
}

// What is read can be sent back. A list's values came back with times that a write refused, and a tunnel with fields
// that a change refused; the times of values that stayed were made new.
func TestListsAndTunnels_CanBeSentBack_regression(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	for _, tc := range []struct{ method, path, body string }{
		{http.MethodPut, "~/gateway/lists", `{"name":"L","type":"IP","items":[{"value":"10.0.0.1","description":"one"},{"value":"10.0.0.2"}]}`},
		{http.MethodPatch, "~/cfd_tunnel", `{"name":"lab","config_src":"cloudflare"}`},
	} {
		at := fmt.Sprintf("%s/%s", tc.path, c.good(t, http.MethodPost, tc.path, tc.body).result["id"])
		before := c.good(t, http.MethodGet, at, "")
		c.good(t, tc.method, at, string(before.env.Result))
		after := c.good(t, http.MethodGet, at, "")
		for _, r := range []reply{before, after} {
			delete(r.result, "updated_at")
		}
		if was, is := fmt.Sprint(before.result), fmt.Sprint(after.result); was != is {
			t.Errorf("%s was\n%s and is\n%s", tc.path, was, is)
		}
	}
}

// A tunnel could be renamed to what it cannot be called, and a change of what cannot be changed was said to have worked.
func TestTunnels_ChangesThatAreNone_regression(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	tunnel, _ := s.Tunnel("lab")
	for body, pointer := range map[string]string{
		`{"name":"f174e90a-fafe-4643-bbbc-4a0ed4fc8415"}`: "/name", `{"config_src":"cloudflare"}`: "/config_src",
	} {
		if r := c.admin(t, http.MethodPatch, "~/cfd_tunnel/"+tunnel, body); r.status != http.StatusBadRequest || pointerOf(r) != pointer {
			t.Errorf("%s: status %d: %s", body, r.status, r.raw)
		}
	}
	c.good(t, http.MethodPatch, "~/cfd_tunnel/"+tunnel, `{"name":"lab","config_src":"local"}`)
}

// One target named twice in a deletion was said not to be there, and nothing was deleted.
func TestTargets_DeletedTwiceAtOnce_regression(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	id := c.good(t, http.MethodPost, "~/infrastructure/targets", `{"hostname":"a","ip":{"ipv4":{"ip_addr":"10.0.0.1"}}}`).result["id"]
	c.good(t, http.MethodPost, "~/infrastructure/targets/batch_delete", fmt.Sprintf(`{"target_ids":[%q,%q]}`, id, id))
	if r := c.admin(t, http.MethodGet, fmt.Sprintf("~/infrastructure/targets/%s", id), ""); r.status != http.StatusNotFound {
		t.Errorf("status %d: %s", r.status, r.raw)
	}
}

// A script whose variable is empty sends an empty If-Match; it was taken for none, and the write went through.
func TestPrecondition_Empty_regression(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	body := `{"hostname":"a","ip":{"ipv4":{"ip_addr":"10.0.0.1"}}}`
	at := s.URL + s.Account(fmt.Sprintf("/infrastructure/targets/%s", c.good(t, http.MethodPost, "~/infrastructure/targets", body).result["id"]))
	for _, header := range []http.Header{
		{"If-Match": {""}}, {"If-Match": {" , "}}, {"If-None-Match": {""}}, {"If-Match": {""}, "If-None-Match": {`"x"`}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, at, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header.Clone()
		req.Header.Set("Authorization", "Bearer "+s.Token)
		if r := c.send(t, req); r.status != http.StatusBadRequest {
			t.Errorf("%v: status %d: %s", header, r.status, r.raw)
		}
	}
}

// A compressed body was called bad UTF-8.
func TestBody_Compressed_regression(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	if err := json.NewEncoder(z).Encode(map[string]string{"name": "N"}); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+s.Account("/teamnet/virtual_networks"), &body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + s.Token}, "Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	if r := c.send(t, req); r.status != http.StatusUnsupportedMediaType {
		t.Errorf("status %d: %s", r.status, r.raw)
	}
}

// Of more IDs than a query can name the rest was left out without a word, and devices that were asked for were not there.
func TestDevices_TooManyIDs_regression(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	for _, name := range []string{"id", "user.id"} {
		query := "?" + strings.Repeat(name+"=x&", 1001)
		refused(t, name, c.admin(t, http.MethodGet, "~/devices/registrations"+query, ""), http.StatusBadRequest)
		if r := c.admin(t, http.MethodGet, "~/devices/registrations"+query[:1000*len(name+"=x&")], ""); r.status != http.StatusOK {
			t.Errorf("1000 of %s: status %d: %s", name, r.status, r.raw)
		}
	}
}

// Behind a rule with nearly the last precedence there was room, and a rule without one was refused for a field that it did not have.
func TestNetworkRules_NearTheLastPrecedence_regression(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	rule := func(name, more string) string {
		return `{"name":"` + name + `","action":"block","filters":["l4"],"traffic":"net.dst.port == 23"` + more + `}`
	}
	c.good(t, http.MethodPost, "~/gateway/rules", rule("a", `,"precedence":2147483600`))
	if r := c.good(t, http.MethodPost, "~/gateway/rules", rule("b", "")); r.result["precedence"] != float64(2147483647) {
		t.Errorf("%s", r.raw)
	}
	if r := c.admin(t, http.MethodPost, "~/gateway/rules", rule("c", "")); r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "already belongs") {
		t.Errorf("%s", r.raw)
	}
}
