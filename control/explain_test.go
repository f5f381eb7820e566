package control_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"weft/access"
	"weft/api"
	"weft/control/controltest"
	"weft/internal/kind"
)

// explainWorld is an account with a target, an application with two policies, one user and one device.
func explainWorld(t *testing.T) (*controltest.Server, api.EnrolResponse) {
	t.Helper()
	s := controltest.New(t)
	net := s.DefaultVNET()
	tunnel, _ := s.Tunnel("office")
	s.Route("10.20.0.0/16", net, tunnel)
	s.Target("web-1", "10.20.0.5", net)
	app := s.App("web servers", "web-1", "SSH", 22, "eve@company.com", "admin")
	s.Call(http.MethodPost, s.Account("/access/apps/"+app.ID+"/policies"), api.PolicyWrite{
		Name: "engineers", Decision: "allow", Include: []access.Rule{access.EmailRule("jdoe@company.com")},
		Connection: &api.ConnectionRules{SSH: &api.SSHRules{Usernames: []string{"root"}}},
	}, nil)
	s.App("names", "web-1", "UDP", 53, "")
	return s, s.Enrol("jdoe@company.com", "laptop")
}

func explain(t *testing.T, s *controltest.Server, in api.ExplainRequest) api.Explain {
	t.Helper()
	var out api.Explain
	s.Call(http.MethodPost, api.PathExplain, in, &out)
	return out
}

func TestExplain_TellsAll(t *testing.T) {
	s, _ := explainWorld(t)
	e := explain(t, s, api.ExplainRequest{Email: "JDoe@company.com", Device: "laptop", Target: "web-1", Port: 22, Login: "root", Offline: true})
	if e.Code != "" || !e.Allowed || len(e.Steps) != 12 || e.SchemaVersion != api.ExplainSchemaVersion || len(e.Gateways) != 0 {
		t.Errorf("%+v", e)
	}
	rules := map[string]string{}
	for _, a := range e.Applications {
		for _, p := range a.Policies {
			rules[a.Name+"/"+p.Name] = p.Reason + " " + p.Rules[0].Answer + " " + p.Logins[0]
		}
		if a.Name == "names" && (a.Covers || a.Reason == "") {
			t.Errorf("%+v", a)
		}
	}
	if rules["web servers/allow"] != "no_policy no admin" || rules["web servers/engineers"] != "allowed yes root" {
		t.Errorf("rules %v", rules)
	}
}

func TestExplain_NeedsAnAPIToken(t *testing.T) {
	s, dev := explainWorld(t)
	gw := s.Gateway("gw")
	in := api.ExplainRequest{Email: "jdoe@company.com", Target: "web-1", Port: 22}
	for name, token := range map[string]string{"nobody": "", "a device": dev.Token, "a gateway": gw.Token} {
		err := s.ClientWith(api.Secret(token)).Do(t.Context(), http.MethodPost, api.PathExplain, in, nil)
		if !kind.Is(err, kind.Unauthenticated) {
			t.Errorf("%s: %v, want kind.Unauthenticated", name, err)
		}
	}
	for _, path := range []string{api.PathGatewayQuestions} {
		if err := s.ClientWith(api.Secret(dev.Token)).Do(t.Context(), http.MethodGet, path, nil, nil); !kind.Is(err, kind.Unauthenticated) {
			t.Errorf("%s for a device: %v", path, err)
		}
	}
}

func TestExplain_BadInput(t *testing.T) {
	s, _ := explainWorld(t)
	for name, in := range map[string]api.ExplainRequest{
		"no user": {Target: "web-1", Port: 22}, "no target": {Email: "a@b.c", Port: 22}, "no port": {Email: "a@b.c", Target: "web-1"},
		"a port too high": {Email: "a@b.c", Target: "web-1", Port: 65536}, "no UNIX user": {Email: "a@b.c", Target: "web-1", Port: 22, Login: "a b"},
	} {
		if err := s.Client.Do(t.Context(), http.MethodPost, api.PathExplain, in, nil); !kind.Is(err, kind.Invalid) {
			t.Errorf("%s: %v, want kind.Invalid", name, err)
		}
	}
}

