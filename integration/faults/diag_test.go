//go:build linux

package faults_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/agent"
	"weft/agent/diag"
	"weft/agent/localapi"
	"weft/cli"
	"weft/control"
	"weft/control/controltest"
	"weft/gateway"
	"weft/integration/faults"
	"weft/internal/testwait"
	"weft/tunnel"
)

// middlebox is an authority that this test's process trusts as it does the system's.
var middlebox struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// trustMiddlebox must come before anything reads the system's authorities.
func trustMiddlebox() (cleanUp func(), err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corporate Inspection"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if middlebox.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	middlebox.key = key
	dir, err := os.MkdirTemp("", "weft")
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return nil, err
	}
	return func() { _ = os.RemoveAll(dir) }, errors.Join(os.Setenv("SSL_CERT_FILE", name), os.Setenv("SSL_CERT_DIR", dir))
}

// serveAs is a TLS server with a certificate of the middlebox.
func serveAs(tb testing.TB) string {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(tb, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "control"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, middlebox.cert, key.Public(), middlebox.key)
	must(tb, err)
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	at, _ := serve(tb, func(c net.Conn) {
		t := tls.Server(c, cfg)
		if t.HandshakeContext(context.Background()) != nil {
			return
		}
		if _, err := http.ReadRequest(newReader(t)); err != nil {
			return
		}
		_, _ = fmt.Fprintf(t, "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 0\r\n\r\n", time.Now().UTC().Format(http.TimeFormat))
	})
	return at.String()
}

func (w *world) diag() localapi.DiagReport {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), 60*time.Second)
	defer cancel()
	r, err := w.agent.Diag(ctx, localapi.DiagRequest{})
	must(w.tb, err)
	return r
}

// verdict is the first thing that diag found; a failing test shows all of it.
func verdict(t *testing.T, r localapi.DiagReport) string {
	t.Helper()
	for _, c := range r.Checks {
		if c.State != localapi.CheckOK && c.State != localapi.CheckSkipped {
			t.Logf("%-8s %-24s %s", c.State, c.Code, c.Evidence)
		}
	}
	return r.Verdict
}

// found makes a world whose agent sees the system through env, has f break it, and runs diag.
func found(env func(*diag.Env), f func(w *world)) injection {
	return func(t *testing.T) string {
		t.Helper()
		w := newWorld(t, options{agent: func(c *agent.Config) {
			c.Diag.Resolvers = func() ([]netip.Addr, error) { return nil, nil }
			c.Diag.Interfaces = func() ([]diag.Interface, error) { return []diag.Interface{iface("eth0", "192.0.2.7/24")}, nil }
			if env != nil {
				env(&c.Diag)
			}
		}})
		if f != nil {
			f(w)
		}
		return verdict(t, w.diag())
	}
}

func iface(name, prefix string) diag.Interface {
	return diag.Interface{Name: name, Up: true, Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
}

func interfaces(list ...diag.Interface) func(*diag.Env) {
	return func(e *diag.Env) { e.Interfaces = func() ([]diag.Interface, error) { return list, nil } }
}

// deadRing is a keyring that can be made to answer no more.
type deadRing struct {
	mu    sync.Mutex
	items map[string]string
	dead  chan struct{} // not nil: calls wait for it
}

func (r *deadRing) wait() {
	r.mu.Lock()
	dead := r.dead
	r.mu.Unlock()
	if dead != nil {
		<-dead
	}
}

func (r *deadRing) Get(service, user string) (string, error) {
	r.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.items[service+"/"+user]
	if !ok {
		return "", errors.New("not found")
	}
	return v, nil
}

func (r *deadRing) Set(service, user, password string) error {
	r.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items[service+"/"+user] = password
	return nil
}

func (r *deadRing) Delete(service, user string) error {
	r.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.items, service+"/"+user)
	return nil
}

func keyringDead(t *testing.T) string {
	t.Helper()
	ring := &deadRing{items: map[string]string{}}
	w := newWorld(t, options{agent: func(c *agent.Config) { c.KeyStore, c.ForceFile = ring, false }})
	dead := make(chan struct{})
	t.Cleanup(func() { close(dead) }) // before the agent ends
	ring.mu.Lock()
	ring.dead = dead
	ring.mu.Unlock()
	return verdict(t, w.diag())
}

// rebuilt starts a new control plane, with a new authority, where the old one was.
func (w *world) rebuilt() {
	w.tb.Helper()
	w.ctl.Stop()
	dir := w.tb.TempDir()
	controltest.Start(w.tb, control.Config{Dir: dir, Listen: w.ctlConfig.Listen, PublicURL: w.ctlConfig.PublicURL})
	testwait.Until(w.tb, "the agent notices", func() bool { return !w.agent.Status().ControlConnected })
}

// control leads to target now, which cuts what was open.
func (w *world) redirectControl(target string) {
	w.front.target.Store(&target)
	w.front.block(true)
	w.front.block(false)
	testwait.Until(w.tb, "the agent notices", func() bool { return !w.agent.Status().ControlConnected })
}

