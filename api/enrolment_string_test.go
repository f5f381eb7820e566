package api_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/api"
	"weft/internal/kind"
)

const secretText = "weft_key_0123456789abcdefghijklmnopqrstuvwxyzABCDEF"

func wrap(json string) string { return "weft1." + base64.RawURLEncoding.EncodeToString([]byte(json)) }

func TestEnrolmentString_RoundTrip(t *testing.T) {
	for _, e := range []api.EnrolmentString{
		{ControlURL: "https://control.example:8443", CAFingerprint: strings.Repeat("0a", 32), Key: secretText},
		{ControlURL: "https://[::1]:8443", Key: "k"},
	} {
		got, err := api.ParseEnrolmentString(" " + e.Encode() + "\n")
		if err != nil {
			t.Errorf("%s: %v", e.ControlURL, err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
	}
}

func TestParseEnrolmentString_Refuses(t *testing.T) {
	good := `{"u":"https://control","f":"","k":"` + secretText + `"}`
	for _, tc := range []struct{ name, in, says string }{
		{"nothing", "", "begin"},
		{"another prefix", "weft2." + wrap(good)[6:], "begin"},
		{"too long", "weft1." + strings.Repeat("A", 5000), "longer"},
		{"no base64", "weft1.****", "damaged"},
		{"cut off", wrap(good)[:40], "damaged"},
		{"an unknown field", wrap(`{"u":"https://c","f":"","k":"k","x":1}`), "damaged"},
		{"more after the value", wrap(good + `{}`), "damaged"},
		{"plain http", wrap(`{"u":"http://c","f":"","k":"k"}`), "https"},
		{"a URL with a password", wrap(`{"u":"https://a:` + secretText + `@c","f":"","k":"k"}`), "https"},
		{"a URL with a query", wrap(`{"u":"https://c?x","f":"","k":"k"}`), "https"},
		{"no host", wrap(`{"u":"https://","f":"","k":"k"}`), "https"},
		{"a short fingerprint", wrap(`{"u":"https://c","f":"00","k":"k"}`), "fingerprint"},
		{"no key", wrap(`{"u":"https://c","f":"","k":""}`), "key"},
		{"a key with a space", wrap(`{"u":"https://c","f":"","k":"` + secretText + ` "}`), "key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := api.ParseEnrolmentString(tc.in)
			if !kind.Is(err, kind.Invalid) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error is %v, want one about %q", err, tc.says)
			}
			if strings.Contains(err.Error(), secretText) {
				t.Errorf("the error repeats the secret: %v", err)
			}
		})
	}
}

func FuzzParseEnrolmentString(f *testing.F) {
	f.Add(wrap(`{"u":"https://control:8443","f":"","k":"secret"}`))
	f.Add(wrap(`{"u":"https://[::1%25eth0]","f":"","k":"a"}`))
	f.Add("weft1.")
	f.Add(wrap(`[]`))
	f.Fuzz(func(t *testing.T, s string) {
		e, err := api.ParseEnrolmentString(s)
		if err != nil {
			if !kind.Is(err, kind.Invalid) {
				t.Fatalf("error of kind %q: %v", kind.Of(err), err)
			}
			return
		}
		again, err := api.ParseEnrolmentString(e.Encode())
		if err != nil || again != e {
			t.Fatalf("%q reads as %+v, and that back as %+v, %v", s, e, again, err)
		}
	})
}

func TestConnectorToken_RoundTrip(t *testing.T) {
	want := api.ConnectorToken{
		AccountID: strings.Repeat("0f", 16), TunnelID: "c77b744e-acc8-428f-9257-6878c046ed55", Secret: []byte(strings.Repeat("s", 32)),
	}
	got, err := api.ParseConnectorToken(want.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestParseConnectorToken_Refuses(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 32)))
	token := func(account, tunnel, secret string) string {
		return base64.StdEncoding.EncodeToString([]byte(`{"a":"` + account + `","t":"` + tunnel + `","s":"` + secret + `"}`))
	}
	const account, tunnel = "0123456789abcdef0123456789abcdef", "c77b744e-acc8-428f-9257-6878c046ed55"
	for _, tc := range []struct{ name, in, says string }{
		{"nothing", "", "JSON"},
		{"no base64", "!", "base64"},
		{"too long", strings.Repeat("A", 3000), "longer"},
		{"another account form", token("x", tunnel, secret), "account"},
		{"another tunnel form", token(account, "x", secret), "tunnel"},
		{"a short secret", token(account, tunnel, "c2hvcnQ="), "secret"},
		{"a secret that is no base64", token(account, tunnel, "***"), "JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := api.ParseConnectorToken(tc.in)
			if !kind.Is(err, kind.Invalid) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error is %v, want one about %q", err, tc.says)
			}
		})
	}
}

func FuzzParseConnectorToken(f *testing.F) {
	f.Add(api.ConnectorToken{AccountID: strings.Repeat("0f", 16), TunnelID: "c77b744e-acc8-428f-9257-6878c046ed55", Secret: make([]byte, 32)}.Encode())
	f.Add("e30=")
	f.Add("eyJhIjoxfQ==")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := api.ParseConnectorToken(s)
		if err != nil {
			if !kind.Is(err, kind.Invalid) {
				t.Fatalf("error of kind %q: %v", kind.Of(err), err)
			}
			return
		}
		again, err := api.ParseConnectorToken(tok.Encode())
		if err != nil || cmp.Diff(tok, again) != "" {
			t.Fatalf("%q reads as %+v, and that back as %+v, %v", s, tok, again, err)
		}
	})
}
