package gateway_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/api"
	"weft/gateway/audit"
)

// limits are what the one policy of the world says.
func limits(maxDuration, idle time.Duration) func(*api.GatewayState) {
	return func(st *api.GatewayState) {
		app := st.Applications["app"]
		app.Policies[0].SSH.MaxSessionDuration, app.Policies[0].SSH.IdleTimeout = maxDuration, idle
		st.Applications["app"] = app
	}
}

func TestTimes_EndASessionWithTheReason(t *testing.T) {
	for _, tt := range []struct {
		name         string
		before, live func(*api.GatewayState)
		reason, told string
	}{
		{"the policy has a limit", limits(time.Hour, time.Hour), limits(time.Second, time.Hour), "max_duration", `session ended: the policy "people" allows sessions of 1s`},
		{"it gets one", nil, limits(time.Second, 0), "max_duration", `session ended: the policy "people" allows sessions of 1s`},
		{"nobody may be idle any more", nil, limits(0, time.Second), "idle_timeout", `session ended: the policy "people" allows 1s without data`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			target := serveSSH(t, w.control.ca.PublicKey())
			w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
			if tt.before != nil {
				w.update(tt.before)
			}
			client, banner, err := w.login("ubuntu")
			if err != nil {
				t.Fatalf("login: %v (%s)", err, banner)
			}
			shell, stderr := liveShell(t, client)
			if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				t.Fatalf("keepalive: %v", err)
			}
			if tt.live != nil {
				w.update(tt.live)
			}
			stop := make(chan struct{})
			var pings sync.WaitGroup
			pings.Go(func() { // keepalives are no data
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
						_, _, _ = client.SendRequest("keepalive@openssh.com", true, nil)
					}
				}
			})
			_ = shell.Wait()
			close(stop)
			pings.Wait()
			if !strings.Contains(stderr.String(), tt.told) {
				t.Errorf("the user was told %q", stderr.String())
			}
			if e := w.lastAudit(audit.FlowClose); e.Reason != tt.reason || !strings.Contains(e.Error, "people") || *e.DurationMS < 1000 {
				t.Errorf("on record: %+v", e)
			}
		})
	}
}

// The limits that the policy has at the login are in force without any news. How far the client gets within the second depends
// on the machine.
func TestTimes_AreThoseOfTheLogin(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr})
	w.update(limits(time.Second, 0))
	if _, banner, err := w.login("ubuntu"); err != nil {
		t.Logf("login: %v (%s)", err, banner)
	}
	if e := w.lastAudit(audit.FlowClose); e.Reason != "max_duration" || e.Login != "ubuntu" {
		t.Errorf("on record: %+v", e)
	}
}

// A session in use has no idle limit to fear, and a limit that is taken away has never been.
func TestTimes_LeaveOthersAlone(t *testing.T) {
	w := newWorld(t)
	target := serveSSH(t, w.control.ca.PublicKey())
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portSSH): target.addr, at(portTCP): serveTCP(t, "a")})
	w.update(limits(time.Hour, 30*time.Second))
	client, banner, err := w.login("ubuntu")
	if err != nil {
		t.Fatalf("login: %v (%s)", err, banner)
	}
	shell, _ := liveShell(t, client)
	tcp := w.mustDial(slotA, portTCP)
	readName(t, tcp)
	w.update(limits(0, 0))
	w.update(limits(time.Second, 0)) // of SSH sessions only
	_ = shell.Wait()
	expectAlive(t, tcp)
}
