package sdk_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"weft/control/controltest"
)

// httpClient trusts the server's own CA, as SSL_CERT_FILE does for a program. What the SDKs call with it is written down
// for the table in docs/sdk.md.
func httpClient(t *testing.T, s *controltest.Server) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: &witness{test: t.Name(), next: tr, described: describedBy(t, s)}}
}

// must ends the test at the first call that fails.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
