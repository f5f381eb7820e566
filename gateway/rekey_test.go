package gateway_test

import (
	"bufio"
	"net/netip"
	"testing"
	"time"

	"weft/api"
	"weft/tunnel"
)

// A device that changes its key keeps its flows, and its old key ends.
func TestGateway_KeyChange(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	c := w.mustDial(slotA, portTCP)
	r := bufio.NewReader(c)
	echo := func(what string) {
		t.Helper()
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x\n")); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	echo("the greeting")
	old := w.client.PublicKey()
	next, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	edit := func(f func(d *api.GatewayDevice)) {
		w.update(func(st *api.GatewayState) {
			d := st.Devices[device]
			f(&d)
			st.Devices[device] = d
		})
	}
	edit(func(d *api.GatewayDevice) { d.NextPublicKey = next.Public().String() })
	echo("before the change") // the offer alone changes nothing
	begun := time.Now()
	if err := w.client.SetPrivateKey(next); err != nil {
		t.Fatal(err)
	}
	if err := w.client.ForceHandshake(w.gateway.PublicKey()); err != nil {
		t.Fatal(err)
	}
	w.eventually("a handshake with the new key", 30*time.Second, func() bool {
		s, ok := w.client.PeerStats(w.gateway.PublicKey())
		return ok && s.LastHandshake.After(begun)
	})
	edit(func(d *api.GatewayDevice) { d.PublicKey, d.NextPublicKey = d.NextPublicKey, "" })
	echo("after the change")
	w.eventually("the old key is gone", 30*time.Second, func() bool {
		_, known := w.tunnel.PeerStats(old)
		return !known
	})
	echo("after the old key's end")
}

// An offered key that is another device's is not taken from it.
func TestGateway_OfferedKeyOfAnother(t *testing.T) {
	w := newWorld(t)
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	w.update(func(st *api.GatewayState) {
		thief := st.Devices[device]
		thief.ID, thief.BlockIndex, thief.NextPublicKey = "thief", index+1, thief.PublicKey
		key, err := tunnel.NewPrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		thief.PublicKey = key.Public().String()
		st.Devices["thief"] = thief
	})
	c := w.mustDial(slotA, portTCP)
	if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
		t.Fatalf("the owner of the key lost it: %v", err)
	}
}
