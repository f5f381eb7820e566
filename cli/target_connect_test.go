package cli_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/cli"
)

func TestExpand(t *testing.T) {
	values := map[string]string{"host": "127.0.0.1", "port": "4", "addr": "127.0.0.1:4", "user": "", "target": "db-1", "vnet": "prod"}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing to fill in", "psql|-c|select 1", "psql|-c|select 1"},
		{"placeholders", "x|{host}|-p{port}|{addr}/{vnet}", "x|127.0.0.1|-p4|127.0.0.1:4/prod"},
		{"braces", "awk|{{print $1}}", "awk|{print $1}"},
		{"no user, no option", "psql|-h|{host}|-U|{user}|-w", "psql|-h|127.0.0.1|-w"},
		{"no user at the end", "psql|-U|{user}", "psql"},
		{"no user in a word", "x|{user}@{host}", "x|@127.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cli.Expand(strings.Split(tt.in, "|"), values)
			if err != nil || strings.Join(got, "|") != tt.want {
				t.Errorf("got %q, %v; want %q", strings.Join(got, "|"), err, tt.want)
			}
		})
	}
	for _, in := range []string{"x|{", "x|}", "x|{nope}", "x|{host", "x|{}", "x|{ host }", "x|}}}"} {
		if got, err := cli.Expand(strings.Split(in, "|"), values); err == nil {
			t.Errorf("Expand(%q) = %q", in, got)
		}
	}
	values["user"] = "-oProxyCommand=x"
	if got, err := cli.Expand([]string{"ssh", "{user}"}, values); err == nil {
		t.Errorf("a value became an option: %q", got)
	}
}

// FuzzExpand: nothing is lost or added but what the placeholders say, and a mistake is an error.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"{host}", "{{x}}", "a{port}b", "{", "}}", "{user}"} {
		f.Add(s)
	}
	values := map[string]string{}
	for _, p := range cli.Placeholders() {
		values[p] = "{" + p + "}" // an expansion is not expanded again
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := cli.Expand([]string{"x", s}, values)
		if err != nil {
			return
		}
		if len(out) != 2 {
			t.Fatalf("%q became %q", s, out)
		}
		want := strings.NewReplacer("{{", "{", "}}", "}").Replace(s)
		if out[1] != want {
			t.Fatalf("%q became %q, want %q", s, out[1], want)
		}
	})
}

func TestParseConnectFile(t *testing.T) {
	got, err := cli.ParseConnectFile([]byte(`{"schema_version":1,"templates":{"postgres":["pgcli","{addr}"],"mine":["x"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"POSTGRES": {"pgcli", "{addr}"}, "MINE": {"x"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{
		``, `{}`, `{"schema_version":2}`, `{"schema_version":1,"x":1}`, `{"schema_version":1,"templates":{"a":[]}}`,
		`{"schema_version":1,"templates":{"a":[""]}}`, `{"schema_version":1,"templates":{"a":["{host}"]}}`,
		`{"schema_version":1,"templates":{"a":["x","{hots}"]}}`, `{"schema_version":1,"templates":{"a":["x"],"A":["y"]}}`,
		`{"schema_version":1} {}`, `{"schema_version":1,"templates":{"a":"x"}}`,
	} {
		if got, err := cli.ParseConnectFile([]byte(bad)); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

// FuzzParseConnectFile: what is accepted can be run.
func FuzzParseConnectFile(f *testing.F) {
	f.Add([]byte(`{"schema_version":1,"templates":{"a":["x","{host}"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := cli.ParseConnectFile(b)
		if err != nil {
			return
		}
		values := map[string]string{}
		for _, p := range cli.Placeholders() {
			values[p] = "v"
		}
		for name, argv := range m {
			if out, err := cli.Expand(argv, values); err != nil || len(out) == 0 || out[0] == "" {
				t.Fatalf("%q: %q, %v", name, out, err)
			}
		}
	})
}

func TestParseTarget(t *testing.T) {
	for _, tt := range []struct {
		in, name string
		port     uint16
	}{
		{"web-1", "web-1", 0},
		{"web-1:22", "web-1", 22},
		{"web-1.prod:5432", "web-1.prod", 5432},
		{"10.0.0.1:22", "10.0.0.1", 22},
		{"fd00::1", "fd00::1", 0},
		{"[fd00::1]", "fd00::1", 0},
		{"[fd00::1]:22", "fd00::1", 22},
		{"web-1.my net:22", "web-1.my net", 22},
	} {
		if name, port, err := cli.ParseTarget(tt.in); err != nil || name != tt.name || port != tt.port {
			t.Errorf("%q: %q, %d, %v; want %q, %d", tt.in, name, port, err, tt.name, tt.port)
		}
	}
	for _, in := range []string{"", ":22", "web-1:", "web-1:0", "web-1:x", "web-1:99999", "-x", "[x", "a\nb", " a"} {
		if name, port, err := cli.ParseTarget(in); err == nil {
			t.Errorf("%q: %q, %d", in, name, port)
		}
	}
}

// FuzzParseTarget: a name with its port is read back as both.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"web-1:22", "[::1]:2", "a:b", "::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, _, err := cli.ParseTarget(s)
		if err == nil && (name == "" || strings.HasPrefix(name, "-") || strings.ContainsAny(name, "[]\n")) {
			t.Fatalf("%q became %q", s, name)
		}
	})
}

func TestBuiltinPrograms(t *testing.T) {
	values := map[string]string{}
	for _, p := range cli.Placeholders() {
		values[p] = "v"
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, p := range []string{"SSH", "POSTGRES", "MYSQL", "REDIS", "MONGODB", "KUBERNETES", "RDP", "VNC", "HTTP", "HTTPS"} {
			argv := cli.BuiltinProgram(goos, p)
			if _, err := cli.Expand(argv, values); err != nil || len(argv) < 2 {
				t.Errorf("%s on %s: %q, %v", p, goos, argv, err)
			}
			if slices.ContainsFunc(argv, func(a string) bool { return strings.Contains(strings.ToLower(a), "password=") }) {
				t.Errorf("%s on %s: a password in %q", p, goos, argv)
			}
		}
		if argv := cli.BuiltinProgram(goos, "TCP"); argv != nil {
			t.Errorf("TCP on %s: %q", goos, argv)
		}
	}
}

func TestKubeconfig(t *testing.T) {
	var c struct {
		Clusters []struct {
			Cluster map[string]string `json:"cluster"`
		} `json:"clusters"`
	}
	name := `k8s"}]}`
	if err := json.Unmarshal([]byte(cli.Kubeconfig("127.0.0.1:4", name)), &c); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"server": "https://127.0.0.1:4", "tls-server-name": name}
	if len(c.Clusters) != 1 {
		t.Fatalf("%+v", c)
	}
	if diff := cmp.Diff(want, c.Clusters[0].Cluster); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
