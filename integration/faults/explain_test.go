//go:build linux

package faults_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/agent"
	"weft/agent/localapi"
	"weft/api"
	"weft/gateway"
	"weft/gateway/sessions"
	"weft/integration/faults"
	"weft/internal/testwait"
)

// injection makes a cause and returns what the tool said: the code of the first failure.
type injection func(t *testing.T) string

var asRoot = localapi.ExplainRequest{Name: "web-1", Port: 22, Login: "root"}

// explained makes a world, has f break it, and explains the way to web-1 as root.
func explained(f func(w *world)) injection {
	return func(t *testing.T) string {
		t.Helper()
		return explainedAs(asRoot, f)(t)
	}
}

func explainedAs(q localapi.ExplainRequest, f func(w *world)) injection {
	return func(t *testing.T) string {
		t.Helper()
		w := newWorld(t, options{})
		if f != nil {
			f(w)
		}
		return w.explain(q).Code
	}
}

// told is explained for administrators.
func told(in api.ExplainRequest, f func(w *world)) injection {
	return func(t *testing.T) string {
		t.Helper()
		w := newWorld(t, options{})
		if f != nil {
			f(w)
		}
		w.listening()
		return w.adminExplain(in).Code
	}
}

var adminRoot = api.ExplainRequest{Target: "web-1", Port: 22, Login: "root"}

// listening waits until the gateway takes control's questions, if it runs.
func (w *world) listening() {
	w.tb.Helper()
	testwait.Until(w.tb, "the gateway takes questions", func() bool {
		if w.gatewayStopped {
			return true
		}
		e := w.adminExplain(api.ExplainRequest{Target: "web-2", Port: 22})
		return e.Code != "" && e.Code != api.CodeNoGateway || len(e.Gateways) > 0 && e.Gateways[0].Answered
	})
}

func (w *world) revokeDevice() {
	w.tb.Helper()
	reg, err := w.agent.Registration()
	must(w.tb, err)
	w.ctl.Call(http.MethodPost, w.ctl.Account("/devices/physical-devices/"+reg.DeviceID+"/revoke"), nil, nil)
	testwait.Until(w.tb, "the agent hears that it was revoked", func() bool { return w.agent.Status().Reason == localapi.ReasonRevoked })
}

func (w *world) deleteRoutes() {
	w.tb.Helper()
	var routes []api.Route
	w.ctl.Call(http.MethodGet, w.ctl.Account("/teamnet/routes"), nil, &routes)
	w.change(func() {
		for _, r := range routes {
			w.ctl.Call(http.MethodDelete, w.ctl.Account("/teamnet/routes/"+r.ID), nil, nil)
		}
	})
}

func (w *world) moveTarget() {
	w.tb.Helper()
	w.change(func() {
		w.ctl.Call(http.MethodPut, w.ctl.Account("/infrastructure/targets/"+w.targetID), api.TargetWrite{
			Hostname: "web-1", IP: api.TargetIP{IPv4: &api.TargetAddress{Addr: addr1, VNET: w.net2}},
		}, nil)
	})
}

func (w *world) dropConnector() {
	w.stopConn()
	testwait.Until(w.tb, "the gateway notices", func() bool { return w.gw.Stats().Connectors.Sessions == 0 })
}

// include replaces the policy of web-1 by one with these rules.
func (w *world) include(include, require, exclude []access.Rule) {
	w.tb.Helper()
	w.change(func() {
		w.replacePolicy(api.PolicyWrite{
			Include: include, Require: require, Exclude: exclude,
			Connection: &api.ConnectionRules{SSH: &api.SSHRules{Usernames: []string{"root"}}},
		})
	})
	w.listed("web-1", 22, false)
}

func mustRule(tb testing.TB, text string) access.Rule {
	tb.Helper()
	var r access.Rule
	must(tb, r.UnmarshalJSON([]byte(text)))
	return r
}

func (w *world) deleteCA() {
	w.tb.Helper()
	var cas []api.GatewayCA
	w.ctl.Call(http.MethodGet, w.ctl.Account("/access/gateway_ca"), nil, &cas)
	w.change(func() {
		for _, c := range cas {
			w.ctl.Call(http.MethodDelete, w.ctl.Account("/access/gateway_ca/"+c.ID), nil, nil)
		}
	})
}

func (w *world) stopGateway() {
	w.gatewayStopped = true
	w.stopGW()
}

