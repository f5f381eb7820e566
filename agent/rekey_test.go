package agent_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/agent/relay"
	"weft/api"
	"weft/internal/testwait"
	"weft/tunnel"
)

// offer makes a key a peer without addresses, as gateways do.
func (g *fakeGateway) offer(tb testing.TB, public string) {
	tb.Helper()
	k, err := tunnel.ParsePublicKey(public)
	must(tb, err)
	must(tb, g.tun.SetPeer(tunnel.Peer{PublicKey: k}))
}

// move gives the addresses to another key.
func (g *fakeGateway) move(tb testing.TB, from, to string) {
	tb.Helper()
	k, err := tunnel.ParsePublicKey(to)
	must(tb, err)
	must(tb, g.tun.SetPeer(tunnel.Peer{PublicKey: k, AllowedIPs: []netip.Prefix{g.block.V4, g.block.V6}}))
	old, err := tunnel.ParsePublicKey(from)
	must(tb, err)
	must(tb, g.tun.RemovePeer(old))
}

// state names a key as control's.
func (w *world) stateWithKey(public string) *api.AgentState {
	st := w.gateway.state()
	st.Self.PublicKey = public
	return st
}

func echoOnce(tb testing.TB, f relay.Flow) {
	tb.Helper()
	must(tb, f.SetDeadline(time.Now().Add(15*time.Second)))
	if _, err := f.Write([]byte("x")); err != nil {
		tb.Fatalf("write: %v", err)
	}
	if _, err := io.ReadFull(f, make([]byte, 1)); err != nil {
		tb.Fatalf("read: %v", err)
	}
}

func (w *world) echoFlow(tb testing.TB) relay.Flow {
	tb.Helper()
	f, err := w.agent.DialFlow(tb.Context(), localapi.Dial{Name: "do-target", Port: echoPort})
	must(tb, err)
	tb.Cleanup(f.Abort)
	echoOnce(tb, f)
	return f
}

func TestRotateKeys_FlowsLiveOn(t *testing.T) {
	w := newWorld(t)
	f := w.echoFlow(t)
	old := w.control.devicePublicKey()
	var current atomic.Value
	current.Store(old)
	w.control.onKey = func(k api.AgentKey) error {
		if k.Confirm {
			w.gateway.move(t, current.Swap(k.PublicKey).(string), k.PublicKey)
			w.control.set(w.stateWithKey(k.PublicKey))
			return nil
		}
		w.gateway.offer(t, k.PublicKey)
		return nil
	}
	for range 3 {
		r, err := w.agent.RotateKeys(t.Context())
		must(t, err)
		if r.OldPublicKey != old || r.NewPublicKey == old || r.FlowsKept != 1 {
			t.Errorf("rotation %+v", r)
		}
		t.Logf("key changed in %.1f ms", r.TookMS)
		old = r.NewPublicKey
		echoOnce(t, f)
	}
	reg, err := w.agent.Registration()
	must(t, err)
	if tun := w.agent.Tunnel(); reg.PublicKey != old || tun.PublicKey != old {
		t.Errorf("registration has key %s, the tunnel %s; want %s", reg.PublicKey, tun.PublicKey, old)
	}
	// And after a restart it is the new one.
	w.agent = w.agent.restart()
	w.agent.waitState(localapi.Connected)
	w.echoFlow(t)
}

// Until the gateway has shaken hands with the new key, the old one is in force.
func TestRotateKeys_GatewayDoesNotTakeIt(t *testing.T) {
	w := newWorld(t)
	f := w.echoFlow(t)
	old := w.control.devicePublicKey()
	confirmed := false
	w.control.onKey = func(k api.AgentKey) error {
		confirmed = confirmed || k.Confirm
		return nil // but no gateway hears of it
	}
	_, err := w.agent.RotateKeys(t.Context())
	wantFault(t, err, localapi.CodeTimeout, "the old key stays")
	if confirmed {
		t.Error("the key was confirmed without a handshake")
	}
	echoOnce(t, f)
	if got := w.agent.Tunnel().PublicKey; got != old {
		t.Errorf("key %s, want the old one", got)
	}
}

// When the answer to the confirmation is lost, control's state says which key is in force.
func TestRotateKeys_ConfirmationLost(t *testing.T) {
	w := newWorld(t)
	f := w.echoFlow(t)
	old := w.control.devicePublicKey()
	var next atomic.Value
	w.control.onKey = func(k api.AgentKey) error {
		if !k.Confirm {
			w.gateway.offer(t, k.PublicKey)
			return nil
		}
		w.gateway.move(t, old, k.PublicKey)
		next.Store(k.PublicKey)
		return errors.New("the answer is lost")
	}
	_, err := w.agent.RotateKeys(t.Context())
	wantFault(t, err, "unavailable", "confirm the new key")
	w.control.set(w.stateWithKey(next.Load().(string)))
	testwait.Until(t, "the key that control names", func() bool {
		return w.agent.Tunnel().PublicKey == next.Load().(string)
	})
	echoOnce(t, f)
	testwait.Until(t, "it is the only one", func() bool {
		r, err := w.agent.Registration()
		return err == nil && r.PublicKey == next.Load().(string)
	})
}

func TestRotateKeys_NotConnected(t *testing.T) {
	w := newWorld(t)
	_, err := w.agent.Disconnect(t.Context())
	must(t, err)
	_, err = w.agent.RotateKeys(t.Context())
	wantFault(t, err, localapi.CodeNotConnected, "warp-cli connect")
	must(t, w.agent.Unregister(context.WithoutCancel(t.Context())))
	_, err = w.agent.RotateKeys(t.Context())
	wantFault(t, err, localapi.CodeNotRegistered, "")
}
