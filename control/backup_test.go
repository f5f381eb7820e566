package control_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
	"weft/internal/kind"
)

// A control plane that is started on a restored copy serves what was there when the copy was made, to those who had its
// tokens, under the same authority; a gateway that heard more since is told the restored state.
func TestBackup_Restored(t *testing.T) {
	dir := t.TempDir()
	s := controltest.Start(t, control.Config{Dir: dir})
	if s.Config.Database != "" {
		t.Skip("PostgreSQL has its own tools for this; see TestPostgreSQL_DumpAndRestore")
	}
	vnet := s.DefaultVNET()
	s.Tunnel("office")
	s.Call(http.MethodPost, s.Account("/access/gateway_ca"), nil, nil)
	kept := s.Target("kept", "10.0.0.1", vnet)
	g := reportingGateway(t, s, "gw")
	file := filepath.Join(t.TempDir(), "weft.db")
	if _, err := control.Backup(t.Context(), dir, file); err != nil {
		t.Fatal(err)
	}
	lost := s.Target("lost", "10.0.0.2", vnet)
	stream := watch[api.GatewayState](t, s.ClientWith(api.Secret(g.Token)), api.PathGatewaySync)
	before := stream.until(t, "both targets", func(x *api.GatewayState) bool { return len(x.Targets) == 2 })
	s.Stop()

	restored := t.TempDir()
	if _, err := control.Restore(t.Context(), restored, file); !kind.Is(err, kind.NotFound) {
		t.Errorf("without a key: %v", err)
	}
	for _, name := range []string{"store.key", "ca.pem", "ca-key.pem"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(restored, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := control.Restore(t.Context(), restored, file); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Restore(t.Context(), restored, file); !kind.Is(err, kind.Conflict) {
		t.Errorf("over a database: %v", err)
	}
	again := controltest.Start(t, control.Config{Dir: restored})
	if again.AccountID != s.AccountID || string(again.Control.CAPEM()) != string(s.Control.CAPEM()) {
		t.Error("the account or its authority is another one")
	}
	old := again.ClientWith(api.Secret(s.Token))
	var x api.Target
	if err := old.Do(t.Context(), http.MethodGet, again.Account("/infrastructure/targets/"+kept), nil, &x); err != nil || x.Hostname != "kept" {
		t.Errorf("what was there: %+v, %v", x, err)
	}
	if err := old.Do(t.Context(), http.MethodGet, again.Account("/infrastructure/targets/"+lost), nil, nil); !kind.Is(err, kind.NotFound) {
		t.Errorf("what came later: %v", err)
	}
	now := watch[api.GatewayState](t, again.ClientWith(api.Secret(g.Token)), api.PathGatewaySync).
		until(t, "the restored state", func(*api.GatewayState) bool { return true })
	if len(now.Targets) != 1 || now.Self.SSHCAPublicKey != before.Self.SSHCAPublicKey {
		t.Errorf("the gateway is told of %d targets and the SSH CA %q, which was %q", len(now.Targets), now.Self.SSHCAPublicKey, before.Self.SSHCAPublicKey)
	}
}