func (w *world) otherWireGuard() {
	w.tb.Helper()
	key, err := tunnel.NewPrivateKey()
	must(w.tb, err)
	other, err := tunnel.New(tunnel.Config{PrivateKey: key, Listen: netip.MustParseAddrPort("127.0.0.1:0")})
	must(w.tb, err)
	w.tb.Cleanup(func() { _ = other.Close() })
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), other.ListenPort())
	w.relay.instead.Store(&at)
	w.silent()
}

func diagInjections() map[string]injection {
	return map[string]injection{
		"the agent does not run": func(t *testing.T) string {
			t.Helper()
			return cliVerdict(t, filepath.Join(t.TempDir(), "no.sock"), "1.2.3")
		},
		"the socket may not be used": socketForbidden,
		"the proxy's port is taken, so the agent does not start": func(t *testing.T) string {
			t.Helper()
			takeProxyPort(t)
			return cliVerdict(t, filepath.Join(t.TempDir(), "no.sock"), "1.2.3")
		},
		"agent and command line are of different versions": func(t *testing.T) string {
			t.Helper()
			w := newWorld(t, options{agent: quietSurroundings})
			return cliVerdict(t, w.agentCfg.Socket, "9.9.9")
		},
		"the device is not registered": func(t *testing.T) string {
			t.Helper()
			dir := t.TempDir()
			a := startAgent(t, agent.Config{
				StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "s"), ProxyListen: "off", DeviceName: "x", ForceFile: true,
			})
			r, err := a.Diag(t.Context(), localapi.DiagRequest{})
			must(t, err)
			return verdict(t, r)
		},
		"the registration was revoked":          found(nil, (*world).revokeDevice),
		"the key store is dead":                 keyringDead,
		"the state directory cannot be written": found(nil, func(w *world) { must(w.tb, os.Rename(w.agentCfg.StateDir, w.agentCfg.StateDir+".gone")) }),
		"the disk is full":                      found(func(e *diag.Env) { e.FreeDisk = func(string) (uint64, error) { return 1 << 20, nil } }, nil),
		"file descriptors are exhausted":        found(func(e *diag.Env) { e.Files = func() (uint64, uint64, error) { return 1023, 1024, nil } }, nil),
		"memory is short":                       found(func(e *diag.Env) { e.FreeMemory = func() (uint64, error) { return 8 << 20, nil } }, nil),
		"the clock is wrong":                    found(func(e *diag.Env) { e.Now = func() time.Time { return time.Now().Add(10 * time.Minute) } }, nil),
		"the control plane's name cannot be resolved": func(t *testing.T) string {
			t.Helper()
			w := newWorld(t, options{front: "localhost", agent: func(c *agent.Config) {
				quietSurroundings(c)
				c.Diag.LookupHost = func(_ context.Context, host string) ([]netip.Addr, error) {
					return nil, errors.New("no such host: " + host)
				}
			}})
			return verdict(t, w.diag())
		},
		"the control plane is down": found(nil, func(w *world) {
			w.front.close()
			testwait.Until(w.tb, "the agent notices", func() bool { return !w.agent.Status().ControlConnected })
		}),
		"something else is at the control plane's port": found(nil, func(w *world) {
			at, _ := serve(w.tb, func(net.Conn) {})
			w.redirectControl(at.String())
		}),
		"the control plane's authority changed": found(nil, (*world).rebuilt),
		"a middlebox reads TLS":                 found(nil, func(w *world) { w.redirectControl(serveAs(w.tb)) }),
		"the environment names a proxy that is gone": func(t *testing.T) string {
			t.Helper()
			gone := &url.URL{Scheme: "http", Host: freeTCP(t)}
			return found(func(e *diag.Env) { e.Proxy = func(*http.Request) (*url.URL, error) { return gone, nil } }, nil)(t)
		},
		"a captive portal": func(t *testing.T) string {
			t.Helper()
			portal, _ := serve(t, func(c net.Conn) {
				if _, err := http.ReadRequest(newReader(c)); err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\nContent-Length: 0\r\n\r\n")
				}
			})
			return found(func(e *diag.Env) {
				e.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					if _, port, err := net.SplitHostPort(address); err == nil && port == "80" {
						address = portal.String()
					}
					return (&net.Dialer{}).DialContext(ctx, network, address)
				}
			}, nil)(t)
		},
		"no gateway was started": func(t *testing.T) string {
			t.Helper()
			w := newWorld(t, options{noGateway: true, noConnect: true, agent: quietSurroundings})
			w.tryConnect()
			testwait.Until(t, "the agent knows", func() bool { return w.agent.Status().Reason == localapi.ReasonNoGateway })
			return verdict(t, w.diag())
		},
		"the gateway's name cannot be resolved": func(t *testing.T) string {
			t.Helper()
			w := newWorld(t, options{noConnect: true, agent: quietSurroundings, noConnector: true, gateway: func(c *gateway.Config) { c.AdvertiseHosts = []string{"gateway.invalid"} }})
			w.tryConnect()
			return verdict(t, w.diag())
		},
		"the gateway is down": found(nil, func(w *world) {
			w.stopGW()
			w.silent()
		}),
		"the gateway's host has nothing at the port": found(nil, func(w *world) {
			w.relay.close()
			w.silent()
		}),
		"another WireGuard server is at the gateway's endpoint": found(nil, (*world).otherWireGuard),
		"UDP is blocked":            found(nil, (*world).blockUDP),
		"the network loses packets": found(nil, func(w *world) { w.relay.every.Store(2) }),
		"the network is slow":       found(nil, func(w *world) { w.relay.delay.Store(int64(280 * time.Millisecond)) }),
		"an MTU black hole":         found(nil, func(w *world) { w.relay.maxSize.Store(1000) }),
		"the gateway restarted": found(nil, func(w *world) {
			w.stopGW()
			w.startGateway()
			testwait.Until(w.tb, "the agent has heard of it", func() bool {
				for _, n := range w.agent.Status().Notices {
					if n.Code == "gateway_restarted" {
						return w.agent.Status().State == localapi.Connected
					}
				}
				return false
			})
		}),
		"a target has an address of the local network": found(interfaces(iface("eth0", "10.20.0.77/24")), nil),
		"another tunnel uses the tunnel's addresses":   found(interfaces(iface("eth0", "192.0.2.7/24"), iface("ts0", "100.64.0.0/10")), nil),
		"another tunnel is up":                         found(interfaces(iface("eth0", "192.0.2.7/24"), iface("wg0", "172.30.0.2/24")), nil),
		"a name server has a target's address": found(func(e *diag.Env) {
			e.Resolvers = func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr(addr1)}, nil }
		}, nil),
		"the user disconnected": found(nil, func(w *world) {
			_, err := w.agent.Disconnect(w.tb.Context())
			must(w.tb, err)
		}),
	}
}

