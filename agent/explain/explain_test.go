package explain_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/agent/explain"
	"weft/agent/localapi"
	"weft/api"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

const netA, netB = vnet.ID("net-a"), vnet.ID("net-b")

func entry(id, hostname, addr string, network vnet.ID, protocol targets.Protocol, port uint16, logins ...string) targets.Entry {
	return targets.Entry{
		Target:   targets.Target{ID: targets.ID(id), Hostname: hostname, IPv4: &targets.Address{Addr: netip.MustParseAddr(addr), VNET: network}},
		Protocol: protocol, Port: port, Usernames: logins,
	}
}

func input(q localapi.ExplainRequest) explain.Input {
	return explain.Input{
		Request: q, Known: true, Selected: netA,
		Status: localapi.Status{
			State: localapi.Connected, Reason: localapi.ReasonHealthy, Email: "jdoe@company.com", Gateway: "gw", LatencyMS: 1.5,
			StateRevision: 7, StateAgeSeconds: 2, ControlConnected: true,
		},
		Networks: []vnet.Network{{ID: netA, Name: "prod", Default: true}, {ID: netB, Name: "staging"}},
		Entries: []targets.Entry{
			entry("t1", "web-1", "10.0.0.1", netA, targets.SSH, 22, "alice", "root"),
			entry("t1", "web-1", "10.0.0.1", netA, targets.HTTP, 80),
			entry("t2", "db-1", "10.0.0.2", netA, targets.SSH, 22, "postgres"),
			entry("t3", "web-2", "10.0.0.1", netB, targets.SSH, 22, "root"),
			entry("t4", "dns-1", "10.0.0.4", netA, targets.UDP, 53),
			entry("t5", "twin", "10.0.0.5", netA, targets.SSH, 22, "root"),
			entry("t6", "twin", "10.0.0.6", netA, targets.SSH, 22, "root"),
		},
		HasAddress: func(vnet.ID, netip.Addr) bool { return true },
	}
}

// gateway answers what it is told; a code makes its step fail.
func gateway(revision uint64, step, code string) func(context.Context, api.FlowQuestion) (api.FlowAnswer, error) {
	return func(context.Context, api.FlowQuestion) (api.FlowAnswer, error) {
		a := api.FlowAnswer{Version: api.FlowAnswerVersion, Revision: revision}
		for _, s := range []string{
			api.StepRoute, api.StepIdentity, api.StepPolicy, api.StepLogin, api.StepConnect, api.StepTCP, api.StepHostKey, api.StepSSHLogin,
		} {
			if s == step {
				a.Steps = append(a.Steps, api.FlowStep{Step: s, State: api.StepFailed, Code: code, Evidence: "it said so"})
				break
			}
			a.Steps = append(a.Steps, api.FlowStep{Step: s, State: api.StepOK, Evidence: "fine"})
		}
		return a, nil
	}
}

