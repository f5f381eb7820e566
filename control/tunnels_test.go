package control_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"weft/api"
	"weft/control/controltest"
	"weft/control/store"
	"weft/internal/kind"
)

func tunnelNames(r reply) string {
	var out []string
	for _, x := range r.list {
		out = append(out, fmt.Sprint(x["name"]))
	}
	return strings.Join(out, " ")
}

// waitFor asks again until a tunnel has a status.
func waitFor(t *testing.T, c *rawClient, id, status string) map[string]any {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got := c.good(t, "GET", "~/cfd_tunnel/"+id, "").result
		if got["status"] == status {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("the tunnel is %v, not %s, after 30 s", got["status"], status)
		}
	}
}

func TestTunnels_ConnectorsAndTheirTimes(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	id, token := s.Tunnel("busy")
	idle, _ := s.Tunnel("idle")
	at := "~/cfd_tunnel/" + id
	if got := waitFor(t, c, id, "inactive"); got["conns_active_at"] != nil || fmt.Sprint(got["connections"]) != "[]" {
		t.Errorf("%v", got)
	}
	before := time.Now().Add(-time.Second)
	connector := watch[api.ConnectorState](t, s.ClientWith(api.Secret(token)), api.PathConnectorSync)
	connector.until(t, "its state", func(*api.ConnectorState) bool { return true })
	got := waitFor(t, c, id, "healthy")
	if got["conns_active_at"] == nil || got["conns_inactive_at"] != nil || len(got["connections"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
	list := c.good(t, "GET", at+"/connections", "")
	if len(list.list) != 1 {
		t.Fatalf("%s", list.raw)
	}
	one := fmt.Sprint(list.list[0]["id"])
	if r := c.good(t, "GET", at+"/connectors/"+one, ""); r.result["id"] != one || len(r.result["conns"].([]any)) != 1 {
		t.Errorf("%s", r.raw)
	}
	for path, want := range map[string]int{
		at + "/connectors/no": 404, "~/cfd_tunnel/" + idle + "/connectors/" + one: 404, "~/cfd_tunnel/no/connectors/" + one: 404, "~/cfd_tunnel/no/connections": 404,
	} {
		if r := c.admin(t, "GET", path, ""); r.status != want {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	in := func(d time.Duration) string { return url.QueryEscape(time.Now().Add(d).Format(time.RFC3339)) }
	long := url.QueryEscape(before.Add(-time.Hour).Format(time.RFC3339))
	for query, want := range map[string]string{
		"status=healthy": "busy", "status=inactive": "idle", "status=down": "", "status=degraded": "",
		"was_active_at=" + in(time.Second): "busy", "was_active_at=" + long: "", "was_inactive_at=" + long: "busy idle", "was_inactive_at=" + in(time.Second): "idle",
		"existed_at=" + long: "", "existed_at=" + in(time.Second): "busy idle", "uuid=" + idle: "idle", "name=BUSY": "busy", "include_prefix=bu": "busy", "exclude_prefix=bu": "idle",
		"is_deleted=true": "", "is_deleted=false": "busy idle",
	} {
		if got := tunnelNames(c.good(t, "GET", "~/cfd_tunnel?"+query, "")); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"status=x", "was_active_at=x", "was_inactive_at=x", "existed_at=x", "is_deleted=x"} {
		if r := c.admin(t, "GET", "~/cfd_tunnel?"+query, ""); r.status != 400 {
			t.Errorf("%s: %s", query, r.raw)
		}
	}
	// One that is not there is not ended; the one that is comes back by itself.
	c.good(t, "DELETE", at+"/connections?client_id=no", "")
	if r := c.good(t, "GET", at+"/connectors/"+one, ""); r.result["id"] != one {
		t.Errorf("%s", r.raw)
	}
	connector.stop()
	if got := waitFor(t, c, id, "down"); fmt.Sprint(got["connections"]) != "[]" {
		t.Errorf("%v", got)
	}
	if got := tunnelNames(c.good(t, "GET", "~/cfd_tunnel?status=down", "")); got != "busy" {
		t.Errorf("down: %q", got)
	}
	c.good(t, "DELETE", at, "")
	if got := tunnelNames(c.good(t, "GET", "~/cfd_tunnel?existed_at="+in(-time.Hour), "")); got != "" {
		t.Errorf("an hour ago: %q", got)
	}
	if got := tunnelNames(c.good(t, "GET", "~/cfd_tunnel?is_deleted=true", "")); got != "busy" {
		t.Errorf("deleted: %q", got)
	}
}

func TestTunnels_Configurations(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	id, _ := s.Tunnel("office")
	at := "~/cfd_tunnel/" + id + "/configurations"
	if r := c.good(t, "GET", at, "").result; r["version"] != 0.0 || r["config"] != nil || r["source"] != "local" || r["tunnel_id"] != id || r["account_id"] != s.AccountID {
		t.Errorf("%v", r)
	}
	const config = `{"ingress":[{"hostname":"a.example.com","service":"http://localhost:80","originRequest":{}},{"service":"http_status:404"}],"warp-routing":{"enabled":true},"originRequest":{"connectTimeout":10}}`
	for version := range 2 {
		if r := c.good(t, "PUT", at, `{"config":`+config+`}`); r.result["version"] != float64(version+1) || !strings.Contains(string(r.raw), config) {
			t.Errorf("%s", r.raw)
		}
	}
	if r := c.good(t, "GET", at, ""); !strings.Contains(string(r.raw), `"config":`+config) {
		t.Errorf("%s", r.raw)
	}
	for body, pointer := range map[string]string{
		`{}`: "/config", `{"config":null}`: "/config", `{"config":[]}`: "/config", `{"config":{},"conf":{}}`: "/conf", `{"config":{"a":"` + strings.Repeat("x", 256<<10) + `"}}`: "/config",
	} {
		if r := c.admin(t, "PUT", at, body); r.status != 400 || r.env.Errors[0].Source == nil || r.env.Errors[0].Source.Pointer != pointer {
			t.Errorf("%.60s: %s", body, r.raw)
		}
	}
	for _, method := range []string{"GET", "PUT"} {
		if r := c.admin(t, method, "~/cfd_tunnel/no/configurations", `{"config":{}}`); r.status != 404 {
			t.Errorf("%s: %s", method, r.raw)
		}
	}
	reader := newToken(t, s, store.TokenFields{Permissions: []string{"Cloudflare Tunnel Read"}})
	if r := c.do(t, "PUT", at, reader, `{"config":{}}`); r.status != 403 {
		t.Errorf("a token that reads writes: %d", r.status)
	}
	if r := c.admin(t, "POST", "~/cfd_tunnel/"+id+"/management", `{"resources":["logs"]}`); r.status != 400 || !strings.Contains(string(r.raw), "management service") {
		t.Errorf("%s", r.raw)
	}
	if r := c.admin(t, "POST", "~/cfd_tunnel/no/management", `{"resources":["logs"]}`); r.status != 404 {
		t.Errorf("%s", r.raw)
	}
}

func TestRoutes_Filters(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	staging := s.VNET("staging")
	one, _ := s.Tunnel("one")
	two, _ := s.Tunnel("two")
	route := s.Route("10.0.0.0/8", s.DefaultVNET(), one)
	s.Route("10.1.0.0/16", s.DefaultVNET(), two)
	s.Route("10.0.0.0/8", staging, two)
	networks := func(query string) string {
		var out []string
		for _, x := range c.good(t, "GET", "~/teamnet/routes?"+query, "").list {
			out = append(out, fmt.Sprint(x["network"], "@", x["virtual_network_name"]))
		}
		return strings.Join(out, " ")
	}
	past, soon := url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339)), url.QueryEscape(time.Now().Add(time.Second).Format(time.RFC3339))
	for query, want := range map[string]string{
		"": "10.0.0.0/8@default 10.1.0.0/16@default 10.0.0.0/8@staging", "route_id=" + route: "10.0.0.0/8@default", "tunnel_id=" + one: "10.0.0.0/8@default",
		"virtual_network_id=" + staging: "10.0.0.0/8@staging", "network_subset=10.1.0.0/16": "10.1.0.0/16@default", "network_superset=10.1.2.0/24&tunnel_id=" + two: "10.1.0.0/16@default 10.0.0.0/8@staging",
		"is_deleted=true": "", "existed_at=" + past: "", "existed_at=" + soon: "10.0.0.0/8@default 10.1.0.0/16@default 10.0.0.0/8@staging",
		"tun_types=warp_connector": "", "tun_types=cfd_tunnel,warp_connector&tunnel_id=" + one: "10.0.0.0/8@default", "tun_types=warp&tun_types=cfd_tunnel&tunnel_id=" + one: "10.0.0.0/8@default",
	} {
		if got := networks(query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	if r := c.admin(t, "GET", "~/teamnet/routes?existed_at=x", ""); r.status != 400 {
		t.Errorf("%s", r.raw)
	}
	for path, want := range map[string]string{
		"10.1.2.3": "10.1.0.0/16", "10.1.2.3?virtual_network_id=" + staging: "10.0.0.0/8", "10.1.2.3?default_virtual_network_fallback=true": "10.1.0.0/16", "10.1.2.3?default_virtual_network_fallback=false&virtual_network_id=" + staging: "10.0.0.0/8",
	} {
		if r := c.good(t, "GET", "~/teamnet/routes/ip/"+path, ""); r.result["network"] != want {
			t.Errorf("%s: %s", path, r.raw)
		}
	}
	if r := c.admin(t, "GET", "~/teamnet/routes/ip/10.1.2.3?default_virtual_network_fallback=false", ""); r.status != 404 {
		t.Errorf("%s", r.raw)
	}
	if r := c.admin(t, "DELETE", "~/teamnet/routes/network/10.0.0.0%2F8?tunnel_id="+two, ""); r.status != 404 {
		t.Errorf("%s", r.raw)
	}
	if r := c.admin(t, "DELETE", "~/teamnet/routes/network/10.0.0.0%2F8?tun_type=warp_connector", ""); r.status != 404 {
		t.Errorf("%s", r.raw)
	}
	// By prefix a request may come without a body, and then changes nothing; by ID it may not.
	if r := c.good(t, "PATCH", "~/teamnet/routes/network/10.0.0.0%2F8", ""); r.result["tunnel_id"] != one {
		t.Errorf("%s", r.raw)
	}
	if r := c.admin(t, "PATCH", "~/teamnet/routes/"+text(c.good(t, "GET", "~/teamnet/routes/ip/10.200.0.1", "").result, "id"), ""); r.status != 400 {
		t.Errorf("%s", r.raw)
	}
	c.good(t, "DELETE", "~/teamnet/routes/network/10.0.0.0%2F8?tunnel_id="+one+"&tun_type=cfd_tunnel", "")
}

// The list of the tunnels of every type is that of the one type there is.
func TestTunnels_OfEveryType(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	s.Tunnel("lab")
	s.Tunnel("office")
	for query, want := range map[string]string{
		"": "lab office", "?name=lab": "lab", "?tun_types=cfd_tunnel": "lab office", "?tun_types=warp_connector": "", "?tun_types=warp_connector,cfd_tunnel&per_page=1": "lab",
		"?tun_types=warp_connector&tun_types=cfd_tunnel&page=2&per_page=1": "office",
	} {
		if got := tunnelNames(c.good(t, "GET", "~/tunnels"+query, "")); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for _, x := range []struct {
		permission string
		want       int
	}{{"Cloudflare Tunnel Read", 200}, {"Access: SSH Auditing Read", 403}} {
		if r := c.do(t, "GET", "~/tunnels", newToken(t, s, store.TokenFields{Permissions: []string{x.permission}}), ""); r.status != x.want {
			t.Errorf("%s: %s", x.permission, r.raw)
		}
	}
}

// TestTunnels_AnotherSecret: a new secret shuts out whoever holds the former one, at once; the same one again changes nothing.
func TestTunnels_AnotherSecret(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	id, former := s.Tunnel("office")
	at := "~/cfd_tunnel/" + id
	token := func() string {
		var out string
		decode(t, c.good(t, "GET", at+"/token", "").env.Result, &out)
		return out
	}
	parsed, err := api.ParseConnectorToken(former)
	if err != nil {
		t.Fatal(err)
	}
	secret := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	connector := watch[api.ConnectorState](t, s.ClientWith(api.Secret(former)), api.PathConnectorSync)
	connector.until(t, "its state", func(*api.ConnectorState) bool { return true })

	c.good(t, "PATCH", at, `{"name":"office","tunnel_secret":"`+secret(parsed.Secret)+`"}`)
	if token() != former {
		t.Error("the same secret made another token")
	}
	for body, pointer := range map[string]string{
		`{"tunnel_secret":"AAAA"}`: "/tunnel_secret", `{"tunnel_secret":"***"}`: "/tunnel_secret", `{"config_src":"cloudflare"}`: "/config_src",
		`{"name":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}`: "/name",
	} {
		if r := c.admin(t, "PATCH", at, body); r.status != 400 || !strings.Contains(string(r.raw), `"pointer":"`+pointer+`"`) {
			t.Errorf("%s: %s", body, r.raw)
		}
	}
	c.good(t, "PATCH", at, `{"name":"office 2"}`)
	connector.until(t, "the name, on the stream that went on", func(st *api.ConnectorState) bool { return st.Self.Name == "office 2" })

	r := c.good(t, "PATCH", at, `{"tunnel_secret":"`+secret(bytes.Repeat([]byte{7}, 32))+`"}`)
	if r.result["name"] != "office 2" || r.result["id"] != id || strings.Contains(string(r.raw), "BwcHBw") {
		t.Errorf("%s", r.raw)
	}
	if err := connector.ended(t); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("the connector with the former secret ended with %v", err)
	}
	if now := token(); now == former {
		t.Error("the token is as before")
	} else {
		again := watch[api.ConnectorState](t, s.ClientWith(api.Secret(now)), api.PathConnectorSync)
		again.until(t, "its state with the new token", func(*api.ConnectorState) bool { return true })
	}
	day := "since=2001-01-01&before=" + time.Now().UTC().AddDate(0, 0, 2).Format(time.DateOnly)
	events := string(c.good(t, "GET", "~/logs/audit?"+day, "").raw)
	if strings.Contains(events, "BwcHBw") || strings.Contains(events, secret(parsed.Secret)) || !strings.Contains(events, "secret_changed") {
		t.Errorf("the audit log shows a secret, or not that it was changed: %s", events)
	}
}
