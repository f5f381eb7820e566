package host_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoIdentityLaundering: nothing that serves requests calls the local API. Whoever reached such a caller would act as
// the service itself, which may do everything: the callers of a gateway in the process would all look like it.
func TestNoIdentityLaundering(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "weft/agent/host").Output()
	must(t, err)
	deps := strings.Fields(string(out))
	if len(deps) < 50 {
		t.Fatalf("%d dependencies", len(deps))
	}
	for _, d := range deps {
		if d == "weft/agent/localapi/client" || strings.HasPrefix(d, "weft/cli") {
			t.Errorf("the service links %s", d)
		}
	}
	files := 0
	must(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasSuffix(filepath.ToSlash(path), "localapi/client") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "localsock" && sel.Sel.Name == "Dial" {
				t.Errorf("%s dials local sockets", path)
			}
			return true
		})
		return nil
	}))
	if files < 20 {
		t.Fatalf("%d files were read", files)
	}
}
