package api_test

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"weft/api"
)

// TestClient_Abandon: a stream that has just been cancelled leaves no connection open behind a client that is abandoned.
func TestClient_Abandon(t *testing.T) {
	var open atomic.Int64
	streaming := make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		streaming <- struct{}{}
		<-r.Context().Done()
	}))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		switch st {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		case http.StateActive, http.StateIdle:
		}
	}
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, err := api.NewClient(api.ClientConfig{BaseURL: s.URL, Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- api.Watch(ctx, c, api.PathAgentSync, api.WatchConfig[api.AgentState]{}) }()
		<-streaming
		cancel()
		if err := <-ended; err == nil {
			t.Fatal("the stream ended without an error")
		}
		c.Abandon()
		for end := time.Now().Add(5 * time.Second); open.Load() != 0; {
			if time.Now().After(end) {
				t.Fatalf("%d connections are open", open.Load())
			}
			<-time.After(time.Millisecond)
		}
	}
}
