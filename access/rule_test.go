package access_test

import (
	"encoding/json"
	"strings"
	"testing"

	"weft/access"
	"weft/internal/kind"
)

func TestRule_JSONRoundTrip(t *testing.T) {
	for _, text := range append([]string{
		`{"email":{"email":"JDoe@Company.com"}}`,
		`{"okta":{"name":"a \"quoted\" name, \u003ctags\u003e","identity_provider_id":"x"}}`,
		`{"external_evaluation":{"evaluate_url":"https://e.example","keys_url":"https://k.example"}}`,
		`{"certificate":{}}`,
		`{"from_the_future":[1,{"a":null}]}`,
	}, ruleText...) {
		t.Run(text, func(t *testing.T) {
			var r access.Rule
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != text {
				t.Errorf("written back as %s", got)
			}
		})
	}
}

func TestRule_ReadsWhatProvidersWrite(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"a removed selector as null", `{"email":null,"group":{"id":"g"}}`, `{"group":{"id":"g"}}`},
		{"an absent provider as null", `{"okta":{"name":"g","identity_provider_id":null}}`, `{"okta":{"name":"g"}}`},
		{"an absent team as empty", `{"github-organization":{"name":"g","team":""}}`, `{"github-organization":{"name":"g"}}`},
		{"blanks", " {\n\"everyone\" : { } } ", `{"everyone":{}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r access.Rule
			if err := json.Unmarshal([]byte(tt.text), &r); err != nil {
				t.Fatal(err)
			}
			if got, err := json.Marshal(r); err != nil || string(got) != tt.want {
				t.Errorf("read as %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

// TestRule_UnmarshalRefuses calls the method itself: encoding/json would catch
// some of these before, but other callers exist.
func TestRule_UnmarshalRefuses(t *testing.T) {
	tests := []struct{ name, text, says string }{
		{"nothing", ``, "not an object"},
		{"null", `null`, "not an object"},
		{"a string", `"everyone"`, "not an object"},
		{"an array", `[{"everyone":{}}]`, "not an object"},
		{"no selector", `{}`, "without a selector"},
		{"only null", `{"email":null}`, "without a selector"},
		{"two selectors", `{"everyone":{},"email":{"email":"a@b.c"}}`, `"everyone" and "email"`},
		{"the same key twice", `{"email":{"email":"a@b.c"},"email":{"email":"d@e.f"}}`, "stands twice"},
		{"the same key twice by escape", `{"email":{"email":"a@b.c"},"\u0065mail":{"email":"d@e.f"}}`, "stands twice"},
		{"the same field twice", `{"email":{"email":"a@b.c","email":"d@e.f"}}`, "stands twice"},
		{"an unknown field", `{"email":{"email":"a@b.c","and":"more"}}`, `no field "and"`},
		{"a field in another case", `{"email":{"Email":"a@b.c"}}`, `no field "Email"`},
		{"a field of another selector", `{"email":{"email":"a@b.c","identity_provider_id":"x"}}`, "no field"},
		{"a missing field", `{"saml":{"attribute_name":"a"}}`, "needs attribute_value"},
		{"an empty field", `{"email":{"email":""}}`, "needs email"},
		{"a list without its ID", `{"email_list":{}}`, "needs id"},
		{"a list by its name", `{"ip_list":{"name":"offices"}}`, `no field "name"`},
		{"a list of a provider", `{"email_list":{"id":"x","identity_provider_id":"y"}}`, "no field"},
		{"a number", `{"email":{"email":1}}`, "must be a string"},
		{"a list", `{"email":{"email":["a@b.c"]}}`, "must be a string"},
		{"a selector that is no object", `{"everyone":true}`, "not an object"},
		{"text behind", `{"everyone":{}} {}`, "text behind"},
		{"cut off", `{"everyone":{}`, "malformed"},
		{"cut off inside", `{"everyone":{`, "malformed"},
		{"invalid UTF-8", "{\"okta\":{\"name\":\"\xff\"}}", "UTF-8"},
		{"an empty selector", `{"":{}}`, "1 to 64 bytes"},
		{"a long selector", `{"` + strings.Repeat("x", 65) + `":{}}`, "1 to 64 bytes"},
		{"a huge rule", `{"okta":{"name":"` + strings.Repeat("x", access.MaxRuleBytes) + `"}}`, "the limit is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r access.Rule
			err := r.UnmarshalJSON([]byte(tt.text))
			if !kind.Is(err, kind.Invalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v; want an invalid error that says %q", err, tt.says)
			}
			if !r.Equal(access.Rule{}) {
				t.Errorf("the rule was changed to %v", r)
			}
		})
	}
}

func TestRule_ValidateRefuses(t *testing.T) {
	tests := []struct{ name, text, says string }{
		{"an unsupported selector", `{"certificate":{}}`, `selector "certificate" is not supported`},
		{"another", `{"common_name":{"common_name":"x"}}`, `selector "common_name" is not supported`},
		{"an unknown selector", `{"emial":{"email":"a@b.c"}}`, `selector "emial" is unknown`},
		{"a selector in another case", `{"Everyone":{}}`, `selector "Everyone" is unknown`},
		{"no e-mail address", `{"email":{"email":"company.com"}}`, "an e-mail address"},
		{"a wildcard", `{"email":{"email":"a@*.company.com"}}`, "an e-mail address"},
		{"two '@'", `{"email":{"email":"a@b@company.com"}}`, "an e-mail address"},
		{"a blank", `{"email":{"email":"a@company.com "}}`, "an e-mail address"},
		{"a domain with '@'", `{"email_domain":{"domain":"@company.com"}}`, "without '@'"},
		{"a domain with a dot before", `{"email_domain":{"domain":".company.com"}}`, "a domain such as"},
		{"host bits", `{"ip":{"ip":"10.0.0.1/8"}}`, "without host bits"},
		{"no address", `{"ip":{"ip":"office"}}`, "an IP address"},
		{"a zone", `{"ip":{"ip":"fe80::1%eth0"}}`, "an IP address"},
		{"an IPv4-mapped address", `{"ip":{"ip":"::ffff:10.0.0.1"}}`, "an IP address"},
		{"an IPv4-mapped prefix", `{"ip":{"ip":"::ffff:10.0.0.0/104"}}`, "an IP address"},
		{"a country name", `{"geo":{"country_code":"Portugal"}}`, "two letters"},
		{"a control character", `{"okta":{"name":"a\u0000b"}}`, "control characters"},
		{"a long value", `{"okta":{"name":"` + strings.Repeat("x", 1025) + `"}}`, "1 to 1024 bytes"},
		{"a control character in the provider", `{"okta":{"name":"a","identity_provider_id":"\n"}}`, "identity_provider_id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := mustRule(tt.text)
			if err := r.Validate(); !kind.Is(err, kind.Invalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v; want an invalid error that says %q", err, tt.says)
			}
			in := demo()
			in.Applications[0].Policies[0].Include = []access.Rule{r}
			if err := in.Applications[0].Validate(); !kind.Is(err, kind.Invalid) {
				t.Errorf("the application is valid: %v", err)
			}
		})
	}
	if err := (access.Rule{}).Validate(); !kind.Is(err, kind.Invalid) {
		t.Errorf("the zero rule: %v", err)
	}
	if _, err := json.Marshal(access.Rule{}); err == nil {
		t.Error("the zero rule has a wire form")
	}
	for _, text := range ruleText[:len(ruleText)-2] {
		if err := mustRule(text).Validate(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzRuleJSON(f *testing.F) {
	for _, text := range ruleText {
		f.Add([]byte(text))
	}
	for _, text := range []string{`{"email":null,"everyone":{}}`, `{"a":{"b":[1,2]}}`, `{"okta":{"name":"\ud800"}}`, `{"email":{"email":"a@b.c"},"email":{}}`, `{"x":"\u2028"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r access.Rule
		if err := r.UnmarshalJSON(b); err != nil {
			if !kind.Is(err, kind.Invalid) {
				t.Fatalf("not an invalid error: %v", err)
			}
			return
		}
		if !json.Valid(b) {
			t.Fatalf("read what is not JSON: %q", b)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again access.Rule
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("%s is not read back: %v", text, err)
		}
		if twice, err := json.Marshal(again); err != nil || string(twice) != string(text) {
			t.Fatalf("%s is read back as %s, %v", text, twice, err)
		}
		if r.Validate() == nil && again.Validate() != nil {
			t.Fatalf("%s is no longer valid", text)
		}
	})
}

func TestValidateLogin(t *testing.T) {
	for _, s := range []string{"root", "ec2-user", "jdoe", "J.Doe", "_apt", "0day", "1000", "user+tag", "host$", `CORP\jdoe`, `corp.example\j.doe`, strings.Repeat("a", 255)} {
		if err := access.ValidateLogin(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", " ", "a b", "-oProxyCommand=x", ".", "..", ".ssh", "a/b", "a:b", "a@b", "%u", "a%", "a\x00", "a\n", "a\tb", "a$b", "$", "*", "a,b", "a;b", "a'b", "a\"b", "a`b`", "a&b", "a|b",
		"~", "#a", "a\u00e9", "\u212Aim", "a\xff", `\a`, `a\`, `a\b\c`, `a$\b`, `a\-b`, strings.Repeat("a", 256),
	} {
		if err := access.ValidateLogin(s); !kind.Is(err, kind.Invalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestEmailAlias(t *testing.T) {
	tests := []struct{ email, want string }{
		{"Jdoe@company.com", "jdoe"},
		{"j.doe+ssh@company.com", "j.doe+ssh"},
		{"", ""},
		{"jdoe", ""},
		{"@company.com", ""},
		{"jdoe@", ""},
		{"a@b@company.com", ""},
		{`"a b"@company.com`, ""},
		{`corp\jdoe@company.com`, ""},
		{"pc$@company.com", ""},
		{"-jdoe@company.com", ""},
		{"\u212Aim@company.com", ""},
		{"j/doe@company.com", ""},
		{strings.Repeat("A", 255) + "@c.example", strings.Repeat("a", 255)},
		{strings.Repeat("a", 256) + "@c.example", ""},
	}
	for _, tt := range tests {
		if got := access.EmailAlias(tt.email); got != tt.want {
			t.Errorf("EmailAlias(%q) = %q; want %q", tt.email, got, tt.want)
		}
	}
}

// FuzzLogin checks that no login is granted that is not a UNIX user.
func FuzzLogin(f *testing.F) {
	for _, s := range []string{"jdoe@company.com", "-a@company.com", "a@b@company.com", "\u212Aim@company.com", "A.B+C@company.com", `C\a@company.com`} {
		f.Add(s, "jdoe")
	}
	in := demo()
	in.Applications[0].Policies[0].Include = []access.Rule{access.Everyone()}
	in.Applications[0].Policies[0].SSH = &access.SSHRules{AllowEmailAlias: true}
	s, err := access.Compile(in)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, email, login string) {
		alias := access.EmailAlias(email)
		if alias != "" && access.ValidateLogin(alias) != nil {
			t.Fatalf("the alias %q of %q is not a UNIX user", alias, email)
		}
		for _, l := range []string{login, alias} {
			q := access.Query{Identity: user(email), Device: device(), VNET: netA, Destination: seedDestination, Transport: "tcp", Login: l}
			if got, want := access.Evaluate(s, q).Allow, alias != "" && (l == alias || l == ""); got != want {
				t.Fatalf("%q as %q: %v; want %v", email, l, got, want)
			}
		}
	})
}
