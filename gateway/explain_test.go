package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weft/access"
	"weft/api"
	"weft/gateway"
	"weft/gateway/audit"
	"weft/targets"
	"weft/vnet"
)

// ask puts a question to the gateway as an agent does, and returns the answer as it came.
func (w *world) ask(slot vnet.Slot, line string) (string, error) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.tb.Context(), 20*time.Second)
	defer cancel()
	at, _ := pool.GatewayAddrs()
	c, err := w.client.DialTCP(ctx, w.source(slot), netip.AddrPortFrom(at, probePort))
	if err != nil {
		return "", err
	}
	defer c.Abort()
	stop := context.AfterFunc(ctx, c.Abort)
	defer stop()
	if _, err := c.Write([]byte(line)); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func question(tb testing.TB, network vnet.ID, at string, login string) string {
	tb.Helper()
	raw, err := json.Marshal(api.FlowQuestion{VNET: network, Destination: netip.MustParseAddrPort(at), Login: login})
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw) + "\n"
}

// explained asks and returns the code of the step that failed, with the step.
func (w *world) explained(network vnet.ID, at, login string) (code, step string, a api.FlowAnswer) {
	w.tb.Helper()
	text, err := w.ask(vnet.ControlSlot, question(w.tb, network, at, login))
	if err != nil {
		w.tb.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		w.tb.Fatalf("%q: %v", text, err)
	}
	if a.Version != api.FlowAnswerVersion || len(a.Steps) != 8 {
		w.tb.Fatalf("%q", text)
	}
	for _, s := range a.Steps {
		if s.State == api.StepFailed {
			if code != "" {
				w.tb.Errorf("two steps failed: %q", text)
			}
			code, step = s.Code, s.Step
		}
	}
	return code, step, a
}

func TestExplain_Answers(t *testing.T) {
	w := newWorld(t)
	host := serveSSH(t, w.control.ca.PublicKey())
	echo := serveTCP(t, "a")
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): host.addr, at(portTCP): echo})
	w.update(func(st *api.GatewayState) {
		st.Targets["far"] = api.WireTarget{ID: "far", Hostname: "host-a", IPv4: &api.AgentAddress{Addr: netip.MustParseAddr("172.16.0.1"), VNET: netA}}
	})
	for _, tt := range []struct {
		name, at, login string
		network         vnet.ID
		code, step      string
	}{
		{name: "a login that works", at: "10.20.0.5:22", login: "ubuntu", network: netA},
		{name: "the host key alone", at: "10.20.0.5:22", network: netA},
		{name: "a relayed protocol", at: "10.20.0.5:9000", network: netA},
		{name: "a login that is not granted", at: "10.20.0.5:22", login: "root", network: netA, code: api.CodeLoginNotGranted, step: api.StepLogin},
		{name: "no connector has come", at: "10.20.0.5:22", network: netB, code: api.CodeConnectorMissing, step: api.StepConnect},
		{name: "no route", at: "172.16.0.1:22", network: netA, code: api.CodeNoRoute, step: api.StepRoute},
		{name: "a network that is not the device's", at: "10.20.0.5:22", network: "nowhere", code: api.CodeVNETNotPermitted, step: api.StepRoute},
		{name: "a forbidden address", at: "127.0.0.1:22", network: netA, code: api.CodeForbidden, step: api.StepRoute},
		{name: "no target", at: "10.20.0.200:22", network: netA, code: api.CodeNotPermitted, step: api.StepPolicy},
		{name: "no application", at: "10.20.0.5:80", network: netA, code: api.CodeNotPermitted, step: api.StepPolicy},
	} {
		code, step, a := w.explained(tt.network, tt.at, tt.login)
		if code != tt.code || step != tt.step {
			t.Errorf("%s: %q at %q, want %q at %q: %+v", tt.name, code, step, tt.code, tt.step, a.Steps)
		}
	}
	if n := host.logins.Load(); n != 1 {
		t.Errorf("%d logins, want one", n)
	}
	// All that was tried is on record as what it was, and over.
	opened := 0
	for _, e := range w.auditEvents() {
		if e.Event == audit.FlowOpen && e.Type == "explain" {
			opened++
		}
	}
	if opened != 3 {
		t.Errorf("%d flows on record as explanations, want 3", opened)
	}
	if n := w.gateway.Stats().Sessions.Open; n != 0 {
		t.Errorf("%d flows are still open", n)
	}
}

