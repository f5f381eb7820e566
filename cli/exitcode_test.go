package cli_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/cli"
)

func TestExitCodes_Document(t *testing.T) {
	const path = "../docs/exit-codes.md"
	want := cli.ExitCodesMarkdown()
	if *update {
		if err := os.MkdirAll("../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the table says; run go test ./cli -update (-want +got):\n%s", path, diff)
	}
}

func TestExitCodes_EachCodeOnce(t *testing.T) {
	codes, reasons := cli.ExitRows()
	seenCode, seenReason := map[int]bool{}, map[string]bool{}
	for i, c := range codes {
		if seenCode[c] {
			t.Errorf("exit code %d stands twice", c)
		}
		seenCode[c] = true
		for _, r := range reasons[i] {
			if seenReason[r] {
				t.Errorf("error code %q stands twice", r)
			}
			seenReason[r] = true
			if got, _ := cli.LookupCode(r); got != c {
				t.Errorf("exit code of %q = %d, want %d", r, got, c)
			}
		}
	}
	if got, _ := cli.LookupCode("of a later release"); got != 1 {
		t.Errorf("exit code of an unknown error = %d, want 1", got)
	}
}

// Every code that the agent, its client or a kind can carry must be in the table, and not by accident as "unexpected".
func TestExitCodes_Complete(t *testing.T) {
	_, reasons := cli.ExitRows()
	known := map[string]bool{}
	for _, rs := range reasons {
		for _, r := range rs {
			known[r] = true
		}
	}
	for file, prefix := range map[string]string{
		"../agent/localapi/localapi.go":      "Code",
		"../agent/localapi/client/errors.go": "Code",
		"../internal/kind/kind.go":           "",
	} {
		found := 0
		for name, value := range stringConstants(t, file) {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			found++
			if !known[value] {
				t.Errorf("%s: %s (%q) has no exit code", file, name, value)
			}
		}
		if found < 7 {
			t.Errorf("%s: found only %d codes", file, found)
		}
	}
}

// stringConstants reads the constants of a file whose value is a literal string.
func stringConstants(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, v := range s.Values {
			if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING && i < len(s.Names) {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				out[s.Names[i].Name] = text
			}
		}
		return true
	})
	return out
}