// takeProxyPort has somebody listen where an agent's proxy would: this test, unless another program does. The port may also be
// that of somebody's open connection for a while.
func takeProxyPort(t *testing.T) {
	t.Helper()
	const at = "127.0.0.1:40000"
	began, neither := time.Now(), false
	testwait.Until(t, "somebody listens at the proxy's port", func() bool {
		if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at); err == nil {
			t.Cleanup(func() { _ = l.Close() })
			return true
		}
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		if err != nil {
			neither = time.Since(began) > 20*time.Second
			return neither
		}
		_ = c.Close()
		return true
	})
	if neither { // the system hands out ports of that range, and may have given it to a connection that stays
		t.Skip("the proxy's port is the local port of a connection of somebody else's: nobody can listen there now")
	}
}

// quietSurroundings keeps the machine of the test out of what diag finds.
func quietSurroundings(c *agent.Config) {
	c.Diag.Resolvers = func() ([]netip.Addr, error) { return nil, nil }
	c.Diag.Interfaces = func() ([]diag.Interface, error) { return []diag.Interface{iface("eth0", "192.0.2.7/24")}, nil }
}

// cliVerdict runs warp-cli diag in this process.
func cliVerdict(t *testing.T, socket, version string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Main(t.Context(), cli.Config{
		Args: []string{"--socket", socket, "diag", "--json"}, Stdin: bytes.NewReader(nil), Stdout: &out, Stderr: &errs,
		Getenv: func(string) string { return "" }, Version: version,
	})
	var r localapi.DiagReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out.String(), errs.String())
	}
	return verdict(t, r)
}

// socketForbidden has warp-cli run with the file permissions of somebody else: as root, of a user without any (setfsuid(2), for
// one thread); otherwise the socket's own are taken away.
func socketForbidden(t *testing.T) string {
	t.Helper()
	w := newWorld(t, options{agent: quietSurroundings})
	if os.Geteuid() != 0 {
		must(t, os.Chmod(w.agentCfg.Socket, 0))
		return cliVerdict(t, w.agentCfg.Socket, "1.2.3")
	}
	const nobody = 65534
	done := make(chan string, 1)
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		if err := errors.Join(syscall.Setfsgid(nobody), syscall.Setfsuid(nobody)); err != nil {
			t.Error(err)
			return
		}
		done <- cliVerdict(t, w.agentCfg.Socket, "1.2.3")
	}()
	return <-done
}

func TestFaults_Diag(t *testing.T) {
	checkTable(t, faults.Diag, diagInjections())
}

func TestDiag_NothingWrong(t *testing.T) {
	w := newWorld(t, options{agent: quietSurroundings})
	r := w.diag()
	if r.Verdict != "" {
		t.Errorf("verdict %q", verdict(t, r))
	}
	if len(r.Checks) < 30 {
		t.Errorf("%d checks", len(r.Checks))
	}
	for _, c := range r.Checks {
		if c.State == localapi.CheckSkipped || c.State == localapi.CheckUnknown {
			t.Errorf("%s is %s: %s", c.Code, c.State, c.Evidence)
		}
	}
}
