package server_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"weft/agent/localapi/server"
)

// TestDoc: docs/local-api.md has every route.
func TestDoc(t *testing.T) {
	const path = "../../../docs/local-api.md"
	s, err := server.New(server.Config{Agent: &fakeAgent{}, Owner: owner})
	must(t, err)
	routes := s.RoutesForTest()
	slices.SortFunc(routes, func(a, b server.RouteForTest) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
	var b strings.Builder
	b.WriteString("| method | path | tier | parameters | command |\n|---|---|---|---|---|\n")
	for _, rt := range routes {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | `warp-cli %s` |\n", rt.Method, rt.Path, rt.Tier, strings.Join(s.QueryForTest(rt), ", "), s.CommandForTest(rt))
	}
	text, err := os.ReadFile(path)
	must(t, err)
	head, rest, ok := strings.Cut(string(text), "<!-- routes -->\n")
	_, tail, ok2 := strings.Cut(rest, "<!-- end of routes -->")
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the routes", path)
	}
	want := head + "<!-- routes -->\n" + b.String() + "<!-- end of routes -->" + tail
	if *update {
		must(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	if want != string(text) {
		t.Errorf("%s does not have the routes as they are: run go test ./agent/localapi/server -run TestDoc -update", path)
	}
}
