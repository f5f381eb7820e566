package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weft/api"
	"weft/internal/kind"
)

// issue makes a certificate signed by parent (nil: by itself).
func issue(t *testing.T, template *x509.Certificate, parent *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	signer, signerKey := template, any(key)
	if parent != nil {
		signer, signerKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, key.Public(), signerKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func authority(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	return issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
}

func serverCert(t *testing.T, ca *tls.Certificate, ip string) *tls.Certificate {
	t.Helper()
	return issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.ParseIP(ip)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca)
}

func serve(t *testing.T, chain tls.Certificate, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{chain}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"success":true,"errors":[],"messages":[],"result":{"email":"a@b.c"}}`)
})

func TestClient_PinsTheAuthority(t *testing.T) {
	ca, other := authority(t, "ours"), authority(t, "another")
	leaf := serverCert(t, ca, "127.0.0.1")
	chain := func(certs ...*tls.Certificate) tls.Certificate {
		c := *certs[0]
		c.Certificate = nil
		for _, x := range certs {
			c.Certificate = append(c.Certificate, x.Certificate[0])
		}
		return c
	}
	for _, tc := range []struct {
		name  string
		chain tls.Certificate
		pin   *tls.Certificate
		good  bool
	}{
		{"the chain holds the authority", chain(leaf, ca), ca, true},
		{"the chain holds more", chain(leaf, other, ca), ca, true},
		{"the authority is not presented", chain(leaf), ca, false},
		{"another authority signed", chain(serverCert(t, other, "127.0.0.1"), other), ca, false},
		{"the authority is presented beside a leaf of another", chain(serverCert(t, other, "127.0.0.1"), ca, other), ca, false},
		{"the leaf is for another host", chain(serverCert(t, ca, "127.0.0.2"), ca), ca, false},
		{"the pin is the leaf's", chain(leaf, ca), leaf, false},
		{"a second leaf of the authority is no authority", chain(serverCert(t, leaf, "127.0.0.1"), leaf, ca), ca, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, tc.chain, ok)
			c, err := api.NewClient(api.ClientConfig{BaseURL: s.URL, CAFingerprint: api.Fingerprint(tc.pin.Certificate[0])})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.Do(t.Context(), http.MethodGet, "/x", nil, nil)
			if tc.good && err != nil || !tc.good && !kind.Is(err, kind.Unavailable) {
				t.Errorf("error is %v", err)
			}
			if !tc.good && err != nil && !strings.Contains(err.Error(), "not trusted") {
				t.Errorf("the error does not say that the certificate is not trusted: %v", err)
			}
		})
	}
}

// trusting is a client of a server with the given handler.
func trusting(t *testing.T, h http.Handler) *api.Client {
	t.Helper()
	ca := authority(t, "ours")
	s := serve(t, *serverCert(t, ca, "127.0.0.1"), h)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	c, err := api.NewClient(api.ClientConfig{BaseURL: s.URL, Roots: roots, Token: "secret-token"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClient_DoDecodesTheResult(t *testing.T) {
	var got http.Header
	c := trusting(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		ok(w, r)
	}))
	var out struct{ Email string }
	if err := c.Do(t.Context(), http.MethodPost, "/x", map[string]int{"a": 1}, &out); err != nil || out.Email != "a@b.c" {
		t.Errorf("result %+v, error %v", out, err)
	}
	if got.Get("Authorization") != "Bearer secret-token" || got.Get("Content-Type") != "application/json" {
		t.Errorf("headers are %v", got)
	}
}

func TestClient_DoErrors(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, tc := range []struct {
		name    string
		h       http.HandlerFunc
		want    kind.Kind
		message string
	}{
		{"the kind that the server names", answer(400, `{"success":false,"errors":[{"code":1,"message":"taken","kind":"conflict","hint":"h","source":{"pointer":"/a"}}]}`), kind.Conflict, "taken"},
		{"the kind of a status", answer(404, `{"success":false,"errors":[{"code":1,"message":"gone"}]}`), kind.NotFound, "gone"},
		{"no JSON", answer(502, `<html>`), kind.Unavailable, "502"},
		{"unauthenticated", answer(401, `{}`), kind.Unauthenticated, "401"},
		{"denied", answer(403, `{}`), kind.Denied, "403"},
		{"too many", answer(429, `{}`), kind.Limit, "429"},
		{"success that is none", answer(200, `{"success":false,"errors":[{"message":"no"}]}`), kind.Invalid, "no"},
		{"a result of another form", answer(200, `{"success":true,"result":[]}`), kind.Unavailable, "understood"},
		{"an answer without end", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(" ", api.MaxResponseBytesForTest+1))
		}, kind.Unavailable, "larger"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/y", http.StatusFound) }, kind.Unavailable, "redirect"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out struct{}
			err := trusting(t, tc.h).Do(t.Context(), http.MethodGet, "/x", nil, &out)
			if !kind.Is(err, tc.want) || !strings.Contains(err.Error(), tc.message) {
				t.Errorf("error is %q of kind %q, want %q of kind %q", err, kind.Of(err), tc.message, tc.want)
			}
			if strings.Contains(err.Error(), "secret-token") {
				t.Errorf("the error repeats the token: %v", err)
			}
		})
	}
}

func TestClient_Unreachable(t *testing.T) {
	c, err := api.NewClient(api.ClientConfig{BaseURL: "https://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), http.MethodGet, "/x", nil, nil); !kind.Is(err, kind.Unavailable) {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ctx, http.MethodGet, "/x", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestClient_RefusesOldTLS(t *testing.T) {
	ca := authority(t, "ours")
	s := httptest.NewUnstartedServer(ok)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*serverCert(t, ca, "127.0.0.1")}, MaxVersion: tls.VersionTLS12}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	c, err := api.NewClient(api.ClientConfig{BaseURL: s.URL, Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), http.MethodGet, "/x", nil, nil); !kind.Is(err, kind.Unavailable) {
		t.Errorf("error is %v", err)
	}
}

func TestNewClient_Refuses(t *testing.T) {
	for _, cfg := range []api.ClientConfig{
		{},
		{BaseURL: "http://c"},
		{BaseURL: "https://c?x=1"},
		{BaseURL: "https://c", CAFingerprint: "00"},
		{BaseURL: "://"},
		{BaseURL: "https://c", CAFingerprint: strings.Repeat("00", 32), Roots: x509.NewCertPool()},
	} {
		if _, err := api.NewClient(cfg); !kind.Is(err, kind.Invalid) {
			t.Errorf("%q, %q: error is %v", cfg.BaseURL, cfg.CAFingerprint, err)
		}
	}
}
