package cli_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/cli"
)

// TestDiag_JSON holds the form of the report; times and this machine are taken out.
func TestDiag_JSON(t *testing.T) {
	w := seedWorld(t)
	w.Raw = map[string]string{"POST /v1/diag": `{"schema_version":1,"time":"2026-11-22T18:00:00Z","version":"1.2.3","os":"linux","arch":"amd64","verdict":"udp_blocked","checks":[
		{"code":"udp_blocked","title":"UDP to the gateway comes through","severity":"error","state":"failed","evidence":"no UDP comes back","remedy":"use another network","took_ms":1.5}]}`}
	socket := startAgent(t, w)
	var out, errs bytes.Buffer
	code := cli.Main(t.Context(), cli.Config{
		Args:  []string{"--socket", socket, "diag", "--json", "--check", "agent_not_running", "--check", "version_mismatch", "--check", "udp_blocked"},
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }, Version: "1.2.3",
	})
	if code != 16 || !strings.Contains(errs.String(), `"code":"fault_found"`) || !strings.Contains(errs.String(), `"exit_code":16`) {
		t.Errorf("exit code %d, stderr %s", code, errs.String())
	}
	got := regexp.MustCompile(`"took_ms": [0-9.e-]+`).ReplaceAllString(strings.ReplaceAll(out.String(), socket, "SOCKET"), `"took_ms": 0`)
	const name = "testdata/diag.json"
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
