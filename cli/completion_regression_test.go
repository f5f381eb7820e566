//go:build unix

package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weft/cli"
)

// Between quotes that the user had typed, the value of a tag was put on the line as it was: $(...) in it would run with
// the press of the return key.
func TestCompletion_BashQuotedTag_regression(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	dir := t.TempDir()
	answer := "#!/bin/sh\ncat <<'END'\nk=$(touch x)\nk=a`b`\nk=it's\nk=a\"b\nk=plain text\nk=hey!\n:4\nEND\n"
	if err := os.WriteFile(filepath.Join(dir, "warp-cli"), []byte(answer), 0o700); err != nil {
		t.Fatal(err)
	}
	var script bytes.Buffer
	if code := cli.Main(t.Context(), cli.Config{Args: []string{"generate-completions", "bash"}, Stdout: &script, Stderr: &script, Getenv: os.Getenv}); code != 0 {
		t.Fatal(script.String())
	}
	for quote, want := range map[string]string{
		`"`: "it's\nplain text\n",
		`'`: "$(touch x)\na`b`\na\"b\nplain text\nhey!\n",
		``:  "\\$\\(touch\\ x\\)\na\\`b\\`\nit\\'s\na\\\"b\nplain\\ text\nhey\\!\n",
	} {
		cmd := exec.CommandContext(t.Context(), bash, "--norc", "--noprofile", "-c",
			script.String()+"\nCOMP_WORDBREAKS=' =:@'\n"+
				`COMP_LINE="warp-cli target list --attribute ${Q}k=" COMP_POINT=${#COMP_LINE}; _warp_cli; printf '%s\n' "${COMPREPLY[@]}"`)
		cmd.Env = append(os.Environ(), "Q="+quote, "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got := strings.ReplaceAll(string(out), "k=", ""); err != nil || got != want {
			t.Errorf("after %s: %q, %v; want %q", quote, got, err, want)
		}
	}
}
