package render_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yaml "go.yaml.in/yaml/v3"

	"weft/agent/localapi"
	"weft/cli/render"
)

func TestYAML_Layout(t *testing.T) {
	l := render.List{SchemaVersion: 1, Revision: 7, AgeSeconds: 0.5, Targets: render.Rows([]localapi.Target{
		{
			ID: "0193f22a-9df3-78e3-b5bb-7ab631903306", Hostname: "web-1", Protocol: "SSH", Port: 22,
			Attributes: map[string]string{"hostname": "web-1", "norway": "no", "note": "a: b # c"},
			Addresses:  []localapi.Address{{IP: "10.0.0.1", VNETID: "v", VNETName: "a1net"}, {IP: "fd00::1", VNETID: "v", VNETName: "a1net"}},
			Usernames:  []string{"alice", "true"},
		},
		{Attributes: map[string]string{}, Addresses: []localapi.Address{}, Usernames: []string{}},
	})}
	const want = `schema_version: 1
revision: 7
age_seconds: 0.5
stale: false
targets:
  - id: "0193f22a-9df3-78e3-b5bb-7ab631903306"
    hostname: web-1
    protocol: SSH
    port: 22
    attributes:
      hostname: web-1
      norway: "no"
      note: "a: b # c"
    addresses:
      - ip: "10.0.0.1"
        vnet_id: v
        vnet_name: a1net
      - ip: "fd00::1"
        vnet_id: v
        vnet_name: a1net
    usernames:
      - alice
      - "true"
  - id: ""
    hostname: ""
    protocol: ""
    port: 0
    attributes: {}
    addresses: []
    usernames: []
`
	var b strings.Builder
	if err := render.YAML(&b, l); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("YAML (-want +got):\n%s", diff)
	}
}

// What is written is what a YAML library reads, whatever the JSON.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.5,-3e2,{"b":null},[[],{}],[["x"]]],"yes":"no","":"","é":"\u0085\u2028\ud83d\ude00"}`, `[]`, `"- a"`, `null`, `[[1,[2]],{"a":{"b":[]}}]`,
		`{"k":"a: b","l":"#","m":"1","n":".5","o":"~","p":"2026-01-01","q":"\ufeff","r":"\u0000\r\n\t"}`, `{"<<":"x","=":"y"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var v any
		if json.Unmarshal([]byte(s), &v) != nil || len(s) > 4096 {
			return
		}
		var b strings.Builder
		if err := render.YAML(&b, v); err != nil {
			t.Fatal(err)
		}
		var got any
		if err := yaml.Unmarshal([]byte(b.String()), &got); err != nil {
			t.Fatalf("the library refuses what was made of %s: %v\n%s", s, err, b.String())
		}
		if diff := cmp.Diff(v, numbers(got)); diff != "" {
			t.Fatalf("of %s was made\n%s\n(-JSON +YAML):\n%s", s, b.String(), diff)
		}
	})
}

// numbers makes every number a float64, as JSON has it.
func numbers(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}
