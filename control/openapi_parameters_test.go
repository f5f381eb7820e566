package control_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"strconv"
	"strings"
	"testing"

	"weft/control/controltest"
)

// The query parameters that the code asks for by name are in the document, and the filters of a list are with that list:
// those of routes, tunnels and devices were partly left out, and one of targets was said to take less than it does.
func TestOpenAPI_NamesTheParameters_regression(t *testing.T) {
	doc, _ := describedAs(t, controltest.New(t))
	paths, _ := doc["paths"].(map[string]any)
	everywhere := map[string]bool{}
	of := map[string]map[string]map[string]any{} // by "METHOD path" and name
	for path, methods := range paths {
		methods, _ := methods.(map[string]any)
		for method, operation := range methods {
			operation, _ := operation.(map[string]any)
			list, _ := operation["parameters"].([]any)
			here := map[string]map[string]any{}
			for _, p := range list {
				p, _ := p.(map[string]any)
				if name, _ := p["name"].(string); p["in"] == "query" {
					everywhere[name], here[name] = true, p
				}
			}
			of[strings.ToUpper(method)+" "+path] = here
		}
	}
	for name, at := range queryNames(t) {
		if !everywhere[name] {
			t.Errorf("%s: the query parameter %q is in no operation of the document", at, name)
		}
	}
	for list, names := range map[string]string{
		"GET " + accountPath + "/infrastructure/targets":        "tag tags order direction ips target_ids",
		"GET " + accountPath + "/teamnet/routes":                "existed_at tun_types is_deleted",
		"GET " + accountPath + "/teamnet/routes/ip/{addr}":      "default_virtual_network_fallback",
		"GET " + accountPath + "/cfd_tunnel":                    "existed_at was_active_at was_inactive_at status",
		"GET " + accountPath + "/devices/registrations":         "status sort_by sort_order include user.email",
		"GET " + accountPath + "/devices/physical-devices":      "active_registrations sort_by sort_order include last_seen_user.email",
		"DELETE " + accountPath + "/cfd_tunnel/{id}":            "cascade",
		"PUT " + accountPath + "/devices/policy/{id}/exclude":   "reset_defaults",
		"DELETE " + accountPath + "/devices/registrations":      "id",
		"POST " + accountPath + "/devices/registrations/revoke": "id",
	} {
		for name := range strings.FieldsSeq(names) {
			if of[list][name] == nil {
				t.Errorf("%s: the parameter %s is missing", list, name)
			}
		}
	}
	schema, _ := of["GET "+accountPath+"/infrastructure/targets"]["order"]["schema"].(map[string]any)
	if schema == nil || schema["enum"] != nil {
		t.Errorf("order=tag:KEY does not fit the document: %v", schema)
	}
}

// queryNames finds the names that stand in the code of this package where a query parameter is read.
func queryNames(t *testing.T) map[string]string {
	t.Helper()
	files := gotoken.NewFileSet()
	packages, err := parser.ParseDir(files, ".", func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0) //nolint:staticcheck // no build tags here
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	note := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == gotoken.STRING {
			name, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			found[name] = files.Position(lit.Pos()).String()
		}
	}
	for _, p := range packages {
		for _, f := range p.Files {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if name, arg := queryCall(n); name {
						note(arg)
					}
				case *ast.IndexExpr: // q.query["name"]
					if s, ok := n.X.(*ast.SelectorExpr); ok && s.Sel.Name == "query" {
						note(n.Index)
					}
				}
				return true
			})
		}
	}
	if len(found) < 30 {
		t.Fatalf("only %d query parameters are found in the code", len(found))
	}
	return found
}

// queryCall recognises q.query.Get(name), q.queryX(name, ...) and oneOf(q, name, ...).
func queryCall(c *ast.CallExpr) (bool, ast.Expr) {
	switch f := c.Fun.(type) {
	case *ast.SelectorExpr:
		if on, ok := f.X.(*ast.SelectorExpr); ok && on.Sel.Name == "query" && f.Sel.Name == "Get" && len(c.Args) == 1 {
			return true, c.Args[0]
		}
		if strings.HasPrefix(f.Sel.Name, "query") && len(c.Args) > 0 {
			return true, c.Args[0]
		}
	case *ast.Ident:
		if f.Name == "oneOf" && len(c.Args) > 1 {
			return true, c.Args[1]
		}
	}
	return false, nil
}
