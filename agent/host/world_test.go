package host_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/agent"
	"weft/agent/host"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/api"
	"weft/internal/localsock"
	"weft/targets"
	"weft/tunnel"
	"weft/vnet"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(envChild); path != "" {
		os.Exit(child(path))
	}
	goleak.VerifyTestMain(m)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// orgNet is the one network of every organisation of the tests, and namePort says whose it is.
const (
	orgNet    = vnet.ID("00000000-0000-0000-0000-00000000000a")
	namePort  = 17
	echoPort  = 7
	probePort = 5351
)

var pool = vnet.DefaultPool(netip.MustParsePrefix("fd12:3456:789a::/48"))

// org is an organisation: a control plane that enrols any number of devices, and a gateway at the end of real tunnels.
type org struct {
	tb     testing.TB
	name   string
	caDER  []byte
	caPEM  []byte
	server *httptest.Server
	key    tunnel.PrivateKey
	tun    *tunnel.Tunnel

	mu      sync.Mutex // guards what follows
	devices map[string]*api.AgentState
	deleted int
}

func newOrg(tb testing.TB, name string) *org {
	tb.Helper()
	o := &org{tb: tb, name: name, devices: map[string]*api.AgentState{}}
	var err error
	o.key, err = tunnel.NewPrivateKey()
	must(tb, err)
	o.tun, err = tunnel.New(tunnel.Config{PrivateKey: o.key, Listen: netip.MustParseAddrPort("127.0.0.1:0"), Handler: o})
	must(tb, err)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathEnrol, o.enrol)
	mux.HandleFunc("DELETE "+api.PathAgentSelf, o.remove)
	mux.HandleFunc("GET "+api.PathAgentSync, o.sync)
	o.server = httptest.NewUnstartedServer(mux)
	o.server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{o.certificate()}}
	o.server.StartTLS()
	tb.Cleanup(func() {
		o.server.CloseClientConnections()
		o.server.Close()
		must(tb, o.tun.Close())
	})
	return o
}

func (o *org) certificate() tls.Certificate {
	o.tb.Helper()
	now := time.Now()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(o.tb, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: o.name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	o.caDER, err = x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(o.tb, err)
	o.caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.caDER})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(o.tb, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "control"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(o.tb, err)
	return tls.Certificate{Certificate: [][]byte{der, o.caDER}, PrivateKey: key}
}

// enrolment is for a device of the given user.
func (o *org) enrolment(email string) string {
	return api.EnrolmentString{ControlURL: o.server.URL, CAFingerprint: api.Fingerprint(o.caDER), Key: api.Secret(strings.ReplaceAll(email, "@", "_at_"))}.Encode()
}

func (o *org) enrol(w http.ResponseWriter, r *http.Request) {
	var in api.EnrolRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	in.Key = strings.ReplaceAll(in.Key, "_at_", "@")
	o.mu.Lock()
	defer o.mu.Unlock()
	block, err := pool.Block(uint16(7 + len(o.devices)))
	if err == nil {
		var pub tunnel.PublicKey
		if pub, err = tunnel.ParsePublicKey(in.PublicKey); err == nil {
			err = o.tun.SetPeer(tunnel.Peer{PublicKey: pub, AllowedIPs: []netip.Prefix{block.V4, block.V6}})
		}
	}
	if err != nil {
		o.tb.Error(err)
	}
	o.devices["token-of-"+in.PublicKey] = o.state(block, in.Key)
	o.answer(w, api.EnrolResponse{
		AccountID: o.name, DeviceID: "device-of-" + in.Key, RegistrationID: "r",
		Token: "token-of-" + in.PublicKey, Email: in.Key, CAPEM: string(o.caPEM),
	})
}

func (o *org) state(b vnet.Block, email string) *api.AgentState {
	v4, v6 := pool.GatewayAddrs()
	return &api.AgentState{
		Self: api.AgentSyncSelf{DeviceID: "device-of-" + email, Email: email, BlockV4: b.V4, BlockV6: b.V6},
		Gateways: map[string]api.AgentGateway{"gw-1": {
			ID: "gw-1", Name: "gw-" + o.name, PublicKey: o.key.Public().String(),
			Endpoints: []string{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), o.tun.ListenPort()).String()},
			ProbeV4:   v4, ProbeV6: v6, ProbePort: probePort, Epoch: "e",
		}},
		Networks: map[string]api.AgentNetwork{string(orgNet): {ID: orgNet, Name: o.name + "-net", Default: true, Slot: 1}},
		Entries: map[string]api.AgentEntry{"t/22/SSH": {
			TargetID: targets.ID("t-" + o.name), Hostname: "web-1", Protocol: "SSH", Port: 22, Usernames: []string{"root"},
			IPv4: &api.AgentAddress{Addr: netip.MustParseAddr("10.1.2.3"), VNET: orgNet},
		}},
	}
}

func (o *org) device(r *http.Request) (*api.AgentState, string) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.devices[token], token
}

func (o *org) remove(w http.ResponseWriter, r *http.Request) {
	st, token := o.device(r)
	if st == nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.devices, token)
	o.deleted++
	o.answer(w, struct{}{})
}

