package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/control/controltest"
)

// TestImpact runs the command against a control plane.
func TestImpact(t *testing.T) {
	s := controltest.New(t)
	net := s.DefaultVNET()
	tunnel, _ := s.Tunnel("office")
	route := s.Route("10.20.0.0/16", net, tunnel)
	target := s.Target("web-1", "10.20.0.5", net)
	s.App("web servers", "web-1", "SSH", 22, "jdoe@company.com", "root")
	s.App("names", "dns", "UDP", 53, "")
	s.Enrol("jdoe@company.com", "laptop")
	dir := t.TempDir()
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	for name, text := range map[string][]byte{token: []byte(s.Token), ca: s.Control.CAPEM()} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, golden string
		args         []string
	}{
		{"a rename", "impact_rename.txt", []string{"target.rename", target, "--to", "dns"}},
		{"nothing", "impact_nothing.txt", []string{"tunnel.rename", tunnel, "--to", "head office"}},
		{"a deletion as JSON", "impact_delete.json", []string{"route.delete", route, "--json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			root := newRoot()
			root.SetOut(&out)
			root.SetArgs(append([]string{"impact", "--control", s.URL, "--token-file", token, "--ca-file", ca}, tt.args...))
			if err := root.ExecuteContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "golden", tt.golden)
			got := stable(out.String())
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
