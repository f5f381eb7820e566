package agent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"weft/api"
)

// fakeControl is the control plane as an agent sees it: TLS with its own CA,
// one-shot enrolment keys, a device token, and the sync stream.
type fakeControl struct {
	tb     testing.TB
	caPEM  []byte
	caDER  []byte
	leaf   tls.Certificate
	server *httptest.Server
	addr   string

	mu       sync.Mutex // guards what follows
	keys     map[string]int
	tokens   map[string]bool
	public   string // the device's WireGuard key
	revision uint64
	state    *api.AgentState
	changed  chan struct{}
	deleted  int
	down     bool
	streams  int
	// onKey does what gateways do about an offer or its confirmation; an error is answered instead of success.
	onKey func(k api.AgentKey) error
}

func newFakeControl(tb testing.TB) *fakeControl {
	tb.Helper()
	c := &fakeControl{tb: tb, keys: map[string]int{}, tokens: map[string]bool{}, changed: make(chan struct{})}
	c.makeCA()
	c.start("127.0.0.1:0")
	tb.Cleanup(c.stop)
	return c
}

func (c *fakeControl) makeCA() {
	c.tb.Helper()
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(c.tb, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	c.caDER, err = x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(c.tb, err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(c.tb, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "control"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	must(c.tb, err)
	c.leaf = tls.Certificate{Certificate: [][]byte{der, c.caDER}, PrivateKey: leafKey}
	c.caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.caDER})
}

// start listens; after stop it does so at the same address again.
func (c *fakeControl) start(addr string) {
	c.tb.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathEnrol, c.enrol)
	mux.HandleFunc("DELETE "+api.PathAgentSelf, c.unregister)
	mux.HandleFunc("GET "+api.PathAgentSelf, func(w http.ResponseWriter, r *http.Request) {
		if c.authorized(w, r) {
			c.answer(w, api.AgentSelf{DeviceID: "device-1"})
		}
	})
	mux.HandleFunc("GET "+api.PathAgentDevices, func(w http.ResponseWriter, r *http.Request) {
		if c.authorized(w, r) {
			c.answer(w, []api.AgentDevice{{ID: "device-1", Name: "laptop"}, {ID: "device-2", Name: "desktop", Revoked: true}})
		}
	})
	mux.HandleFunc("GET "+api.PathAgentSync, c.sync)
	mux.HandleFunc("POST "+api.PathAgentKey, c.changeKey)
	lc := net.ListenConfig{}
	ln, err := lc.Listen(c.tb.Context(), "tcp", addr)
	must(c.tb, err)
	s := httptest.NewUnstartedServer(mux)
	must(c.tb, s.Listener.Close())
	s.Listener = ln
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.leaf}}
	s.EnableHTTP2 = true
	s.StartTLS()
	c.addr = ln.Addr().String()
	c.mu.Lock()
	c.server, c.down = s, false
	c.mu.Unlock()
}

// stop ends the server and its streams.
func (c *fakeControl) stop() {
	c.mu.Lock()
	s, was := c.server, c.down
	c.down = true
	c.changeLocked()
	c.mu.Unlock()
	if !was {
		s.CloseClientConnections()
		s.Close()
	}
}

func (c *fakeControl) changeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// set publishes a new state.
func (c *fakeControl) set(s *api.AgentState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision++
	c.state = s
	c.changeLocked()
}

// enrolment returns an enrolment string for as many uses.
func (c *fakeControl) enrolment(key string, uses int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[key] = uses
	return api.EnrolmentString{
		ControlURL: "https://" + c.addr, CAFingerprint: api.Fingerprint(c.caDER), Key: api.Secret(key),
	}.Encode()
}

func (c *fakeControl) revoke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tokens)
	c.changeLocked()
}

func (c *fakeControl) devicePublicKey() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.public
}

func (c *fakeControl) deletions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deleted
}

func (c *fakeControl) enrol(w http.ResponseWriter, r *http.Request) {
	var in api.EnrolRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		c.refuse(w, http.StatusBadRequest, "invalid", "bad body")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys[in.Key] == 0 {
		c.refuse(w, http.StatusForbidden, "denied", "the enrolment key is used up or unknown")
		return
	}
	c.keys[in.Key]--
	c.tokens["token-of-"+in.PublicKey] = true
	c.public = in.PublicKey
	c.answer(w, api.EnrolResponse{
		AccountID: "account-1", DeviceID: "device-1", RegistrationID: "registration-1",
		Token: "token-of-" + in.PublicKey, Email: "jdoe@company.com", CAPEM: string(c.caPEM),
	})
}

// authorized answers 401 itself.
func (c *fakeControl) authorized(w http.ResponseWriter, r *http.Request) bool {
	c.mu.Lock()
	ok := c.tokens[r.Header.Get("Authorization")[min(len("Bearer "), len(r.Header.Get("Authorization"))):]]
	c.mu.Unlock()
	if !ok {
		c.refuse(w, http.StatusUnauthorized, "unauthenticated", "the device token is unknown")
	}
	return ok
}

func (c *fakeControl) unregister(w http.ResponseWriter, r *http.Request) {
	if !c.authorized(w, r) {
		return
	}
	c.mu.Lock()
	c.deleted++
	clear(c.tokens)
	c.mu.Unlock()
	c.answer(w, struct{}{})
}

func (c *fakeControl) sync(w http.ResponseWriter, r *http.Request) {
	if !c.authorized(w, r) {
		return
	}
	c.mu.Lock()
	c.streams++
	c.mu.Unlock()
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	var sent uint64
	for {
		c.mu.Lock()
		state, revision, changed := c.state, c.revision, c.changed
		over := c.down || len(c.tokens) == 0
		c.mu.Unlock()
		if over {
			return
		}
		if state != nil && revision != sent {
			raw, err := json.Marshal(state)
			if err != nil {
				return
			}
			if enc.Encode(api.Event{Type: api.EventSnapshot, Revision: revision, State: raw}) != nil || rc.Flush() != nil {
				return
			}
			sent = revision
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		}
	}
}

func (c *fakeControl) answer(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		c.tb.Error(err)
		return
	}
	_ = json.NewEncoder(w).Encode(api.Envelope{Success: true, Errors: []api.ErrorItem{}, Messages: []api.ErrorItem{}, Result: raw})
}

func (c *fakeControl) refuse(w http.ResponseWriter, status int, kind, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Envelope{Errors: []api.ErrorItem{{Code: 1000, Message: message, Kind: kind}}, Messages: []api.ErrorItem{}})
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func (c *fakeControl) changeKey(w http.ResponseWriter, r *http.Request) {
	if !c.authorized(w, r) {
		return
	}
	var k api.AgentKey
	if err := json.NewDecoder(r.Body).Decode(&k); err != nil {
		c.refuse(w, http.StatusBadRequest, "invalid", "bad body")
		return
	}
	c.mu.Lock()
	on := c.onKey
	c.mu.Unlock()
	if on != nil {
		if err := on(k); err != nil {
			c.refuse(w, http.StatusServiceUnavailable, "unavailable", err.Error())
			return
		}
	}
	c.answer(w, api.AgentSelf{PublicKey: k.PublicKey})
}
