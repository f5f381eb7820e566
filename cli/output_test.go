package cli_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"weft/cli"
	"weft/cli/render"
)

func templateRow() *render.Row {
	t := target("web-1", 22)
	t.Attributes["note"] = "\x1b[31mred"
	return &render.Row{Target: &t}
}

func TestTemplate(t *testing.T) {
	for _, tt := range []struct{ text, want, bad string }{
		{text: "{{.hostname}}", want: "web-1"},
		{text: `{{.name}}\t{{.port}}\n`, want: "web-1.a1net\t22\n"},
		{text: `{{"\\n"}}{{printf "%04d" .port}}`, want: `\n0022`},
		{text: "{{.attributes.note}}", want: "\ufffd[31mred"},
		{text: "{{.attributes.none}}|", want: "|"},
		{text: "{{with .reachability}}tried{{else}}not tried{{end}}", want: "not tried"},
		{text: "{{range $i, $a := .addresses}}{{if $i}}, {{end}}{{$a.ip}} in {{$a.vnet_name}} of {{$.hostname}}{{end}}", want: "10.0.0.1 in a1net of web-1"},
		{text: "{{len .usernames}} {{index .usernames 0}} {{json .addresses}}", want: `1 root [{"ip":"10.0.0.1","vnet_id":"v1","vnet_name":"a1net"}]`},
		{text: "{{join .port \",\"}}", bad: "is not a list"},
		{text: "{{if .hostname}}{{.prot}}{{end}}", bad: "there is no field .prot"},
		{text: "{{define \"x\"}}{{.hostname}}{{end}}{{template \"x\" .}}", want: "web-1"},
		{text: "{{(index .addresses 0).ip}}", want: "10.0.0.1"},
		{text: "{{$x := .foo}}", bad: "there is no field .foo"},
		{text: "{{range .usernames}}{{.}}{{else}}{{.foo}}{{end}}", bad: "there is no field .foo"},
		{text: strings.Repeat("x", 17<<10), bad: "longer than"},
		{text: "{{define \"x\"}}" + strings.Repeat("y", 8<<10) + "{{end}}{{range 200}}{{template \"x\"}}{{end}}", bad: "more than 1048576 bytes"},
	} {
		got, err := cli.Template(tt.text, templateRow())
		switch {
		case tt.bad == "" && (err != nil || got != tt.want):
			t.Errorf("%.60s: %q, %v; want %q", tt.text, got, err, tt.want)
		case tt.bad != "" && (err == nil || !strings.Contains(err.Error(), tt.bad)):
			t.Errorf("%.60s: error %v; want %q", tt.text, err, tt.bad)
		}
	}
}

// loops are templates that may count for longer than a fuzz test has patience.
var loops = regexp.MustCompile(`range[^}]*[0-9]|(?s:range.*range.*range)`)

// A template never panics and its output is bounded; without actions it is itself.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"{{.hostname}}", "plain", `a\tb\n`, "{{range .addresses}}{{.ip}}{{end}}", "{{/* comment */}}", "{{.x", "{{json .}}", "{{- .id -}}", "{{index .attributes \"a\"}}",
		"{{block \"b\" .}}{{end}}", "{{$}}", "{{(.hostname)}}", "{{.hostname.x}}", "{{call .hostname}}", "{{slice .hostname 1 99}}", "{{html .id}}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if loops.MatchString(text) {
			return
		}
		got, err := cli.Template(text, templateRow())
		if err == nil && !strings.Contains(text, "{{") && !strings.Contains(text, `\`) && got != text {
			t.Fatalf("%q became %q", text, got)
		}
		if len(got) > 1<<20 {
			t.Fatalf("%d bytes", len(got))
		}
	})
}

func FuzzAttribute(f *testing.F) {
	for _, s := range []string{"hostname=web-1", "a=b=c", "=", "a=", "=b", "", " a=b", "a=\x00", "port=22"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, v, _ := strings.Cut(s, "=")
		ok := k != "" && v != "" && len(s) <= 512 && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, unicode.IsControl)
		if err := cli.CheckAttribute(s); (err == nil) != ok {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
