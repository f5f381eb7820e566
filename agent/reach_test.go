package agent_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/api"
	"weft/internal/testwait"
)

func faultCode(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

func TestSSHHost(t *testing.T) {
	w := newWorld(t)
	st := w.gateway.state()
	st.Self.SSHHostCAs = []string{"ssh-ed25519 AAAA"}
	st.Entries["t-c/22/TCP"] = api.AgentEntry{
		TargetID: "t-c", Hostname: "raw", Protocol: "TCP", Port: 22, IPv4: &api.AgentAddress{Addr: target4.Next(), VNET: netA},
	}
	st.Entries["t-d/22/SSH"] = api.AgentEntry{TargetID: "t-d", Hostname: "twin", Protocol: "SSH", Port: 22, IPv4: &api.AgentAddress{Addr: target4.Prev(), VNET: netA}}
	st.Entries["t-e/22/SSH"] = api.AgentEntry{TargetID: "t-e", Hostname: "twin", Protocol: "SSH", Port: 22, IPv4: &api.AgentAddress{Addr: target4.Prev().Prev(), VNET: netA}}
	w.control.set(st)
	testwait.Until(t, "the new state", func() bool {
		h, err := w.agent.SSHHost("raw", 22)
		return err == nil && h.Known
	})
	base := localapi.SSHHost{SchemaVersion: 1, CertAuthorities: []string{"ssh-ed25519 AAAA"}, VNETs: []string{"a1net", "b1net"}}
	target := func(id, host, vnet, name string, qualified, terminated bool) localapi.SSHHost {
		h := base
		h.Known, h.TargetID, h.Hostname, h.VNETID, h.VNETName, h.Qualified, h.Terminated = true, id, host, vnet, name, qualified, terminated
		return h
	}
	ambiguous := base
	ambiguous.Known, ambiguous.Ambiguous = true, true
	for _, tt := range []struct {
		name string
		port uint16
		want localapi.SSHHost
	}{
		{"do-target", 22, target("t-a", "do-target", string(netA), "a1net", false, true)},
		{"do-target", 0, target("t-a", "do-target", string(netA), "a1net", false, true)},
		{"do-target", 23, target("t-a", "do-target", string(netA), "a1net", false, false)},
		{"DO-target.A1NET", 22, target("t-a", "do-target", string(netA), "a1net", true, true)},
		{"az-target", 22, target("t-b", "az-target", string(netB), "b1net", false, true)},
		{"raw", 22, target("t-c", "raw", string(netA), "a1net", false, false)},
		{"twin", 22, ambiguous},
		{"do-target.b1net", 22, base},
		{"10.1.2.3", 22, target("", "", string(netA), "a1net", false, true)},
		{"10.1.2.3", 23, base},
		{"10.1.2.4", 22, base},
		{"github.com", 22, base},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := w.agent.SSHHost(tt.name, tt.port)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for name, want := range map[string]string{"do-target": localapi.SSHGatewayAlias, "10.1.2.3": localapi.SSHGatewayAlias, "raw": ""} {
		if r, err := w.agent.Resolve(name, "", 22); err != nil || r.HostKeyAlias != want {
			t.Errorf("%s: alias %q, %v; want %q", name, r.HostKeyAlias, err, want)
		}
	}
	// Whether a name is a target's does not depend on the tunnel.
	_, err := w.agent.Disconnect(t.Context())
	must(t, err)
	if h, err := w.agent.SSHHost("do-target", 22); err != nil || !h.Known {
		t.Errorf("disconnected: %+v, %v", h, err)
	}
}

// through asks the port that says which network answers.
func through(t *testing.T, network, addr string) string {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), network, addr)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	b, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

func (r *running) forward(name string) localapi.Forward {
	for _, f := range r.Forwards().Forwards {
		if f.Name == name {
			return f
		}
	}
	return localapi.Forward{}
}

func TestForwards(t *testing.T) {
	w := newWorld(t)
	add := func(f localapi.NewForward) localapi.Forward {
		t.Helper()
		got, err := w.agent.AddForward(t.Context(), f)
		must(t, err)
		return got
	}
	dir, err := os.MkdirTemp("", "wr") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := add(localapi.NewForward{Name: "a", Listen: "0", Target: "do-target", Port: namePort})
	b := add(localapi.NewForward{Name: "b", Listen: "unix:" + filepath.Join(dir, "b"), Target: "10.1.2.3", Port: namePort, VNET: "b1net"})
	only := add(localapi.NewForward{Listen: "0", Target: "az-target"})
	udp := add(localapi.NewForward{Name: "u", Listen: "0", Target: "do-target", Port: echoPort, Network: "udp"})
	if only.Name != "az-target-22" || only.Port != 22 || only.VNETName != "b1net" || only.Network != "tcp" {
		t.Errorf("the only port: %+v", only)
	}
	check := func(t *testing.T) {
		t.Helper()
		if got := through(t, "tcp", a.Listen); got != string(netA) {
			t.Errorf("a leads to %q", got)
		}
		if got := through(t, "unix", b.Listen); got != string(netB) {
			t.Errorf("b leads to %q", got)
		}
		u, err := (&net.Dialer{}).DialContext(t.Context(), "udp", udp.Listen)
		must(t, err)
		defer func() { _ = u.Close() }()
		must(t, u.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = u.Write([]byte("ping"))
		must(t, err)
		buf := make([]byte, 16)
		if n, err := u.Read(buf); err != nil || string(buf[:n]) != "ping" {
			t.Errorf("the datagram: %q, %v", buf[:n], err)
		}
	}
	check(t)
	_, err = w.agent.SelectVNET(t.Context(), "b1net")
	must(t, err)
	check(t)
	t.Run("a restart", func(t *testing.T) {
		w.agent = w.agent.restart()
		w.agent.waitState(localapi.Connected)
		testwait.Until(t, "the ports", func() bool { return w.agent.forward("a").State == localapi.ForwardListening })
		check(t)
	})
	t.Run("disconnected", func(t *testing.T) {
		_, err := w.agent.Disconnect(t.Context())
		must(t, err)
		if f := w.agent.forward("a"); f.State != localapi.ForwardDisconnected {
			t.Errorf("%+v", f)
		}
		began := time.Now()
		if got := through(t, "tcp", a.Listen); got == string(netA) || time.Since(began) > 9*time.Second {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		w.connect(t)
		check(t)
	})
	t.Run("the target goes", func(t *testing.T) {
		st := w.gateway.state()
		delete(st.Entries, "t-a/22/SSH")
		w.control.set(st)
		testwait.Until(t, "state target_gone", func() bool { return w.agent.forward("a").State == localapi.ForwardTargetGone })
		if f := w.agent.forward("b"); f.State != localapi.ForwardListening {
			t.Errorf("an address is never gone: %+v", f)
		}
		if got := through(t, "tcp", a.Listen); got == string(netA) {
			t.Errorf("it leads to %q", got)
		}
		w.control.set(w.gateway.state())
		testwait.Until(t, "it is back", func() bool { return through(t, "tcp", a.Listen) == string(netA) })
	})
	for _, tt := range []struct {
		name, code string
		f          localapi.NewForward
	}{
		{"an unknown target", localapi.CodeUnknownTarget, localapi.NewForward{Listen: "0", Target: "nowhere"}},
		{"an unknown network", localapi.CodeUnknownVNET, localapi.NewForward{Listen: "0", Target: "do-target", VNET: "c1net"}},
		{"no port known", "invalid", localapi.NewForward{Listen: "0", Target: "10.9.9.9"}},
		{"another interface", "invalid", localapi.NewForward{Listen: "0.0.0.0:0", Target: "do-target"}},
		{"a bad network", "invalid", localapi.NewForward{Listen: "0", Target: "do-target", Network: "sctp"}},
		{"datagrams by a socket", "invalid", localapi.NewForward{Listen: "unix:/tmp/x", Target: "do-target", Network: "udp"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.agent.AddForward(t.Context(), tt.f)
			if got := faultCode(err); got != tt.code {
				t.Errorf("got %q (%v), want %q", got, err, tt.code)
			}
		})
	}
	must(t, w.agent.RemoveForward(t.Context(), "a"))
	if err := w.agent.RemoveForward(context.WithoutCancel(t.Context()), "a"); faultCode(err) != "not_found" {
		t.Errorf("got %v", err)
	}
}
