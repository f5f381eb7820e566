package agent_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
)

// throughProxy opens a flow by HTTP CONNECT.
func throughProxy(tb testing.TB, proxy, to string) net.Conn {
	tb.Helper()
	c := dialTCP(tb, proxy)
	_, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to)
	must(tb, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(tb, err)
	must(tb, resp.Body.Close())
	if resp.StatusCode != 200 {
		tb.Fatalf("CONNECT %s: %s", to, resp.Status)
	}
	return c
}

func proxyEcho(tb testing.TB, c net.Conn) {
	tb.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		tb.Fatalf("write: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		tb.Fatalf("read: %v", err)
	}
}

func TestFlows(t *testing.T) {
	w := newWorld(t)
	byHTTP := throughProxy(t, w.agent.ready.Proxy, "do-target:7")
	proxyEcho(t, byHTTP)
	s, err := client.New(w.agent.ready.Socket).Dial(t.Context(), localapi.Dial{Name: "az-target.b1net", Port: echoPort})
	must(t, err)
	defer s.Close()
	_, err = s.Write([]byte("12345"))
	must(t, err)
	_, err = s.Read(make([]byte, 5))
	must(t, err)
	l, err := w.agent.Flows(nil, nil)
	must(t, err)
	if len(l.Flows) != 2 {
		t.Fatalf("flows %+v", l.Flows)
	}
	one, two := l.Flows[0], l.Flows[1]
	if one.ID != "1" || one.Entrance != "http" || one.VNETName != "a1net" || one.Hostname != "do-target" || one.TargetID != "t-a" ||
		one.SentBytes != 1 || one.ReceivedBytes != 1 || one.Client != byHTTP.LocalAddr().String() || one.Protocol != "tcp" || one.Port != echoPort {
		t.Errorf("by HTTP: %+v", one)
	}
	if two.Entrance != "dial" || two.VNETName != "b1net" || two.SentBytes != 5 || two.SourceIP == one.SourceIP || two.Client != "" {
		t.Errorf("by dial: %+v", two)
	}
	if runtime.GOOS == "linux" && (one.PID != os.Getpid() || two.PID != os.Getpid() || one.Program == "" || one.Program != two.Program) {
		t.Errorf("programs %q (%d) and %q (%d), want this one (%d)", one.Program, one.PID, two.Program, two.PID, os.Getpid())
	}
	for _, tt := range []struct {
		vnets, targets []string
		want           int
	}{
		{[]string{"a1net"}, nil, 1},
		{[]string{"a1net", string(netB)}, nil, 2},
		{nil, []string{"DO-target"}, 1},
		{nil, []string{"az-target.b1net", "t-a"}, 2},
		{[]string{"a1net"}, []string{"az-target"}, 0},
		{nil, []string{target4.String()}, 2},
	} {
		if l, err := w.agent.Flows(tt.vnets, tt.targets); err != nil || len(l.Flows) != tt.want {
			t.Errorf("%v %v: %d flows, %v; want %d", tt.vnets, tt.targets, len(l.Flows), err, tt.want)
		}
	}
	_, err = w.agent.Flows([]string{"nowhere"}, nil)
	wantFault(t, err, localapi.CodeUnknownVNET, "nowhere")
	tun := w.agent.Tunnel()
	if !tun.Up || tun.LastHandshakeAt == nil || tun.SentPackets == 0 || tun.ProbesAnswered == 0 || len(tun.VNETs) != 2 ||
		tun.VNETs[1].FlowsOpen != 1 || tun.VNETs[1].SentBytes != 5 || tun.VNETs[1].IPv4 != two.SourceIP {
		t.Errorf("tunnel %+v", tun)
	}
}

func TestCloseFlows(t *testing.T) {
	w := newWorld(t)
	a1, a2 := throughProxy(t, w.agent.ready.Proxy, "do-target:7"), throughProxy(t, w.agent.ready.Proxy, "do-target:7")
	b := throughProxy(t, w.agent.ready.Proxy, "az-target.b1net:7")
	ended := func(c net.Conn) {
		t.Helper()
		must(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("a closed flow reads %v", err)
		}
	}
	for _, bad := range []localapi.CloseFlows{{}, {ID: "1", All: true}, {ID: "1", VNET: "a1net"}} {
		_, err := w.agent.CloseFlows(bad)
		wantFault(t, err, "invalid", "flow list")
	}
	for _, id := range []string{"99", "x", "-1", "1 "} {
		_, err := w.agent.CloseFlows(localapi.CloseFlows{ID: id})
		wantFault(t, err, "not_found", "flow list")
	}
	done, err := w.agent.CloseFlows(localapi.CloseFlows{ID: "1"})
	if err != nil || done.Closed != 1 {
		t.Errorf("one: %+v, %v", done, err)
	}
	ended(a1)
	proxyEcho(t, a2)
	if done, err = w.agent.CloseFlows(localapi.CloseFlows{VNET: "b1net"}); err != nil || done.Closed != 1 {
		t.Errorf("a network: %+v, %v", done, err)
	}
	ended(b)
	proxyEcho(t, a2)
	if done, err = w.agent.CloseFlows(localapi.CloseFlows{All: true}); err != nil || done.Closed != 1 {
		t.Errorf("all: %+v, %v", done, err)
	}
	ended(a2)
	if l, err := w.agent.Flows(nil, nil); err != nil || len(l.Flows) != 0 {
		t.Errorf("left: %+v, %v", l.Flows, err)
	}
}
