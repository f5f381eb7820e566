package control_test

import (
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
)

// The commands of docs/api.md are pasted into a shell, all but the first, which asks weft dev for the environment.
func TestAPIDocument_Commands(t *testing.T) {
	for _, tool := range []string{"bash", "curl", "jq", "sed", "tr"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v", err)
		}
	}
	_, block, _ := strings.Cut(apiIntroduction, "```sh\neval \"$(weft dev env --dir ~/weft-dev)\"\n")
	script, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("the document has no commands")
	}
	s := controltest.Start(t, control.Config{Dir: t.TempDir()})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	raw, err := os.ReadFile(filepath.Join(s.Config.Dir, "ca.pem"))
	if block, _ := pem.Decode(raw); err != nil || block == nil {
		t.Fatalf("the authority: %v", err)
	}
	if err := os.WriteFile(ca, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", script)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+ca, "CLOUDFLARE_API_TOKEN="+s.Token, "CLOUDFLARE_ACCOUNT_ID="+s.AccountID,
		"CLOUDFLARE_BASE_URL="+s.URL+"/client/v4", "no_proxy=*")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	answers := 0
	for ; d.More(); answers++ {
		var e api.Envelope
		if err := d.Decode(&e); err != nil || !e.Success {
			t.Fatalf("answer %d: %v\n%s", answers+1, err, out)
		}
	}
	if calls := strings.Count(script, "\ncall "); answers != calls {
		t.Errorf("%d answers to %d commands:\n%s", answers, calls, out)
	}
	if !strings.Contains(string(out), `"hostname":"try-2"`) {
		t.Errorf("nothing was renamed:\n%s", out)
	}
}