func TestExplain(t *testing.T) {
	ssh := func(name, login string) localapi.ExplainRequest {
		return localapi.ExplainRequest{Name: name, Port: 22, Login: login}
	}
	for _, tt := range []struct {
		name string
		q    localapi.ExplainRequest
		with func(*explain.Input)
		code string
		step string
	}{
		{name: "all is well", q: ssh("web-1", "root")},
		{name: "by address", q: ssh("10.0.0.1", "root")},
		{name: "by ID", q: ssh("t2", "postgres")},
		{name: "by qualified name", q: ssh("web-2.staging", "root")},
		{name: "an unknown name", q: ssh("nothing", ""), code: api.CodeTargetUnknown, step: api.StepName},
		{name: "an address that is not on the list yet", q: ssh("10.9.9.9", "")},
		{name: "an address that the gateway refuses", q: ssh("10.9.9.9", ""), code: api.CodeTargetUnknown, step: api.StepName, with: func(in *explain.Input) { in.Ask = gateway(7, api.StepPolicy, api.CodeNotPermitted) }},
		{name: "an address of which the account lets know", q: ssh("10.9.9.9", ""), code: api.CodeExcluded, step: api.StepPolicy, with: func(in *explain.Input) { in.Ask = gateway(7, api.StepPolicy, api.CodeExcluded) }},
		{name: "an ambiguous name", q: ssh("twin", ""), code: api.CodeNameAmbiguous, step: api.StepName},
		{name: "an unknown network", q: localapi.ExplainRequest{Name: "web-1", Port: 22, VNET: "nowhere"}, code: api.CodeVNETUnknown, step: api.StepVNET},
		{name: "an unknown name in an unknown network", q: localapi.ExplainRequest{Name: "nothing", Port: 22, VNET: "nowhere"}, code: api.CodeTargetUnknown, step: api.StepName},
		{name: "the wrong network", q: localapi.ExplainRequest{Name: "web-1", Port: 22, VNET: "staging"}, code: api.CodeTargetInOtherVNET, step: api.StepVNET},
		{name: "an address of another network", q: localapi.ExplainRequest{Name: "10.0.0.2", Port: 22, VNET: "staging"}, code: api.CodeTargetInOtherVNET, step: api.StepVNET},
		{name: "another port", q: localapi.ExplainRequest{Name: "web-1", Port: 443}, code: api.CodePortNotGranted, step: api.StepTarget},
		{name: "a port that a rule blocks", q: localapi.ExplainRequest{Name: "web-1", Port: 443}, code: api.CodeNetworkRule, step: api.StepPolicy, with: func(in *explain.Input) {
			in.Ask = gateway(7, api.StepPolicy, api.CodeNetworkRule)
		}},
		{name: "a port that a rule blocks, offline", q: localapi.ExplainRequest{Name: "web-1", Port: 443, Offline: true}, code: api.CodePortNotGranted, step: api.StepTarget, with: func(in *explain.Input) {
			in.Ask = gateway(7, api.StepPolicy, api.CodeNetworkRule)
		}},
		{name: "a port for UDP", q: localapi.ExplainRequest{Name: "dns-1", Port: 53}, code: api.CodeProtocolNotTCP, step: api.StepTarget},
		{name: "not registered", q: ssh("web-1", ""), code: api.CodeNotRegistered, step: api.StepDevice, with: func(in *explain.Input) { in.Known, in.Status = false, localapi.Status{State: localapi.Unregistered} }},
		{name: "revoked", q: ssh("web-1", ""), code: api.CodeRegistrationRevoked, step: api.StepDevice, with: func(in *explain.Input) {
			in.Known, in.Status = false, localapi.Status{State: localapi.Disconnected, Reason: localapi.ReasonRevoked}
		}},
		{name: "the key cannot be read", q: ssh("web-1", ""), code: api.CodeKeyStore, step: api.StepDevice, with: func(in *explain.Input) {
			in.Status.State, in.Status.Reason = localapi.Disconnected, localapi.ReasonKeyStore
		}},
		{name: "disconnected", q: ssh("web-1", ""), code: api.CodeNotConnected, step: api.StepDevice, with: func(in *explain.Input) {
			in.Status.State, in.Status.Reason = localapi.Disconnected, localapi.ReasonManual
		}},
		{name: "no answer", q: ssh("web-1", ""), code: api.CodeGatewaySilent, step: api.StepDevice, with: func(in *explain.Input) {
			in.Status.State, in.Status.Reason = localapi.Connecting, localapi.ReasonGatewayUnreachable
		}},
		{name: "no answer to the question", q: ssh("web-1", ""), code: api.CodeGatewaySilent, step: api.StepDevice, with: func(in *explain.Input) {
			in.Ask = func(context.Context, api.FlowQuestion) (api.FlowAnswer, error) {
				return api.FlowAnswer{}, errors.New("gone")
			}
		}},
		{name: "no address", q: ssh("web-1", ""), code: api.CodeNoTunnelAddress, step: api.StepDevice, with: func(in *explain.Input) {
			in.HasAddress = func(vnet.ID, netip.Addr) bool { return false }
		}},
		{name: "no route", q: ssh("web-1", ""), code: api.CodeNoRoute, step: api.StepRoute, with: func(in *explain.Input) { in.Ask = gateway(7, api.StepRoute, api.CodeNoRoute) }},
		{name: "refused by the gateway", q: ssh("web-1", ""), code: api.CodeNotPermitted, step: api.StepPolicy, with: func(in *explain.Input) { in.Ask = gateway(9, api.StepPolicy, api.CodeNotPermitted) }},
		{name: "refused, and the list is old", q: ssh("web-1", ""), code: api.CodeStateStale, step: api.StepPolicy, with: func(in *explain.Input) {
			in.Ask, in.Status.ControlConnected = gateway(9, api.StepPolicy, api.CodeNotPermitted), false
		}},
		{name: "a login that is not granted", q: ssh("web-1", "oracle"), code: api.CodeLoginNotGranted, step: api.StepLogin, with: func(in *explain.Input) { in.Ask = gateway(7, api.StepLogin, api.CodeLoginNotGranted) }},
		{name: "a login that is granted elsewhere", q: ssh("web-1", "postgres"), code: api.CodeLoginElsewhere, step: api.StepLogin, with: func(in *explain.Input) { in.Ask = gateway(7, api.StepLogin, api.CodeLoginNotGranted) }},
		{name: "a failure without a code has one", q: ssh("web-1", ""), code: api.CodeNotPermitted, step: api.StepTCP, with: func(in *explain.Input) { in.Ask = gateway(7, api.StepTCP, "") }},
		{name: "offline", q: localapi.ExplainRequest{Name: "web-1", Port: 22, Login: "root", Offline: true}},
		{name: "offline, an old list, disconnected", q: localapi.ExplainRequest{Name: "web-1", Port: 22, Login: "oracle", Offline: true}, code: api.CodeLoginNotGranted, step: api.StepLogin, with: func(in *explain.Input) {
			in.Status.State, in.Status.Reason, in.Status.ControlConnected, in.Status.StateAgeSeconds = localapi.Disconnected, localapi.ReasonManual, false, 7200
		}},
		{name: "a gateway that takes no questions", q: ssh("web-1", "root"), with: func(in *explain.Input) {
			in.Ask = func(context.Context, api.FlowQuestion) (api.FlowAnswer, error) {
				return api.FlowAnswer{}, explain.ErrNotAsked
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := input(tt.q)
			in.Ask = gateway(7, "", "")
			if tt.with != nil {
				tt.with(&in)
			}
			e, err := explain.Explain(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			check(t, e, tt.code, tt.step)
		})
	}
}

// check holds every explanation to its form: twelve steps, one failure at most, with a remedy, and nothing reached behind it.
func check(t *testing.T, e localapi.Explanation, code, step string) {
	t.Helper()
	if e.Code != code || len(e.Steps) != 12 || e.SchemaVersion != localapi.SchemaVersion {
		t.Errorf("code %q, want %q; %d steps", e.Code, code, len(e.Steps))
	}
	failed := ""
	for _, s := range e.Steps {
		switch {
		case failed != "" && s.State != localapi.StepNotReached:
			t.Errorf("%s is %s behind a failure", s.Step, s.State)
		case s.State == localapi.StepFailed:
			failed = s.Step
			if s.Code != code || s.Remedy == "" || s.Evidence == "" {
				t.Errorf("failed without a code, evidence or remedy: %+v", s)
			}
		case s.Code != "" || s.Remedy != "":
			t.Errorf("%+v has what only a failure has", s)
		}
	}
	if failed != step {
		t.Errorf("failed at %q, want %q", failed, step)
	}
}

func TestExplain_AddressWithoutNetwork(t *testing.T) {
	in := input(localapi.ExplainRequest{Name: "10.0.0.1", Port: 22})
	in.Selected = ""
	if _, err := explain.Explain(t.Context(), in); !kind.Is(err, kind.Invalid) {
		t.Errorf("got %v, want kind.Invalid", err)
	}
}

func TestExplain_EveryCodeHasARemedy(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range api.ExplainCodes() {
		if seen[c.Code] || c.Code == "" || c.User == "" && c.Admin == "" {
			t.Errorf("%q is there twice, or has no remedy", c.Code)
		}
		seen[c.Code] = true
		if api.ExplainRemedy(c.Code, true) == "" || api.ExplainRemedy(c.Code, false) == "" {
			t.Errorf("%q has no remedy for one side", c.Code)
		}
	}
	if api.ExplainRemedy("no such code", true) != "" {
		t.Error("an unknown code has a remedy")
	}
	src, err := os.ReadFile(filepath.FromSlash("../../api/explaincode.go"))
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(src), "// ExplainCode is")
	for line := range strings.Lines(head) {
		if _, code, ok := strings.Cut(line, ` = "`); ok && !seen[strings.TrimSuffix(strings.TrimSpace(code), `"`)] {
			t.Errorf("%s is not in the table", strings.TrimSpace(line))
		}
	}
}

func TestExplain_SameAnswer(t *testing.T) {
	a, err := explain.Explain(t.Context(), input(localapi.ExplainRequest{Name: "10.9.9.9", Port: 22}))
	if err != nil {
		t.Fatal(err)
	}
	b, err := explain.Explain(t.Context(), input(localapi.ExplainRequest{Name: "nothing", Port: 22}))
	if err != nil {
		t.Fatal(err)
	}
	a.Target, b.Target = "", ""
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
}
