package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/cli"
	"weft/internal/service"
	"weft/internal/service/servicetest"
)

// A manager that fails makes each verb fail, with what the manager said and a next step, and nothing on stdout.
func TestService_ManagerFails(t *testing.T) {
	for _, verb := range []string{"install", "uninstall", "start", "stop", "restart", "status"} {
		t.Run(verb, func(t *testing.T) {
			root := t.TempDir()
			h, fake, err := servicetest.Host("systemd", root, false)
			if err != nil {
				t.Fatal(err)
			}
			program := filepath.Join(root, "warp-svc")
			if err := os.WriteFile(program, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			m, err := service.New(h, service.User)
			if err != nil {
				t.Fatal(err)
			}
			if verb != "install" {
				if _, err := m.Install(t.Context(), service.Spec{Program: program}); err != nil {
					t.Fatal(err)
				}
			}
			fake.FailOn = "systemctl"
			for _, asJSON := range []bool{false, true} {
				line := []string{"service", verb, "--user"}
				if asJSON {
					line = append(line, "--json")
				}
				var stdout, stderr bytes.Buffer
				code := cli.Main(t.Context(), cli.Config{
					Args: line, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" },
					Self: filepath.Join(root, "warp-cli"), Host: &h,
				})
				if code != 14 || !strings.Contains(stderr.String(), "it went wrong") {
					t.Errorf("warp-cli %q: exit code %d, stderr %s", line, code, &stderr)
				}
				checkFailure(t, line, code, asJSON, &stdout, &stderr)
			}
		})
	}
}
