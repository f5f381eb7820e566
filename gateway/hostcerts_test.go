package gateway_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
)

// hostCA plays the part of control that signs host keys.
type hostCA struct {
	mu     sync.Mutex
	signer ssh.Signer
	issued atomic.Int64
}

func newHostCA(tb testing.TB) *hostCA {
	tb.Helper()
	return &hostCA{signer: newSigner(tb)}
}

func (a *hostCA) line() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return string(ssh.MarshalAuthorizedKey(a.signer.PublicKey()))
}

func (a *hostCA) rotate(tb testing.TB) {
	tb.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signer = newSigner(tb)
}

func (a *hostCA) serve(w http.ResponseWriter, r *http.Request) {
	var q api.HostCertificateRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(q.PublicKey))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	cert, err := a.certify(key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, api.HostCertificate{Certificate: string(ssh.MarshalAuthorizedKey(cert)), Serial: cert.Serial})
}

func (a *hostCA) certify(key ssh.PublicKey) (*ssh.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	cert := &ssh.Certificate{
		Key: key, Serial: uint64(a.issued.Add(1)), CertType: ssh.HostCert, KeyId: "gw", ValidPrincipals: []string{api.SSHGatewayPrincipal},
		ValidAfter: uint64(now.Unix()), ValidBefore: uint64(now.Add(24 * time.Hour).Unix()),
	}
	return cert, cert.SignCert(rand.Reader, a.signer)
}

var errSeen = errors.New("seen")

// shown is the host key that the gateway presents to a client which prefers some algorithms.
func (w *world) shown(algorithms ...string) ssh.PublicKey {
	w.tb.Helper()
	c := w.mustDial(slotA, portSSH)
	defer func() { _ = c.Close() }()
	var key ssh.PublicKey
	_, _, _, err := ssh.NewClientConn(c, api.SSHGatewayPrincipal+":22", &ssh.ClientConfig{
		User: "ubuntu", HostKeyAlgorithms: algorithms, Timeout: 10 * time.Second,
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			key = k
			return errSeen
		},
	})
	if !errors.Is(err, errSeen) {
		w.tb.Logf("no host key: %v", err)
	}
	return key
}

// signedBy reports whether the gateway presents certificates for both its keys that a client of the one authority takes.
func (w *world) signedBy(line string) bool {
	w.tb.Helper()
	ca, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		w.tb.Fatal(err)
	}
	checker := ssh.CertChecker{IsHostAuthority: func(k ssh.PublicKey, _ string) bool { return bytes.Equal(k.Marshal(), ca.Marshal()) }}
	for _, algo := range []string{ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01} {
		key := w.shown(algo)
		if key == nil || checker.CheckHostKey(api.SSHGatewayPrincipal+":22", nil, key) != nil {
			return false
		}
	}
	return true
}

// newHostCAWorld is a world whose control signs host keys.
func newHostCAWorld(t *testing.T) (*world, *hostCA) {
	t.Helper()
	ca := newHostCA(t)
	w := newWorld(t, func(w *world) {
		w.control.hostCA.Store(ca)
		w.hostCertSettle = 1 // nanosecond
	})
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	w.eventually("certificates", 10*time.Second, func() bool { return w.gateway.Stats().HostCertificates == 2 })
	return w, ca
}

func TestHostCerts_ArePresentedBesideThePlainKeys(t *testing.T) {
	w, ca := newHostCAWorld(t)
	if !w.signedBy(ca.line()) {
		t.Error("a client of the authority does not take the gateway")
	}
	for _, algo := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256} {
		if key := w.shown(algo); key == nil || key.Type() != algo {
			t.Errorf("to a client of %s alone the gateway presents %v", algo, key)
		}
	}
	if client, banner, err := w.login("ubuntu"); err != nil {
		t.Errorf("login: %v (%s)", err, banner)
	} else if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestHostCerts_OutliveARestartWithoutControl(t *testing.T) {
	w, ca := newHostCAWorld(t)
	w.stopGateway(w.stop, w.done)
	for _, path := range []string{api.PathGatewayHostCertificate, api.PathGatewaySync} {
		w.control.block(path, true)
	}
	w.startGatewayUnready()
	w.connectClient()
	w.eventually("certificates of the last run", 10*time.Second, func() bool { return w.gateway.Stats().HostCertificates == 2 })
	w.control.block(api.PathGatewaySync, false)
	w.wait("gateway ready", w.gateway.Ready())
	w.eventually("the connector is back", 10*time.Second, func() bool { return w.gateway.Stats().Connectors.Sessions == 1 })
	if !w.signedBy(ca.line()) {
		t.Error("a client of the authority does not take the gateway")
	}
	if n := ca.issued.Load(); n != 2 {
		t.Errorf("%d certificates were issued, want 2", n)
	}
}

func TestHostCerts_FollowARotation(t *testing.T) {
	w, ca := newHostCAWorld(t)
	old := ca.line()
	w.update(func(st *api.GatewayState) { st.Self.SSHHostCAs = []string{old} })
	if !w.signedBy(old) {
		t.Error("the first authority is not in force")
	}
	ca.rotate(t)
	w.update(func(st *api.GatewayState) { st.Self.SSHHostCAs = []string{ca.line(), old} })
	w.eventually("certificates of the new authority", 10*time.Second, func() bool { return w.signedBy(ca.line()) })
	if n := ca.issued.Load(); n != 4 {
		t.Errorf("%d certificates were issued, want 4", n)
	}
}

func TestHostCerts_OfARemovedAuthorityAreNotShown(t *testing.T) {
	w, ca := newHostCAWorld(t)
	w.control.block(api.PathGatewayHostCertificate, true)
	other := newHostCA(t)
	w.update(func(st *api.GatewayState) { st.Self.SSHHostCAs = []string{other.line()} })
	w.eventually("no certificate", 10*time.Second, func() bool { return w.gateway.Stats().HostCertificates == 0 })
	if w.signedBy(ca.line()) {
		t.Error("it is still shown")
	}
	if key := w.shown(ssh.KeyAlgoED25519); key == nil {
		t.Error("the plain key is not shown")
	}
	w.control.hostCA.Store(other)
	w.control.block(api.PathGatewayHostCertificate, false)
	w.eventually("certificates of the authority that is named", 20*time.Second, func() bool { return w.signedBy(other.line()) })
}