func (o *org) sync(w http.ResponseWriter, r *http.Request) {
	st, _ := o.device(r)
	if st == nil {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(api.Envelope{Errors: []api.ErrorItem{{Code: 1000, Message: "unknown device", Kind: "unauthenticated"}}})
		return
	}
	raw, err := json.Marshal(st)
	if err != nil {
		o.tb.Error(err)
		return
	}
	_ = json.NewEncoder(w).Encode(api.Event{Type: api.EventSnapshot, Revision: 1, State: raw})
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func (o *org) answer(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		o.tb.Error(err)
		return
	}
	_ = json.NewEncoder(w).Encode(api.Envelope{Success: true, Errors: []api.ErrorItem{}, Messages: []api.ErrorItem{}, Result: raw})
}

func (o *org) deletions() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.deleted
}

// HandleTCP serves the port that says whose gateway it is, and to whom.
func (o *org) HandleTCP(_ context.Context, r *tunnel.TCPRequest) {
	port := r.Flow().Destination.Port()
	if port != namePort && port != echoPort {
		r.Reject(tunnel.RejectRefused)
		return
	}
	src := r.Flow().Source.Addr()
	c, err := r.Accept()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	if port == echoPort {
		_, _ = io.Copy(c, c)
		return
	}
	o.mu.Lock()
	var who string
	for _, st := range o.devices {
		if st.Self.BlockV4.Contains(src) {
			who = st.Self.Email
		}
	}
	o.mu.Unlock()
	_, _ = io.WriteString(c, o.name+" "+who+"\n")
}

// HandleUDP answers the probe.
func (o *org) HandleUDP(_ context.Context, r *tunnel.UDPRequest) {
	c, err := r.Accept()
	if err != nil {
		return
	}
	go func() {
		b := make([]byte, 2000)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			_, _ = c.Write(b[:n])
		}
	}()
}

// running is a host until the test ends, or until stop.
type running struct {
	*host.Host
	tb     testing.TB
	cfg    host.Config
	ready  agent.Ready
	cancel context.CancelFunc
	done   chan error
}

// systemService is the account of a service that serves everybody, whoever runs the tests.
var systemService = localsock.Caller{UID: 0, Privileged: true}

func testConfig(tb testing.TB) host.Config {
	tb.Helper()
	dir, err := os.MkdirTemp("", "wh") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	must(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := host.Config{
		Agent: agent.Config{
			StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "s"), ProxyListen: "127.0.0.1:0",
			DeviceName: "laptop", ForceFile: true,
		},
		Owner: &systemService,
	}
	if os.Getenv("WEFT_TEST_LOG") != "" {
		cfg.Agent.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg
}

func start(tb testing.TB, cfg host.Config) *running {
	tb.Helper()
	ready := make(chan agent.Ready, 1)
	cfg.Agent.OnReady = func(r agent.Ready) { ready <- r }
	h, err := host.New(cfg)
	must(tb, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	r := &running{Host: h, tb: tb, cfg: cfg, cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- h.Run(ctx) }()
	select {
	case r.ready = <-ready:
	case err := <-r.done:
		cancel()
		tb.Fatalf("host ended: %v", err)
	}
	tb.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	select {
	case err := <-r.done:
		if err != nil {
			r.tb.Errorf("host ended: %v", err)
		}
	case <-time.After(15 * time.Second):
		r.tb.Error("host did not end within 15 s")
	}
}

func (r *running) restart() *running {
	r.tb.Helper()
	r.stop()
	return start(r.tb, r.cfg)
}

// with calls f with the agent of a session.
func (r *running) with(account, profile string, f func(a server.Agent)) {
	r.tb.Helper()
	a, release, err := r.Session(r.tb.Context(), account, profile)
	must(r.tb, err)
	defer release()
	f(a)
}

// join registers a session and connects it.
func (r *running) join(account, profile, enrolment string) {
	r.tb.Helper()
	r.with(account, profile, func(a server.Agent) {
		_, err := a.Register(r.tb.Context(), enrolment)
		must(r.tb, err)
		ctx, cancel := context.WithTimeout(r.tb.Context(), 20*time.Second)
		defer cancel()
		_, err = a.Connect(ctx)
		must(r.tb, err)
	})
}

// whose asks the other end of a session's tunnel who it is, and for whom it takes the session.
func (r *running) whose(account, profile string) string {
	r.tb.Helper()
	var line string
	r.with(account, profile, func(a server.Agent) {
		ctx, cancel := context.WithTimeout(r.tb.Context(), 10*time.Second)
		defer cancel()
		f, err := a.DialFlow(ctx, localapi.Dial{Name: "web-1", Port: namePort})
		if err != nil {
			line = err.Error()
			return
		}
		defer func() { _ = f.Close() }()
		line, err = bufio.NewReader(f).ReadString('\n')
		must(r.tb, err)
	})
	return strings.TrimSpace(line)
}

func (r *running) statusOf(account, profile string) (st localapi.Status) {
	r.tb.Helper()
	r.with(account, profile, func(a server.Agent) { st = a.Status() })
	return st
}
