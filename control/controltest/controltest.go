// Package controltest runs a control plane inside a test, with the helpers that other packages' tests need to fill
// it. Everything goes over its real HTTPS interface.
package controltest

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"weft/access"
	"weft/api"
	"weft/control"
	"weft/control/store"
	"weft/internal/pgtest"
)

// Server is a control plane that ends with the test.
type Server struct {
	Control *control.Control
	// Config is what it runs with.
	Config control.Config
	// URL is its base URL, AccountID its account, Token an API token.
	URL, AccountID, Token string
	// Roots trust its built-in CA.
	Roots *x509.CertPool
	// Client calls with Token.
	Client *api.Client

	tb    testing.TB
	watch *watcher
	stop  context.CancelFunc
	done  chan error
}

// New starts a control plane on a free port of 127.0.0.1 in a directory of the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	return Start(tb, control.Config{Dir: tb.TempDir()})
}

// Start is New with a configuration of one's own; an empty Listen is a free port. Starting again in the same
// directory continues with the same account. With WEFT_TEST_DATABASE=postgres the account is in a PostgreSQL that runs
// for the tests of this process, unless the configuration names another.
func Start(tb testing.TB, cfg control.Config) *Server {
	tb.Helper()
	cfg.Database = Database(tb, cfg)
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.EnrolPerMinute == 0 {
		cfg.EnrolPerMinute, cfg.EnrolTotalPerMinute = 1_000_000, 1_000_000 // all of a test's devices have one address
	}
	w := watch(&cfg, tb.Name())
	c, err := control.New(cfg)
	if err != nil {
		tb.Fatalf("new control: %v", err)
	}
	description, err := c.OpenAPI()
	if err != nil {
		tb.Fatalf("describe: %v", err)
	}
	if w.doc, err = parseDocument(description); err != nil {
		tb.Fatalf("read description: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	s := &Server{Control: c, Config: cfg, URL: c.URL(), AccountID: c.AccountID(), tb: tb, watch: w, stop: cancel, done: make(chan error, 1)}
	go func() { s.done <- c.Run(ctx) }()
	tb.Cleanup(s.Stop)
	select {
	case <-c.Ready():
	case err := <-s.done:
		s.done <- err
		tb.Fatalf("run control: %v", err)
	case <-time.After(30 * time.Second):
		tb.Fatal("control is not ready after 30 s")
	}
	if s.Token, err = c.CreateToken(tb.Context(), store.TokenFields{Name: "test"}); err != nil {
		tb.Fatalf("create token: %v", err)
	}
	if pem := c.CAPEM(); pem != nil {
		s.Roots = x509.NewCertPool()
		s.Roots.AppendCertsFromPEM(pem)
	}
	s.Client = s.ClientWith(api.Secret(s.Token))
	return s
}

// Replica starts another control plane on the same PostgreSQL, in a directory of its own with the same key.
func (s *Server) Replica() *Server {
	s.tb.Helper()
	if s.Config.Database == "" {
		s.tb.Fatal("a control plane on SQLite has no replicas")
	}
	cfg := s.Config
	cfg.Dir, cfg.Listen, cfg.PublicURL = s.tb.TempDir(), "", ""
	key, err := os.ReadFile(filepath.Join(s.Config.Dir, "store.key"))
	if err != nil {
		s.tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Dir, "store.key"), key, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	return Start(s.tb, cfg)
}

// databases are those of the directories that tests have used.
var databases sync.Map

// Database is the database for a configuration: the one that it names, or by WEFT_TEST_DATABASE=postgres one of its
// directory's own; "" is SQLite.
func Database(tb testing.TB, cfg control.Config) string {
	tb.Helper()
	if cfg.Database != "" || os.Getenv("WEFT_TEST_DATABASE") != "postgres" {
		return cfg.Database
	}
	if known, ok := databases.Load(cfg.Dir); ok {
		return known.(string) //nolint:forcetypeassert // nothing else is stored
	}
	made := pgtest.Database(tb)
	databases.Store(cfg.Dir, made)
	tb.Cleanup(func() { databases.Delete(cfg.Dir) })
	return made
}

// Stop ends the control plane and waits for it; a second call does nothing.
func (s *Server) Stop() {
	s.tb.Helper()
	s.stop()
	err, ok := <-s.done
	if !ok {
		return
	}
	close(s.done)
	for _, wrong := range s.watch.findings() {
		s.tb.Error(wrong)
	}
	if err != nil {
		s.tb.Errorf("run control: %v", err)
	}
	if s.Client != nil {
		s.Client.Close()
	}
}

// ClientWith is a client with another credential ("": none).
func (s *Server) ClientWith(token api.Secret) *api.Client {
	s.tb.Helper()
	c, err := api.NewClient(api.ClientConfig{BaseURL: s.URL, Token: token, Roots: s.Roots})
	if err != nil {
		s.tb.Fatalf("new client: %v", err)
	}
	s.tb.Cleanup(c.Close)
	return c
}

// Account is the path of something in the account.
func (s *Server) Account(path string) string {
	return api.PathManagement + "/accounts/" + s.AccountID + path
}

// Call sends a request with the API token and decodes the result into out; an error fails the test.
func (s *Server) Call(method, path string, in, out any) {
	s.tb.Helper()
	if err := s.Client.Do(s.tb.Context(), method, path, in, out); err != nil {
		s.tb.Fatalf("%s %s: %v", method, path, err)
	}
}

// VNET makes a virtual network and returns its ID.
func (s *Server) VNET(name string) string {
	s.tb.Helper()
	var n api.VirtualNetwork
	s.Call(http.MethodPost, s.Account("/teamnet/virtual_networks"), api.VirtualNetworkWrite{Name: &name}, &n)
	return n.ID
}

// DefaultVNET returns the ID of the default virtual network.
func (s *Server) DefaultVNET() string {
	s.tb.Helper()
	var list []api.VirtualNetwork
	s.Call(http.MethodGet, s.Account("/teamnet/virtual_networks?is_default_network=true"), nil, &list)
	if len(list) != 1 {
		s.tb.Fatalf("there are %d default networks", len(list))
	}
	return list[0].ID
}

// Tunnel makes a tunnel and returns its ID and its connector token.
func (s *Server) Tunnel(name string) (id, token string) {
	s.tb.Helper()
	var t api.Tunnel
	s.Call(http.MethodPost, s.Account("/cfd_tunnel"), api.TunnelWrite{Name: name}, &t)
	return t.ID, t.ConnectorToken
}

// Route makes a route and returns its ID.
func (s *Server) Route(prefix, vnet, tunnel string) string {
	s.tb.Helper()
	var r api.Route
	s.Call(http.MethodPost, s.Account("/teamnet/routes"), api.RouteWrite{Network: &prefix, VNET: &vnet, TunnelID: &tunnel}, &r)
	return r.ID
}

// Target makes a target with an IPv4 address and returns its ID.
func (s *Server) Target(hostname, ipv4, vnet string) string {
	s.tb.Helper()
	var t api.Target
	s.Call(http.MethodPost, s.Account("/infrastructure/targets"), api.TargetWrite{
		Hostname: hostname, IP: api.TargetIP{IPv4: &api.TargetAddress{Addr: ipv4, VNET: vnet}},
	}, &t)
	return t.ID
}

// App makes an application with one policy that lets the user with an email address ("": everyone) reach the targets
// of a hostname at a port; usernames are for SSH. It returns the application.
func (s *Server) App(name, hostname, protocol string, port int, email string, usernames ...string) api.Application {
	s.tb.Helper()
	who := access.Everyone()
	if email != "" {
		who = access.EmailRule(email)
	}
	p := api.PolicyWrite{Name: "allow", Decision: "allow", Include: []access.Rule{who}}
	if len(usernames) > 0 {
		p.Connection = &api.ConnectionRules{SSH: &api.SSHRules{Usernames: usernames}}
	}
	var a api.Application
	s.Call(http.MethodPost, s.Account("/access/apps"), api.ApplicationWrite{
		Name: name, Type: api.ApplicationType, Policies: &[]api.PolicyWrite{p},
		Criteria: []api.Criteria{{Attributes: map[string][]string{"hostname": {hostname}}, Port: port, Protocol: protocol}},
	}, &a)
	return a
}

// Enrolment makes a one-shot enrolment string for a user.
func (s *Server) Enrolment(email string) string {
	s.tb.Helper()
	var k api.EnrolmentKey
	s.Call(http.MethodPost, api.PathEnrolmentKeys, api.NewEnrolmentKey{Email: email}, &k)
	return k.Enrolment
}

// Enrol registers a device with a random public key, as an agent does: by an enrolment string, trusting the
// fingerprint in it.
func (s *Server) Enrol(email, device string) api.EnrolResponse {
	s.tb.Helper()
	r, err := s.TryEnrol(s.Enrolment(email), device)
	if err != nil {
		s.tb.Fatalf("enrol: %v", err)
	}
	return r
}

// TryEnrol is Enrol by a given string.
func (s *Server) TryEnrol(enrolment, device string) (api.EnrolResponse, error) {
	s.tb.Helper()
	e, err := api.ParseEnrolmentString(enrolment)
	if err != nil {
		return api.EnrolResponse{}, err
	}
	c, err := api.NewClient(api.ClientConfig{BaseURL: e.ControlURL, CAFingerprint: e.CAFingerprint})
	if err != nil {
		return api.EnrolResponse{}, err
	}
	defer c.Close()
	return c.Enrol(s.tb.Context(), api.EnrolRequest{
		Key: string(e.Key), DeviceName: device, OS: "linux", Version: "test", PublicKey: PublicKey(),
	})
}

// Gateway registers a gateway and returns its token.
func (s *Server) Gateway(name string) api.NewGatewayResult {
	s.tb.Helper()
	var g api.NewGatewayResult
	s.Call(http.MethodPost, api.PathGateways, api.NewGateway{Name: name}, &g)
	return g
}

// Report is a plausible report of a gateway.
func Report(epoch string) api.GatewayReport {
	return api.GatewayReport{
		PublicKey: PublicKey(), Endpoints: []string{"127.0.0.1:51820"}, ConnectorEndpoints: []string{"127.0.0.1:7844"},
		CertificateSHA256: api.Fingerprint([]byte("certificate")), Version: "test", Epoch: epoch,
	}
}

// PublicKey is 32 random bytes in base64.
func PublicKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}
