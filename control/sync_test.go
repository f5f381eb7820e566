package control_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"weft/api"
	"weft/control/controltest"
	"weft/internal/kind"
)

// watching is a stream that a test follows.
type watching[S api.SyncState] struct {
	states chan *S
	err    chan error
	stop   context.CancelFunc
}

func watch[S api.SyncState](t *testing.T, c *api.Client, path string) *watching[S] {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching[S]{states: make(chan *S, 1000), err: make(chan error, 1), stop: cancel}
	go func() {
		w.err <- api.Watch(ctx, c, path, api.WatchConfig[S]{OnState: func(_ uint64, s *S) { w.states <- s }})
	}()
	t.Cleanup(cancel)
	return w
}

// until returns the first state that ok accepts.
func (w *watching[S]) until(t *testing.T, what string, ok func(*S) bool) *S {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case s := <-w.states:
			if ok(s) {
				return s
			}
		case err := <-w.err:
			t.Fatalf("waiting for %s: the stream ended: %v", what, err)
		case <-deadline:
			t.Fatalf("waiting for %s: not within 10 s", what)
		}
	}
}

// ended returns the error that ended the stream.
func (w *watching[S]) ended(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.err:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the stream did not end within 10 s")
		return nil
	}
}

func TestSync_DemoStory(t *testing.T) {
	s := controltest.New(t)
	staging, prod := s.VNET("staging"), s.VNET("prod")
	tun, token := s.Tunnel("lab")
	s.Route("10.0.0.0/24", staging, tun)
	s.Route("10.0.0.0/24", prod, tun)
	s.Target("web-1", "10.0.0.9", staging)
	s.Target("web-1", "10.0.0.9", prod)
	s.App("ssh", "web-1", "SSH", 22, "jdoe@company.com", "root")
	s.Call(http.MethodPost, s.Account("/access/gateway_ca"), nil, nil)
	gw := s.Gateway("gw")
	gwClient := s.ClientWith(api.Secret(gw.Token))
	if err := gwClient.Do(t.Context(), http.MethodPut, api.PathGatewaySelf, controltest.Report("one"), nil); err != nil {
		t.Fatal(err)
	}
	gateway := watch[api.GatewayState](t, gwClient, api.PathGatewaySync)
	gateway.until(t, "the routes", func(g *api.GatewayState) bool {
		return len(g.Routes) == 2 && len(g.Targets) == 2 && len(g.Applications) == 1 && len(g.Tunnels) == 1 && g.Self.SSHCAPublicKey != ""
	})

	dev := s.Enrol("jdoe@company.com", "laptop")
	g := gateway.until(t, "the device with its slots", func(g *api.GatewayState) bool { return len(g.Devices[dev.DeviceID].Slots) == 3 })
	if id := g.Identities[g.Devices[dev.DeviceID].UserID]; id.Email != "jdoe@company.com" {
		t.Errorf("identity is %+v", id)
	}
	agent := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync)
	a := agent.until(t, "the target list", func(a *api.AgentState) bool {
		return len(a.Entries) == 2 && len(a.Networks) == 3 && len(a.Gateways) == 1
	})
	for id, n := range a.Networks {
		if g.Devices[dev.DeviceID].Slots[n.ID] != n.Slot {
			t.Errorf("network %s has slot %d for the agent and %d for the gateway", id, n.Slot, g.Devices[dev.DeviceID].Slots[n.ID])
		}
	}

	connector := watch[api.ConnectorState](t, s.ClientWith(api.Secret(token)), api.PathConnectorSync)
	c := connector.until(t, "the gateway to dial", func(c *api.ConnectorState) bool { return len(c.Gateways) == 1 && len(c.Routes) == 2 })
	if c.Gateways[gw.ID].Key != g.Tunnels[tun].Key {
		t.Error("connector and gateway have different keys")
	}

	s.Call(http.MethodPost, s.Account("/access/organizations/revoke_user"), api.RevokeUser{Email: "JDoe@company.com"}, nil)
	gateway.until(t, "the device to go", func(g *api.GatewayState) bool { return len(g.Devices) == 0 })
	if err := agent.ended(t); !kind.Is(err, kind.Unauthenticated) {
		t.Errorf("the agent's stream ended with %v", err)
	}
}
