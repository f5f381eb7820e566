package localapi_test

import (
	"strings"
	"testing"

	"weft/agent/localapi"
)

func TestValidProfileName(t *testing.T) {
	for name, want := range map[string]bool{
		"default": true, "acme": true, "acme-eu_2.test": true, "2": true, strings.Repeat("a", 32): true,
		"": false, "-acme": false, ".": false, "..": false, "a/b": false, "ACME": false, "a b": false, "a\n": false, "ä": false,
		strings.Repeat("a", 33): false,
	} {
		if got := localapi.ValidProfileName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// FuzzValidProfileName: a name is safe in a shell, a header, a table and a command line.
func FuzzValidProfileName(f *testing.F) {
	for _, s := range []string{"default", "acme-eu", "../x", "-rf", "a;b", "A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if localapi.ValidProfileName(s) && (s == "" || len(s) > localapi.MaxProfileName || s[0] == '-' || s[0] == '.' ||
			strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "") {
			t.Errorf("%q is a name", s)
		}
	})
}
