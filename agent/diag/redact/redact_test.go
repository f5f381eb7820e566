package redact_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"

	"weft/agent/diag/redact"
)

func TestText_Secrets(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv"))
	for _, tt := range []struct{ name, text, secret string }{
		{"a WireGuard key", "private " + key + " of the device", key},
		{"a key in hex", "key=" + hex.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv")), hex.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv"))},
		{"a PEM key", "-----BEGIN OPENSSH PRIVATE KEY-----\nQUJDREVG\nR0hJSktM\n-----END OPENSSH PRIVATE KEY-----", "R0hJSktM"},
		{"a PEM key that was cut off", "-----BEGIN PRIVATE KEY-----\nQUJDREVGR0hJSktM", "QUJDREVGR0hJSktM"},
		{"a PEM certificate in JSON", `{"ca":"-----BEGIN CERTIFICATE-----\nTUlJQmZqQ0NBU1dn\n-----END CERTIFICATE-----\n"}`, "TUlJQmZqQ0NBU1dn"},
		{"a device token", "sent weft_dev_AbC-123_x to control", "weft_dev_AbC-123_x"},
		{"a gateway token", "weft_gw_0123", "weft_gw_0123"},
		{"an enrolment string", "registration new weft1.aHR0cHM.Zm9v-bar", "aHR0cHM.Zm9v-bar"},
		{"a connector token", "token eyJhIjoiYWNjIiwidCI6InR1biIsInMiOiJzZWNyZXQifQ==", "eyJhIjoiYWNjIiwidCI6InR1biIsInMiOiJzZWNyZXQifQ"},
		{"a bearer", "Authorization: Bearer abcd1234", "abcd1234"},
		{"a basic login", "authorization=\"Basic dXNlcjpwYXNz\"", "dXNlcjpwYXNz"},
		{"a password in a URL", "proxy http://jdoe:hunter2@proxy:3128/", "hunter2"},
		{"a password with an at sign in a URL", "proxy http://jdoe:hun@ter2@proxy:3128/", "ter2"},
		{"a password in a URL in JSON", `{"proxy":"http:\/\/jdoe:hunter2@proxy"}`, "hunter2"},
		{"a password in JSON", `{"password": "hunter2"}`, "hunter2"},
		{"a password in JSON in JSON", `{"body":"{\"password\":\"hunter2\"}"}`, "hunter2"},
		{"a password in logfmt", "msg=login proxy_password=hunter2 user=jdoe", "hunter2"},
		{"a quoted password in logfmt", `msg=login password="hunter 2" user=jdoe`, "hunter 2"},
		{"a secret in YAML", "client_secret: s3cr3t", "s3cr3t"},
		{"a cookie", "Cookie: session=abcdef", "abcdef"},
		{"somebody else's token", "ghp_0123456789abcdefghij", "ghp_0123456789abcdefghij"},
		{"a JWT", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "c2lnbmF0dXJl"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := redact.New(false).Text(tt.text)
			if strings.Contains(got, tt.secret) || !strings.Contains(got, redact.Mark) {
				t.Errorf("%q became %q", tt.text, got)
			}
		})
	}
}

func TestText_KeepsWhatHelps(t *testing.T) {
	for _, text := range []string{
		"time=2026-11-22T18:00:00Z level=INFO msg=\"link is up\" reason=starting rtt=1.2ms",
		"socket /run/user/1000/weft/agent-with-a-rather-long-name/warp.sock",
		`{"key_store":"file","connect":true,"token_known":true}`,
		"gateway gw at 203.0.113.7:51820 does not answer",
		"the certificate by Weft control CA 2026-11-22 is not the registration's",
		"https://control.example.net:8443/weft/v1/agent/sync",
	} {
		if got := redact.New(false).Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestSecret_InEveryForm(t *testing.T) {
	const secret = "p@ss w0rd/that?is&known"
	s := redact.New(false)
	s.Secret(secret)
	for _, form := range []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
	} {
		if got := s.Text("it is " + form + "."); strings.Contains(got, form) {
			t.Errorf("%q is still there", form)
		}
	}
}

func TestText_Anonymous(t *testing.T) {
	s := redact.New(true)
	s.Name("host", "web-1", "laptop")
	s.Name("user", "jdoe")
	text := "jdoe@company.com on laptop reached Web-1 (10.20.0.5, 2001:4860::8888) as jdoe by https://control.company.com:8443; web-10 and 127.0.0.1 stay"
	got := s.Text(text)
	for _, gone := range []string{"jdoe", "company", "laptop", "Web-1 ", "10.20.0.5", "4860"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q is still in %q", gone, got)
		}
	}
	for _, kept := range []string{"web-10", "127.0.0.1", "8443", "@example.invalid"} {
		if !strings.Contains(got, kept) {
			t.Errorf("%q is not in %q", kept, got)
		}
	}
	if again := s.Text(text); again != got {
		t.Errorf("the same text became %q, then %q", got, again)
	}
	if one, other := s.Text("10.20.0.5"), s.Text("10.20.0.6"); one == other || !strings.Contains(got, one) {
		t.Errorf("%s and %s", one, other)
	}
	if twice := redact.New(true).Text(redact.New(true).Text(text)); strings.Contains(twice, "company") {
		t.Errorf("twice: %q", twice)
	}
}

// FuzzText: whatever is around it, a known secret does not come through, and nothing that was gone comes back.
func FuzzText(f *testing.F) {
	f.Add("before ", " after")
	f.Add(`{"token":"`, `"}`)
	f.Add("http://u:", "@h/")
	f.Add("-----BEGIN ", "-----END")
	f.Add("a\"\\", "\\\"")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "Tr0ub4dor-and-3-more"
		for _, anonymize := range []bool{false, true} {
			s := redact.New(anonymize)
			s.Secret(secret)
			s.Name("user", "jdoe")
			if got := s.Text(before + secret + after); strings.Contains(got, secret) && !strings.Contains(before+after, secret) {
				t.Errorf("%q", got)
			}
		}
	})
}
