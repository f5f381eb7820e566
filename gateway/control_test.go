package gateway_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/vnet"
)

// fakeControl plays the control plane: two streams, the report and the certificates.
type fakeControl struct {
	tb     testing.TB
	server *httptest.Server
	ca     ssh.Signer

	mu       sync.Mutex
	revision uint64
	state    api.GatewayState
	report   *api.GatewayReport
	changed  chan struct{}   // closed at every change
	blocked  map[string]bool // paths that answer 503
	streams  map[string][]chan struct{}
	lies     map[string]bool // tunnels whose connectors get a wrong key

	asked   atomic.Pointer[api.CertificateRequest] // last
	forge   atomic.Pointer[func(*ssh.Certificate)] // changes certificates before they are signed
	revoked atomic.Pointer[api.RevokeCertificates] // last
	hostCA  atomic.Pointer[hostCA]                 // nil: a control plane that signs no host keys
	asks    atomic.Pointer[asker]                  // nil: a control plane that asks nothing
}

// lie gives the connectors of a tunnel a wrong key.
func (c *fakeControl) lie(tunnel string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lies[tunnel] = true
}

func (c *fakeControl) reported() api.GatewayReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.report
}

func newFakeControl(tb testing.TB, st api.GatewayState) *fakeControl {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	ca, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	st.Self.SSHCAPublicKey = string(ssh.MarshalAuthorizedKey(ca.PublicKey()))
	c := &fakeControl{
		tb: tb, ca: ca, revision: 1, state: st, changed: make(chan struct{}),
		blocked: make(map[string]bool), streams: make(map[string][]chan struct{}), lies: make(map[string]bool),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+api.PathGatewaySelf, c.putReport)
	mux.HandleFunc("GET "+api.PathGatewaySync, c.syncGateway)
	mux.HandleFunc("GET "+api.PathConnectorSync, c.syncConnector)
	mux.HandleFunc("POST "+api.PathGatewayCertificate, c.certificate)
	mux.HandleFunc("POST "+api.PathGatewaySSHRevoke, func(w http.ResponseWriter, r *http.Request) {
		var in api.RevokeCertificates
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.revoked.Store(&in)
		answer(w, api.RevokedCertificates{Revoked: 1})
	})
	mux.HandleFunc("POST "+api.PathGatewayHostCertificate, func(w http.ResponseWriter, r *http.Request) {
		if ca := c.hostCA.Load(); ca != nil {
			ca.serve(w, r)
			return
		}
		http.NotFound(w, r)
	})
	mux.HandleFunc("GET "+api.PathGatewayQuestions, func(w http.ResponseWriter, r *http.Request) {
		if a := c.asks.Load(); a != nil {
			a.serve(w, r)
			return
		}
		http.NotFound(w, r)
	})
	mux.HandleFunc("POST "+api.PathGatewayAnswers, func(w http.ResponseWriter, r *http.Request) { c.asks.Load().hear(w, r) })
	c.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		blocked := c.blocked[r.URL.Path]
		c.mu.Unlock()
		if blocked {
			http.Error(w, "blocked", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	tb.Cleanup(func() {
		c.server.CloseClientConnections()
		c.server.Close()
	})
	return c
}

func (c *fakeControl) client(token string) *api.Client {
	c.tb.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(c.server.Certificate())
	client, err := api.NewClient(api.ClientConfig{BaseURL: c.server.URL, Token: api.Secret(token), Roots: roots})
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(client.Close)
	return client
}

// update changes the state; every stream hears of it.
func (c *fakeControl) update(f func(*api.GatewayState)) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := json.Marshal(c.state)
	if err != nil {
		c.tb.Fatal(err)
	}
	var next api.GatewayState
	if err := json.Unmarshal(b, &next); err != nil {
		c.tb.Fatal(err)
	}
	f(&next)
	c.state = next
	c.bumpLocked()
	return c.revision
}

func (c *fakeControl) bumpLocked() {
	c.revision++
	close(c.changed)
	c.changed = make(chan struct{})
}

// block makes a path answer 503 and breaks its streams, or undoes that.
func (c *fakeControl) block(path string, on bool) {
	c.mu.Lock()
	c.blocked[path] = on
	streams := c.streams[path]
	c.streams[path] = nil
	c.mu.Unlock()
	if on {
		for _, s := range streams {
			close(s)
		}
	}
}

func (c *fakeControl) putReport(w http.ResponseWriter, r *http.Request) {
	var rep api.GatewayReport
	if err := json.NewDecoder(r.Body).Decode(&rep); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.report = &rep
	c.bumpLocked()
	c.mu.Unlock()
	answer(w, struct{}{})
}

func answer(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.NewEncoder(w).Encode(api.Envelope{
			Success: true, Errors: []api.ErrorItem{}, Messages: []api.ErrorItem{}, Result: b,
		})
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (c *fakeControl) syncGateway(w http.ResponseWriter, r *http.Request) {
	c.stream(w, r, func() any { return c.state })
}

// syncConnector reads the tunnel from the bearer token, which is its ID.
func (c *fakeControl) syncConnector(w http.ResponseWriter, r *http.Request) {
	tunnel := r.Header.Get("Authorization")[len("Bearer "):]
	c.stream(w, r, func() any {
		st := api.ConnectorState{
			Self:     api.ConnectorSyncSelf{TunnelID: vnet.TunnelID(tunnel)},
			Gateways: map[string]api.ConnectorGateway{}, Routes: map[string]api.WireRoute{},
		}
		key := c.state.Tunnels[tunnel].Key
		if c.lies[tunnel] {
			key = randomKey(c.tb)
		}
		if c.report != nil {
			st.Gateways["gw"] = api.ConnectorGateway{
				ID: "gw", Endpoints: c.report.ConnectorEndpoints, CertificateSHA256: c.report.CertificateSHA256,
				Key: key,
			}
		}
		for k, r := range c.state.Routes {
			if string(r.Tunnel) == tunnel {
				st.Routes[k] = r
			}
		}
		return st
	})
}

// stream sends a snapshot at every change. state is called with the lock held.
func (c *fakeControl) stream(w http.ResponseWriter, r *http.Request, state func() any) {
	cut := make(chan struct{})
	c.mu.Lock()
	c.streams[r.URL.Path] = append(c.streams[r.URL.Path], cut)
	c.mu.Unlock()
	for {
		c.mu.Lock()
		changed, revision := c.changed, c.revision
		b, err := json.Marshal(state())
		c.mu.Unlock()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		e := api.Event{Type: api.EventSnapshot, Revision: revision, State: b}
		if err := json.NewEncoder(w).Encode(e); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-changed:
		case <-cut:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (c *fakeControl) certificate(w http.ResponseWriter, r *http.Request) {
	var q api.CertificateRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(q.PublicKey))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	cert := &ssh.Certificate{
		Key: pub, Serial: 1, CertType: ssh.UserCert, KeyId: q.SessionID, ValidPrincipals: []string{q.Login},
		ValidAfter: uint64(now.Add(-time.Minute).Unix()), ValidBefore: uint64(now.Add(2 * time.Minute).Unix()),
		Permissions: ssh.Permissions{Extensions: map[string]string{"permit-pty": ""}},
	}
	if q.SourceAddress.IsValid() {
		cert.CriticalOptions = map[string]string{"source-address": netip.PrefixFrom(q.SourceAddress, q.SourceAddress.BitLen()).String()}
	}
	c.asked.Store(&q)
	if forge := c.forge.Load(); forge != nil {
		(*forge)(cert)
	}
	if err := cert.SignCert(rand.Reader, c.ca); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, api.Certificate{
		Certificate: string(ssh.MarshalAuthorizedKey(cert)), Serial: 1, ValidBefore: time.Unix(int64(cert.ValidBefore), 0),
	})
}

func randomKey(tb testing.TB) api.Secret {
	tb.Helper()
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		tb.Fatal(err)
	}
	return api.Secret(base64.StdEncoding.EncodeToString(b))
}

// pool is the tunnel address space of the tests.
var pool = vnet.Pool{V4: netip.MustParsePrefix("100.64.0.0/10"), V6: netip.MustParsePrefix("fd12:3456:789a::/48")}

// without returns m without a key.
func without[V any](m map[string]V, key string) map[string]V {
	c := maps.Clone(m)
	delete(c, key)
	return c
}
