package main

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/access"
	"weft/api"
	"weft/control/controltest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// ids are numbered in the order in which they appear.
func stable(text string) string {
	known := map[string]string{}
	number := func(format string) func(string) string {
		return func(m string) string {
			if known[m] == "" {
				known[m] = format + string(rune('A'+len(known)))
			}
			return known[m]
		}
	}
	text = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).ReplaceAllStringFunc(text, number("ID-"))
	text = regexp.MustCompile(`revision"?:? ?\d+`).ReplaceAllString(text, "revision N")
	return regexp.MustCompile(`last seen \S*`).ReplaceAllString(text, "last seen TIME")
}

// TestExplain runs the command against a control plane, for text and JSON.
func TestExplain(t *testing.T) {
	s := controltest.New(t)
	net := s.DefaultVNET()
	tunnel, _ := s.Tunnel("office")
	s.Route("10.20.0.0/16", net, tunnel)
	s.Target("web-1", "10.20.0.5", net)
	app := s.App("web servers", "web-1", "SSH", 22, "eve@company.com", "admin")
	s.Call(http.MethodPost, s.Account("/access/apps/"+app.ID+"/policies"), api.PolicyWrite{
		Name: "engineers", Decision: "allow", Include: []access.Rule{access.EmailRule("jdoe@company.com")},
		Connection: &api.ConnectionRules{SSH: &api.SSHRules{Usernames: []string{"root"}}},
	}, nil)
	s.App("names", "web-1", "UDP", 53, "")
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
		code         int
	}{
		{"allowed", "explain.txt", []string{"web-1:22", "--as", "root", "--offline"}, exitOK},
		{"allowed, in JSON", "explain.json", []string{"web-1:22", "--as", "root", "--offline", "--json"}, exitOK},
		{"a login that is not granted", "explain_login.txt", []string{"web-1:22", "--as", "admin", "--device", "laptop"}, exitFound},
		{"another protocol", "explain_protocol.txt", []string{"10.20.0.5:53", "--vnet", "default"}, exitFound},
		{"no gateway", "explain_gateway.txt", []string{"web-1:22"}, exitFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			args := append([]string{"explain", "--control", s.URL, "--token-file", token, "--ca-file", ca, "--email", "jdoe@company.com"}, tt.args...)
			if code := run(t.Context(), args, &out, &errs); code != tt.code {
				t.Errorf("exit code %d, want %d: %s", code, tt.code, errs.String())
			}
			if tt.code != exitOK && !strings.Contains(errs.String(), "in the way") {
				t.Errorf("stderr %q", errs.String())
			}
			name := filepath.Join("testdata", "golden", tt.golden)
			got := stable(out.String())
			if *update {
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
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
		})
	}
	for name, args := range map[string][]string{
		"no user": {"explain", "web-1:22"}, "no port": {"explain", "--email", "a@b.c", "web-1"}, "no target": {"explain", "--email", "a@b.c"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != exitUsage {
			t.Errorf("%s: exit code %d: %s", name, code, errs.String())
		}
	}
}