// TestExplain_TellsNothingOfOthers: beyond what lets the user in, every refusal is the same to the byte.
func TestExplain_TellsNothingOfOthers(t *testing.T) {
	w := newWorld(t)
	attrs := func(host string) []targets.Criteria {
		return []targets.Criteria{{Attributes: map[string][]string{"hostname": {host}}, Port: portSSH, Protocol: targets.SSH}}
	}
	policy := func(include, require, exclude []access.Rule) []access.Policy {
		return []access.Policy{{
			ID: "theirs", Name: "theirs", Decision: "allow", Include: include, Require: require, Exclude: exclude,
			SSH: &access.SSHRules{Usernames: []string{"ubuntu"}},
		}}
	}
	me, eve := access.EmailRule("jdoe@company.com"), access.EmailRule("eve@company.com")
	set := func(almost bool) {
		w.update(func(st *api.GatewayState) {
			st.Self.ExplainAlmost = almost
			for i, x := range []struct {
				host string
				app  []access.Policy
			}{
				{"lonely", nil},
				{"theirs", policy([]access.Rule{eve}, nil, nil)},
				{"require", policy([]access.Rule{me}, []access.Rule{eve}, nil)},
				{"exclude", policy([]access.Rule{access.Everyone()}, nil, []access.Rule{me})},
				{"unrouted", policy([]access.Rule{eve}, nil, nil)},
			} {
				addr := netip.AddrFrom4([4]byte{10, 20, 9, byte(i + 1)})
				if x.host == "unrouted" {
					addr = netip.MustParseAddr("172.16.9.5")
				}
				st.Targets[x.host] = api.WireTarget{ID: targets.ID(x.host), Hostname: x.host, IPv4: &api.AgentAddress{Addr: addr, VNET: netA}}
				if x.app != nil {
					st.Applications[x.host] = access.Application{ID: x.host, Name: x.host, Criteria: attrs(x.host), Policies: x.app}
				}
			}
		})
	}
	answer := func(at, login string) string {
		text, err := w.ask(vnet.ControlSlot, question(t, netA, at, login))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	set(false)
	for _, login := range []string{"", "ubuntu"} {
		nothing := answer("10.20.0.200:22", login)
		for _, at := range []string{"10.20.9.1:22", "10.20.9.2:22", "10.20.9.3:22", "10.20.9.4:22", "172.16.9.5:22", "172.16.0.200:22", "10.20.0.5:80"} {
			if got := answer(at, login); got != nothing {
				t.Errorf("%s:\n%s\nwhat does not exist:\n%s", at, got, nothing)
			}
		}
		if strings.Contains(nothing, "theirs") {
			t.Errorf("%s", nothing)
		}
	}
	set(true)
	for at, want := range map[string]string{"10.20.9.3:22": api.CodeRequireMissing, "10.20.9.4:22": api.CodeExcluded, "10.20.9.2:22": api.CodeNotPermitted} {
		code, step, a := w.explained(netA, at, "")
		if code != want || step != api.StepPolicy || (a.Steps[2].RuleName == "theirs") != (want != api.CodeNotPermitted) {
			t.Errorf("%s where the account lets know: %q: %+v", at, code, a.Steps)
		}
	}
}

// A rule's reason is written for whom it blocks; a rule without one stays untold, and neither tells what exists.
func TestExplain_NetworkRule(t *testing.T) {
	w := newWorld(t)
	block := func(reason string) {
		w.update(func(st *api.GatewayState) {
			st.NetworkRules = map[string]access.NetworkRule{"r": {ID: "r", Name: "secret", Action: "block", Traffic: "net.dst.port == 80 or net.dst.port == 22", BlockReason: reason}}
		})
	}
	for reason, want := range map[string]string{"": api.CodeNotPermitted, "until noon": api.CodeNetworkRule} {
		block(reason)
		for _, at := range []string{"10.20.0.5:22", "10.20.0.5:80", "10.20.0.200:80"} {
			code, step, a := w.explained(netA, at, "")
			text := fmt.Sprintf("%+v", a.Steps)
			if code != want || step != api.StepPolicy || strings.Contains(text, "secret") || !strings.Contains(text, reason) {
				t.Errorf("%q at %s: %q at %q: %s", reason, at, code, step, text)
			}
		}
	}
}

func TestExplain_OnlyFromTheControlSlot(t *testing.T) {
	w := newWorld(t)
	if text, err := w.ask(slotA, question(t, netA, "10.20.0.5:22", "")); err == nil {
		t.Errorf("a flow of a VNET was answered: %s", text)
	}
	for _, line := range []string{"\n", "{}\n", "null\n", `{"vnet":"x","destination":"nonsense"}` + "\n", strings.Repeat("x", 3*api.MaxQuestionBytes)} {
		if text, err := w.ask(vnet.ControlSlot, line); err == nil {
			t.Errorf("%.40q was answered: %s", line, text)
		}
	}
	if code, _, _ := w.explained(netA, "10.20.0.200:22", ""); code != api.CodeNotPermitted {
		t.Errorf("afterwards: %q", code)
	}
}

func TestExplain_Limit(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): listen(t, holdOpen(t))})
	codes := make(chan string, 8)
	for range cap(codes) {
		go func() {
			text, err := w.ask(vnet.ControlSlot, question(t, netA, "10.20.0.5:22", ""))
			if err != nil {
				text = err.Error()
			}
			codes <- text
		}()
	}
	w.eventually("questions over the limit are refused", 10*time.Second, func() bool { return w.gateway.ExplainsRefusedForTest() >= uint64(cap(codes)-2) })
	limited := 0
	for range cap(codes) {
		if strings.Contains(<-codes, api.CodeExplainLimit) {
			limited++
		}
	}
	if limited != cap(codes)-2 {
		t.Errorf("%d of %d were refused; two at once are allowed", limited, cap(codes))
	}
}

// holdOpen accepts and says nothing, so that a handshake lasts until its timeout or the end of the test.
func holdOpen(tb testing.TB) func(c *net.TCPConn) {
	tb.Helper()
	done := make(chan struct{})
	timer := time.AfterFunc(2*time.Second, func() { close(done) })
	tb.Cleanup(func() { timer.Stop() })
	return func(*net.TCPConn) { <-done }
}

func FuzzParseQuestion(f *testing.F) {
	f.Add([]byte(`{"vnet":"a","destination":"10.0.0.1:22","login":"root"}`))
	f.Add([]byte(`{"vnet":"a","destination":"[fd00::1]:22"}`))
	f.Add([]byte(`{"destination":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		q, err := gateway.ParseQuestionForTest(line)
		if err == nil && (q.VNET == "" || !q.Destination.IsValid() || q.Destination.Port() == 0 || len(q.Login) > access.MaxLoginBytes) {
			t.Errorf("%q gave %+v", line, q)
		}
	})
}
