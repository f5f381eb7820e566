package sdk_test

import (
	"bufio"
	"net/http"
	"testing"

	"weft/api"
	"weft/control/controltest"
)

// connect opens the stream that a connector holds; it ends with the test. The control plane has it when this returns.
func connect(t *testing.T, s *controltest.Server, token string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+api.PathConnectorSync, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	stream, err := httpClient(t, s).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Body.Close() })
	if _, err := bufio.NewReader(stream.Body).ReadBytes('\n'); err != nil {
		t.Fatalf("the first event: %v", err)
	}
}