// login logs in to web-1 as ssh does.
func (w *world) login() {
	w.tb.Helper()
	f, err := w.agent.DialFlow(w.tb.Context(), localapi.Dial{Name: "web-1", Port: 22})
	must(w.tb, err)
	c, chans, reqs, err := ssh.NewClientConn(f, "web-1", &ssh.ClientConfig{User: "root", HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	must(w.tb, err)
	go ssh.DiscardRequests(reqs)
	_ = c.Close()
	for range chans {
	}
}

// redirect has the connector lead web-1 to another listener.
func redirect(make func(tb testing.TB) netip.AddrPort) injection {
	return func(t *testing.T) string {
		t.Helper()
		w := newWorld(t, options{})
		w.connMap[netip.MustParseAddrPort(addr1+":22")] = make(t)
		w.dropConnector()
		w.startConnector()
		testwait.Until(t, "the connector is there", func() bool { return w.gw.Stats().Connectors.Sessions == 1 })
		return w.explain(asRoot).Code
	}
}

// silent is a port whose queue of connections is full: the system answers no SYN there.
func silent(tb testing.TB) netip.AddrPort {
	tb.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	must(tb, err)
	tb.Cleanup(func() { _ = syscall.Close(fd) })
	must(tb, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(tb, syscall.Listen(fd, 0))
	sa, err := syscall.Getsockname(fd)
	must(tb, err)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 8 {
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		c, err := d.DialContext(tb.Context(), "tcp", at.String())
		if err != nil {
			return at
		}
		tb.Cleanup(func() { _ = c.Close() })
	}
	tb.Fatal("the queue does not fill")
	return at
}

func closedPort(tb testing.TB) netip.AddrPort {
	tb.Helper()
	return netip.MustParseAddrPort(freeTCP(tb))
}

func notSSH(tb testing.TB) netip.AddrPort {
	tb.Helper()
	at, _ := serve(tb, func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	return at
}

func userInjections() map[string]injection {
	return map[string]injection{
		"the device is not registered": func(t *testing.T) string {
			t.Helper()
			dir := t.TempDir()
			a := startAgent(t, agent.Config{StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "s"), ProxyListen: "off", DeviceName: "x", ForceFile: true})
			e, err := a.Explain(t.Context(), asRoot)
			must(t, err)
			return e.Code
		},
		"the registration was revoked": explained((*world).revokeDevice),
		"the user disconnected": explained(func(w *world) {
			_, err := w.agent.Disconnect(w.tb.Context())
			must(w.tb, err)
		}),
		"control is down and nothing is known of before": func(t *testing.T) string {
			t.Helper()
			w := newWorld(t, options{})
			w.agent.stop()
			w.front.close()
			must(t, removeState(w.agentCfg.StateDir))
			w.agent = startAgent(t, w.agentCfg)
			testwait.Until(t, "the agent knows", func() bool { return w.agent.Status().Reason == localapi.ReasonControlUnreachable })
			return w.explain(asRoot).Code
		},
		"no gateway was started": func(t *testing.T) string {
			t.Helper()
			w := newWorld(t, options{noGateway: true, noConnect: true})
			w.tryConnect()
			testwait.Until(t, "the agent knows", func() bool { return w.agent.Status().Reason == localapi.ReasonNoGateway })
			return w.explain(asRoot).Code
		},
		"the gateway does not answer":  explained((*world).blockUDP),
		"the target does not exist":    explainedAs(localapi.ExplainRequest{Name: "nowhere", Port: 22}, nil),
		"the target is not the user's": explained(func(w *world) { w.include([]access.Rule{access.EmailRule("eve@company.com")}, nil, nil) }),
		"the name is ambiguous": explained(func(w *world) {
			w.change(func() { w.ctl.Target("web-1", "10.20.0.99", w.net1) })
			testwait.Until(w.tb, "the list follows", func() bool {
				_, err := w.agent.Resolve("web-1", "", 0)
				return err != nil
			})
		}),
		"the virtual network does not exist": explainedAs(localapi.ExplainRequest{Name: "web-1", Port: 22, VNET: "nowhere"}, nil),
		"the target moved to another virtual network": explainedAs(localapi.ExplainRequest{Name: "web-1", Port: 22, VNET: "default"}, func(w *world) {
			w.moveTarget()
			testwait.Until(w.tb, "the list follows", func() bool {
				_, err := w.agent.Resolve("web-1", "default", 0)
				return err != nil
			})
		}),
		"the port is not granted": explainedAs(localapi.ExplainRequest{Name: "web-1", Port: 80}, nil),
		"the application is for another protocol": explainedAs(localapi.ExplainRequest{Name: "web-1", Port: 53}, func(w *world) {
			w.change(func() { w.ctl.App("names", "web-1", "UDP", 53, email) })
			w.listed("web-1", 53, true)
		}),
		"there is no route": explained((*world).deleteRoutes),
		"this device's list is stale": explained(func(w *world) {
			w.front.block(true)
			testwait.Until(w.tb, "the agent notices", func() bool { return !w.agent.Status().ControlConnected })
			w.change(func() { w.ctl.Call(http.MethodDelete, w.ctl.Account("/infrastructure/targets/"+w.targetID), nil, nil) })
		}),
		"the login is not granted":                    explainedAs(localapi.ExplainRequest{Name: "web-1", Port: 22, Login: "oracle"}, nil),
		"the login is granted on another target only": explainedAs(localapi.ExplainRequest{Name: "web-1", Port: 22, Login: "admin"}, nil),
		"the route leads to a tunnel without a connector": explained(func(w *world) {
			w.change(func() {
				id, _ := w.ctl.Tunnel("empty")
				w.ctl.Route("10.20.0.5/32", w.net1, id)
			})
			testwait.Until(w.tb, "the route leads there", func() bool {
				e := w.adminExplain(api.ExplainRequest{Target: "web-1", Port: 22, Offline: true})
				return e.Revision <= w.gw.Stats().Revision
			})
		}),
		"the connector is down": explained((*world).dropConnector),
		"a limit of sessions is reached": func(t *testing.T) string {
			t.Helper()
			w := newWorld(t, options{gateway: func(c *gateway.Config) { c.Limits.Sessions = sessions.Limits{MaxFlowsPerDevice: 1} }})
			f, err := w.agent.DialFlow(t.Context(), localapi.Dial{Name: "web-1", Port: 22})
			must(t, err)
			defer func() { _ = f.Close() }()
			return w.explain(asRoot).Code
		},
		"the gateway's audit log cannot be written": func(t *testing.T) string {
			t.Helper()
			pipe := filepath.Join(t.TempDir(), "audit")
			must(t, syscall.Mkfifo(pipe, 0o600))
			reader, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			must(t, err)
			w := newWorld(t, options{gateway: func(c *gateway.Config) { c.AuditFile = pipe }, lenient: true})
			must(t, reader.Close())
			return w.explain(asRoot).Code
		},
		"the target is off":                redirect(silent),
		"the port of the target is closed": redirect(closedPort),
		"no SSH server is at the port":     redirect(notSSH),
		"the host key changed": explained(func(w *world) {
			w.login()
			w.host.hostKey.Store(newSigner(w.tb))
		}),
		"the account has no SSH CA":  explained((*world).deleteCA),
		"control does not sign":      explained(func(w *world) { w.ctl.Stop() }),
		"sshd does not trust the CA": explained(func(w *world) { w.host.trusted.Store(false) }),
	}
}

func adminInjections() map[string]injection {
	return map[string]injection{
		"the user is not known": told(api.ExplainRequest{Email: "nobody@company.com", Target: "web-1", Port: 22}, nil),
		"the user was revoked": told(adminRoot, func(w *world) {
			w.ctl.Call(http.MethodPost, w.ctl.Account("/access/organizations/revoke_user"), api.RevokeUser{Email: email}, nil)
		}),
		"the device was revoked":    told(adminRoot, (*world).revokeDevice),
		"the device is not known":   told(api.ExplainRequest{Device: "nothing", Target: "web-1", Port: 22}, nil),
		"the target does not exist": told(api.ExplainRequest{Target: "nowhere", Port: 22}, nil),
		"the virtual network is not permitted to the device": told(api.ExplainRequest{Target: "far-away", Port: 22}, func(w *world) {
			var all []string
			w.change(func() {
				for i := range 40 {
					id := w.ctl.VNET(fmt.Sprintf("net-%02d", i))
					all = append(all, id)
					w.ctl.Target("near", addr1, id)
				}
			})
			var without string
			testwait.Until(w.tb, "a network is without a slot", func() bool {
				for _, id := range all {
					e := w.adminExplain(api.ExplainRequest{Target: addr1, Port: 22, VNET: id, Offline: true})
					if e.Code == api.CodeVNETNotPermitted {
						without = id
					}
				}
				return without != ""
			})
			w.ctl.Target("far-away", addr2, without)
		}),
		"the target moved to another virtual network": told(api.ExplainRequest{Target: "web-1", Port: 22, VNET: "default"}, (*world).moveTarget),
		"there is no route":                           told(adminRoot, (*world).deleteRoutes),
		"no application covers the port":              told(api.ExplainRequest{Target: "web-1", Port: 80}, nil),
		"the application is for another protocol": told(api.ExplainRequest{Target: "web-1", Port: 53}, func(w *world) {
			w.change(func() { w.ctl.App("names", "web-1", "UDP", 53, email) })
		}),
		"no policy includes the user": told(adminRoot, func(w *world) { w.include([]access.Rule{access.EmailRule("eve@company.com")}, nil, nil) }),
		"a require rule is not met": told(adminRoot, func(w *world) {
			w.include([]access.Rule{access.EmailRule(email)}, []access.Rule{mustRule(w.tb, `{"okta":{"name":"admins"}}`)}, nil)
		}),
		"an exclude rule matches": told(adminRoot, func(w *world) {
			w.include([]access.Rule{access.Everyone()}, nil, []access.Rule{access.EmailRule(email)})
		}),
		"the login is not granted":              told(api.ExplainRequest{Target: "web-1", Port: 22, Login: "oracle"}, nil),
		"the connector is down":                 told(adminRoot, (*world).dropConnector),
		"no gateway is in contact with control": told(adminRoot, (*world).stopGateway),
		"sshd does not trust the CA":            told(adminRoot, func(w *world) { w.host.trusted.Store(false) }),
	}
}

func TestExplain_NothingInTheWay(t *testing.T) {
	w := newWorld(t, options{})
	e := w.explain(asRoot)
	if e.Code != "" || !e.Live {
		t.Errorf("code %q, live %v: %+v", e.Code, e.Live, e.Steps)
	}
	w.listening()
	a := w.adminExplain(adminRoot)
	if a.Code != "" || !a.Allowed || len(a.Gateways) != 1 || !a.Gateways[0].Answered {
		t.Errorf("for administrators: %+v", a)
	}
	testwait.Until(t, "the target had a login of each", func() bool { return w.host.logins.Load() == 2 })
	off := w.explain(localapi.ExplainRequest{Name: "web-1", Port: 22, Login: "root", Offline: true})
	if off.Code != "" || off.Live {
		t.Errorf("offline: %+v", off)
	}
}

// TestExplain_TellsNothingOfOthers: what a user may not reach answers, to the letter, as what does not exist.
func TestExplain_TellsNothingOfOthers(t *testing.T) {
	w := newWorld(t, options{})
	w.ctl.Target("secret", "10.20.0.77", w.net1)
	w.ctl.App("their secret", "secret", "SSH", 22, "eve@company.com", "root")
	w.ctl.Target("lonely", "10.20.0.78", w.net1)
	w.ctl.Target("almost", "10.20.0.79", w.net1)
	w.change(func() {
		app := w.ctl.App("almost mine", "almost", "SSH", 22, email, "root")
		w.ctl.Call(http.MethodPut, w.ctl.Account("/access/apps/"+app.ID+"/policies/"+app.Policies[0].ID), api.PolicyWrite{
			Name: "almost", Decision: "allow", Include: []access.Rule{access.EmailRule(email)},
			Require: []access.Rule{mustRule(t, `{"okta":{"name":"admins"}}`)}, Connection: app.Policies[0].Connection,
		}, nil)
	})
	w.listed("almost", 22, false)
	ask := func(name string) localapi.Explanation {
		e := w.explain(localapi.ExplainRequest{Name: name, Port: 22, Login: "root"})
		e.Target, e.StateAgeSeconds = "", 0
		return e
	}
	// For a moment the policy stood there without what it requires; the gateway may not have heard yet that it does.
	testwait.Until(t, "the gateway follows", func() bool { return dump(ask("10.20.0.79")) == dump(ask("10.20.0.200")) })
	for _, pair := range [][2]string{{"secret", "nowhere"}, {"lonely", "nowhere"}, {"almost", "nowhere"}, {"10.20.0.77", "10.20.0.200"}, {"10.20.0.79", "10.20.0.200"}} {
		if got, want := dump(ask(pair[0])), dump(ask(pair[1])); got != want {
			t.Errorf("%s:\n%s\n%s:\n%s", pair[0], got, pair[1], want)
		}
	}
}

func TestFaults_Explain(t *testing.T) {
	checkTable(t, faults.UserExplain, userInjections())
}

func TestFaults_AdminExplain(t *testing.T) {
	checkTable(t, faults.AdminExplain, adminInjections())
}

// checkTable injects every cause of a tool; both tables must hold the same.
func checkTable(t *testing.T, tool faults.Tool, injections map[string]injection) {
	t.Helper()
	seen := 0
	for _, c := range faults.Table() {
		if c.Tool != tool {
			continue
		}
		seen++
		inject, ok := injections[c.Name]
		if !ok {
			t.Errorf("nothing injects %q", c.Name)
			continue
		}
		if seen%every != 0 {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if got := inject(t); got != c.Code {
				t.Errorf("named %q, want %q", got, c.Code)
			}
		})
	}
	if seen != len(injections) {
		t.Errorf("%d causes in the table, %d are injected", seen, len(injections))
	}
}