// TestQuestions: a question goes to the gateway that listens, and only its own answer counts.
func TestQuestions(t *testing.T) {
	s, dev := explainWorld(t)
	one, other := s.Gateway("one"), s.Gateway("other")
	for _, g := range []api.NewGatewayResult{one, other} {
		if err := s.ClientWith(api.Secret(g.Token)).Do(t.Context(), http.MethodPut, api.PathGatewaySelf, controltest.Report("e"), nil); err != nil {
			t.Fatal(err)
		}
	}
	client := s.ClientWith(api.Secret(one.Token))
	body, err := client.Stream(t.Context(), api.PathGatewayQuestions)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	lines := bufio.NewScanner(body)
	next := func() (q api.GatewayQuestion) {
		if !lines.Scan() {
			t.Errorf("the stream ended: %v", lines.Err())
			return q
		}
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			t.Error(err)
		}
		return q
	}
	if q := next(); q.ID != "" {
		t.Errorf("the first line is %+v, not a heartbeat", q)
	}
	done := make(chan api.Explain, 1)
	go func() {
		var out api.Explain
		err := s.Client.Do(t.Context(), http.MethodPost, api.PathExplain, api.ExplainRequest{Email: "jdoe@company.com", Target: "web-1", Port: 22, Login: "root"}, &out)
		if err != nil {
			t.Error(err)
		}
		done <- out
	}()
	q := next()
	if q.DeviceID != dev.DeviceID || q.Login != "root" || q.Destination.String() != "10.20.0.5:22" {
		t.Errorf("asked %+v", q)
	}
	reply := func(code string) api.GatewayReply {
		return api.GatewayReply{ID: q.ID, FlowAnswer: api.FlowAnswer{Version: api.FlowAnswerVersion, Revision: 7, Steps: []api.FlowStep{
			{Step: api.StepConnect, State: api.StepFailed, Code: code, Evidence: "so it is"},
		}}}
	}
	// Another gateway cannot answer in its place, nor a device at all.
	if err := s.ClientWith(api.Secret(other.Token)).Do(t.Context(), http.MethodPost, api.PathGatewayAnswers, reply("forged"), nil); err != nil {
		t.Error(err)
	}
	if err := s.ClientWith(api.Secret(dev.Token)).Do(t.Context(), http.MethodPost, api.PathGatewayAnswers, reply("forged"), nil); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("a device's answer: %v", err)
	}
	if err := client.Do(t.Context(), http.MethodPost, api.PathGatewayAnswers, reply(api.CodeConnectorDown), nil); err != nil {
		t.Error(err)
	}
	select {
	case e := <-done:
		if e.Code != api.CodeConnectorDown || len(e.Gateways) != 2 {
			t.Errorf("%q of %+v", e.Code, e.Gateways)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no answer")
	}
	// Two streams may be open, a third may not.
	second, err := client.Stream(t.Context(), api.PathGatewayQuestions)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if _, err := client.Stream(t.Context(), api.PathGatewayQuestions); !kind.Is(err, kind.Limit) {
		t.Errorf("a third stream: %v, want kind.Limit", err)
	}
	if err := client.Do(t.Context(), http.MethodPost, api.PathGatewayAnswers, api.GatewayReply{ID: "x"}, nil); !kind.Is(err, kind.Invalid) {
		t.Errorf("an answer of another version: %v", err)
	}
}

func TestAgentGateways(t *testing.T) {
	s, dev := explainWorld(t)
	gw := s.Gateway("gw")
	client := s.ClientWith(api.Secret(dev.Token))
	// The answer comes from a view that follows the store by a moment.
	shows := func(connected bool) {
		t.Helper()
		var list []api.AgentGatewayStatus
		var err error
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			if err = client.Do(t.Context(), http.MethodGet, api.PathAgentGateways, nil, &list); err != nil {
				break
			}
			if len(list) == 1 && list[0].ID == gw.ID && list[0].Connected == connected {
				return
			}
		}
		t.Errorf("%+v, %v; want the gateway with connected %v", list, err, connected)
	}
	shows(false)
	body, err := s.ClientWith(api.Secret(gw.Token)).Stream(t.Context(), api.PathGatewaySync)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	shows(true)
	if err := s.ClientWith("").Do(t.Context(), http.MethodGet, api.PathAgentGateways, nil, nil); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("without a token: %v", err)
	}
}
