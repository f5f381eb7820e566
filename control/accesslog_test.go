package control_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"weft/api"
	"weft/control/controltest"
	"weft/vnet"
)

// A login that the control plane decided is in the access log, whichever way it went.
func TestAccessLog_Logins(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	target := s.Target("web-1", "10.0.0.9", s.DefaultVNET())
	app := s.App("ssh", "web-1", "SSH", 22, "a@b.c", "root")
	c.good(t, "POST", "~/access/gateway_ca", "")
	gw := s.ClientWith(api.Secret(s.Gateway("gw").Token))
	dev := s.Enrol("a@b.c", "laptop")
	login := func(device, as string) error {
		return gw.Do(t.Context(), http.MethodPost, api.PathGatewayCertificate, api.CertificateRequest{
			PublicKey: keyLine(t), SessionID: "s", DeviceID: device, VNET: vnet.ID(s.DefaultVNET()), Destination: netip.MustParseAddrPort("10.0.0.9:22"), Login: as,
		}, nil)
	}
	if err := login(dev.DeviceID, "root"); err != nil {
		t.Fatal(err)
	}
	for _, refused := range []struct{ device, as string }{{dev.DeviceID, "admin"}, {"no such device", "root"}} {
		if err := login(refused.device, refused.as); err == nil {
			t.Fatalf("%v was let in", refused)
		}
	}
	log := c.good(t, "GET", "~/access/logs/access_requests?direction=asc", "").list
	if len(log) != 3 { // an unknown device is nobody's
		t.Fatalf("log %v", log)
	}
	for i, want := range []map[string]any{
		{"action": "enrol", "allowed": true, "connection": "enrolment_key"},
		{"action": "login", "allowed": true, "connection": "device", "username": "root", "app_uid": app.ID, "app_name": "ssh", "app_domain": "web-1", "target_id": target, "reason": ""},
		{"action": "login", "allowed": false, "connection": "device", "username": "admin", "app_uid": app.ID, "target_id": target, "reason": "login_not_permitted"},
	} {
		for name, v := range want {
			if log[i][name] != v {
				t.Errorf("event %d: %s is %v, want %v", i, name, log[i][name], v)
			}
		}
		if log[i]["user_email"] != "a@b.c" || log[i]["ip_address"] != "127.0.0.1" || log[i]["device_id"] != dev.DeviceID || log[i]["ray_id"] == "" {
			t.Errorf("event %v", log[i])
		}
	}
	at := "~/access/users/" + text(log[0], "user_id")
	if got := c.good(t, "GET", at, "").result; got["last_successful_login"] != log[1]["created_at"] {
		t.Errorf("last login %v", got["last_successful_login"])
	}
	if got := fmt.Sprint(c.good(t, "GET", at+"/active_sessions", "").list); !strings.Contains(got, "hostname:web-1 name:ssh type:infrastructure uid:"+app.ID) {
		t.Errorf("sessions %s", got)
	}
	if got := c.good(t, "GET", at+"/failed_logins", "").list; len(got) != 1 || !strings.Contains(fmt.Sprint(got), "login_not_permitted") || !strings.Contains(fmt.Sprint(got), app.AUD) {
		t.Errorf("failed logins %v", got)
	}
}
