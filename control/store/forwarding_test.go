package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/access"
	"weft/api"
	"weft/control/store"
)

// TestDomainApplication_ConnectionRules: what is stored becomes what decides; rows from before the fields existed allow nothing
// more than they did, and one that cannot be read is an error and not a rule that is missing.
func TestDomainApplication_ConnectionRules(t *testing.T) {
	tests := []struct {
		name, stored string
		want         *access.SSHRules
	}{
		{"an old row", `{"ssh":{"usernames":["root"],"allow_email_alias":true}}`, &access.SSHRules{Usernames: []string{"root"}, AllowEmailAlias: true}},
		{"no rules", `null`, nil},
		{
			"a new row", `{"ssh":{"usernames":["root"],"allow_email_alias":false,"local_forwarding":{"destinations":["a:1"]},"remote_forwarding":{"listen":["localhost:0"]},` +
				`"agent_forwarding":true,"x11_forwarding":true,"max_session_duration":"8h","idle_timeout":"15m"}}`,
			&access.SSHRules{
				Usernames: []string{"root"}, LocalForwarding: &access.LocalForwarding{Destinations: []string{"a:1"}},
				RemoteForwarding: &access.RemoteForwarding{Listen: []string{"localhost:0"}}, AgentForwarding: true, X11Forwarding: true,
				MaxSessionDuration: 8 * time.Hour, IdleTimeout: 15 * time.Minute,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rules *api.ConnectionRules
			if err := json.Unmarshal([]byte(tt.stored), &rules); err != nil {
				t.Fatal(err)
			}
			d, err := store.DomainApplication(&api.Application{Policies: []api.Policy{{Name: "p", Connection: rules}}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, d.Policies[0].SSH); diff != "" {
				t.Error(diff)
			}
			// What goes to gateways comes back the same.
			raw, err := json.Marshal(d.Policies[0].SSH)
			if err != nil {
				t.Fatal(err)
			}
			var back *access.SSHRules
			if err := json.Unmarshal(raw, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, back); diff != "" {
				t.Errorf("over the wire: %s", diff)
			}
		})
	}
	bad := &api.Application{Policies: []api.Policy{{Connection: &api.ConnectionRules{SSH: &api.SSHRules{IdleTimeout: "soon"}}}}}
	if _, err := store.DomainApplication(bad); err == nil {
		t.Error("a limit that cannot be read is none")
	}
}
