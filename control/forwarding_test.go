package control_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/control/controltest"
)

// rulesBody is an application with one policy, whose ssh rules have more behind the UNIX users.
func rulesBody(more string) string {
	return `{"name":"ssh","type":"infrastructure","target_criteria":[{"target_attributes":{"hostname":["web-1"]},"port":22,"protocol":"SSH"}],` +
		`"policies":[{"name":"p","decision":"allow","precedence":1,"include":[{"everyone":{}}],"connection_rules":{"ssh":{"usernames":["root"]` + more + `}}}]}`
}

// sshRules are the rules of an answer's one policy.
func sshRules(t *testing.T, app map[string]any) map[string]any {
	t.Helper()
	policies, ok := app["policies"].([]any)
	if !ok || len(policies) != 1 {
		t.Fatalf("policies %v", app["policies"])
	}
	return policies[0].(map[string]any)["connection_rules"].(map[string]any)["ssh"].(map[string]any)
}

// TestConnectionRules_ComeBackAsWritten: what a client wrote is what it reads, and nothing that it did not write is there.
func TestConnectionRules_ComeBackAsWritten(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	tests := []struct{ name, more, want string }{
		{"none", "", `{}`},
		{"null", `,"local_forwarding":null,"remote_forwarding":null,"agent_forwarding":null,"x11_forwarding":null,"max_session_duration":null,"idle_timeout":null`, `{}`},
		{"off", `,"agent_forwarding":false,"x11_forwarding":false`, `{}`},
		{
			"all", `,"local_forwarding":{"destinations":["DB.internal:5432","10.0.0.0/8:443","127.0.0.1:8000-8100","[fd00::1]:22","unix:/run/app.sock"]},` +
				`"remote_forwarding":{"listen":["localhost:8080","127.0.0.1:0"]},"agent_forwarding":true,"x11_forwarding":true,"max_session_duration":"8h","idle_timeout":"15m"`,
			`{"local_forwarding":{"destinations":["DB.internal:5432","10.0.0.0/8:443","127.0.0.1:8000-8100","[fd00::1]:22","unix:/run/app.sock"]},` +
				`"remote_forwarding":{"listen":["localhost:8080","127.0.0.1:0"]},"agent_forwarding":true,"x11_forwarding":true,"max_session_duration":"8h","idle_timeout":"15m"}`,
		},
		{"a duration in another spelling", `,"idle_timeout":"900s"`, `{"idle_timeout":"900s"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want map[string]any
			if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			want["usernames"], want["allow_email_alias"] = []any{"root"}, false
			app := c.good(t, "POST", "~/access/apps", rulesBody(tt.more)).result
			path := fmt.Sprintf("~/access/apps/%s", app["id"])
			defer c.good(t, "DELETE", path, "")
			for what, got := range map[string]map[string]any{
				"created": app, "read": c.good(t, "GET", path, "").result, "replaced": c.good(t, "PUT", path, rulesBody(tt.more)).result,
			} {
				if diff := cmp.Diff(want, sshRules(t, got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		})
	}
}

func TestConnectionRules_Refused(t *testing.T) {
	c := newRawClient(t, controltest.New(t))
	const at = "/policies/0/connection_rules/ssh"
	tests := []struct{ name, more, pointer, says string }{
		{"no destinations", `,"local_forwarding":{}`, at + "/local_forwarding/destinations", "at least one"},
		{"an empty list", `,"local_forwarding":{"destinations":[]}`, at + "/local_forwarding/destinations", "at least one"},
		{"a bad destination", `,"local_forwarding":{"destinations":["a:1","2130706433:22"]}`, at + "/local_forwarding/destinations/1", "neither a name nor an address"},
		{"a bad listen address", `,"remote_forwarding":{"listen":["nowhere"]}`, at + "/remote_forwarding/listen/0", "HOST:PORT"},
		{"no listen address", `,"remote_forwarding":{"listen":null}`, at + "/remote_forwarding/listen", "at least one"},
		{"an empty duration", `,"max_session_duration":""`, at + "/max_session_duration", "not a duration"},
		{"a duration without a unit", `,"idle_timeout":"15"`, at + "/idle_timeout", "not a duration"},
		{"a negative duration", `,"idle_timeout":"-15m"`, at + "/idle_timeout", "1s to"},
		{"too many destinations", `,"local_forwarding":{"destinations":["a:1"` + strings.Repeat(`,"a:1"`, 256) + `]}`, at + "/local_forwarding/destinations", "256"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := c.admin(t, "POST", "~/access/apps", rulesBody(tt.more))
			if r.status != http.StatusBadRequest || len(r.env.Errors) != 1 {
				t.Fatalf("%d: %s", r.status, r.raw)
			}
			e := r.env.Errors[0]
			if e.Source == nil || e.Source.Pointer != tt.pointer || !strings.Contains(e.Message, tt.says) {
				t.Errorf("%s", r.raw)
			}
		})
	}
	for _, tt := range []struct{ name, more, says string }{
		{"a field nobody reads", `,"forwarding":true`, "forwarding"},
		{"a field nobody reads, further in", `,"local_forwarding":{"destinations":["a:1"],"ports":[1]}`, "ports"},
		{"a list for an object", `,"local_forwarding":["a:1"]`, "local_forwarding"},
		{"a number for a destination", `,"local_forwarding":{"destinations":[22]}`, "destinations"},
		{"a text for a flag", `,"agent_forwarding":"true"`, "agent_forwarding"},
		{"a number for a flag", `,"x11_forwarding":1`, "x11_forwarding"},
		{"a number for a duration", `,"idle_timeout":15`, "idle_timeout"},
		{"a key twice", `,"agent_forwarding":false,"Agent_Forwarding":true`, "twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := c.admin(t, "POST", "~/access/apps", rulesBody(tt.more))
			if r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), tt.says) || len(r.env.Errors) != 1 || r.env.Errors[0].Source == nil ||
				!strings.HasPrefix(r.env.Errors[0].Source.Pointer, "/") {
				t.Errorf("%d: %s", r.status, r.raw)
			}
		})
	}
}
