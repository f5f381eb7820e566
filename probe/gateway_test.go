package probe_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/api"
	"weft/tunnel"
	"weft/vnet"
)

const probePort = 9

// fakeGateway is a control plane in one handler and a gateway on the real weft/tunnel, which the probe must
// understand without sharing its code.
type fakeGateway struct {
	control    *httptest.Server
	authority  authority
	tunnel     *tunnel.Tunnel
	stop       func()
	enrolment  string
	enrolments atomic.Int32
	block      vnet.Block
	answerer   netip.Addr
	answerer6  netip.Addr
	lastSource atomic.Pointer[netip.Addr]
	flows      sync.WaitGroup
}

func startGateway(t *testing.T) *fakeGateway {
	t.Helper()
	pool := vnet.DefaultPool(netip.MustParsePrefix("fd12:3456:789a::/48"))
	block, err := pool.Block(7)
	if err != nil {
		t.Fatal(err)
	}
	g := &fakeGateway{block: block}
	g.answerer, g.answerer6 = pool.GatewayAddrs()
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	g.tunnel, err = tunnel.New(tunnel.Config{
		PrivateKey: key, Listen: netip.MustParseAddrPort("127.0.0.1:0"), Handler: g, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	g.stop = sync.OnceFunc(func() {
		if err := g.tunnel.Close(); err != nil {
			t.Errorf("close the gateway's tunnel: %v", err)
		}
		g.flows.Wait()
	})
	g.authority = newAuthority(t)
	g.control = httptest.NewUnstartedServer(g.handler(t))
	g.control.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	g.control.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{g.authority.chain}}
	g.control.StartTLS()
	t.Cleanup(func() {
		g.control.Close()
		g.stop()
	})
	g.enrolment = api.EnrolmentString{
		ControlURL: g.control.URL, CAFingerprint: g.authority.fingerprint, Key: "0123456789012345678901234567890123456789",
	}.Encode()
	return g
}

func (g *fakeGateway) handler(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathEnrol, func(w http.ResponseWriter, r *http.Request) {
		var req api.EnrolRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		public, err := tunnel.ParsePublicKey(req.PublicKey)
		if err == nil {
			err = g.tunnel.SetPeer(tunnel.Peer{PublicKey: public, AllowedIPs: []netip.Prefix{g.block.V4, g.block.V6}})
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		g.enrolments.Add(1)
		result, err := json.Marshal(api.EnrolResponse{
			AccountID: "a", DeviceID: "d", RegistrationID: "r", Token: "device-token", Email: "jdoe@company.com", CAPEM: g.authority.pem,
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		writeJSON(t, w, api.Envelope{Success: true, Errors: []api.ErrorItem{}, Messages: []api.ErrorItem{}, Result: result})
	})
	mux.HandleFunc("GET "+api.PathAgentSync, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer device-token" {
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		state, err := json.Marshal(g.agentState())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		writeJSON(t, w, api.Event{Type: api.EventSnapshot, Revision: 3, State: state})
		if err := http.NewResponseController(w).Flush(); err != nil {
			return // the probe has what it wanted
		}
		<-r.Context().Done()
	})
	return mux
}

func writeJSON(t *testing.T, w http.ResponseWriter, v any) {
	t.Helper()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Logf("answer: %v", err) // the probe may have gone
	}
}

func (g *fakeGateway) agentState() api.AgentState {
	return api.AgentState{
		Self: api.AgentSyncSelf{DeviceID: "d", BlockV4: g.block.V4, BlockV6: g.block.V6},
		Gateways: map[string]api.AgentGateway{"g": {
			ID: "g", Name: "dev", PublicKey: g.tunnel.PublicKey().String(),
			Endpoints: []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(int(g.tunnel.ListenPort())))},
			ProbeV4:   g.answerer, ProbeV6: g.answerer6, ProbePort: probePort, Epoch: "1",
		}},
		Networks: map[string]api.AgentNetwork{
			"v1": {ID: "v1", Name: "staging", Default: true, Slot: 1},
			"v2": {ID: "v2", Name: "production", Slot: 2},
		},
	}
}

// HandleTCP answers by the last number of the destination.
func (g *fakeGateway) HandleTCP(_ context.Context, r *tunnel.TCPRequest) {
	flow := r.Flow()
	src := flow.Source.Addr().Unmap()
	g.lastSource.Store(&src)
	bytes := flow.Destination.Addr().AsSlice()
	switch bytes[len(bytes)-1] {
	case 6:
		r.Reject(tunnel.RejectRefused)
	case 7:
		r.Reject(tunnel.RejectProhibited)
	case 8:
		r.Reject(tunnel.RejectSilent)
	case 9:
		r.Reject(tunnel.RejectUnreachable)
	default:
		c, err := r.Accept()
		if err != nil {
			return
		}
		g.flows.Add(1)
		go func() {
			defer g.flows.Done()
			// The probe says nothing and closes.
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}()
	}
}

// HandleUDP echoes at the probe address.
func (g *fakeGateway) HandleUDP(_ context.Context, r *tunnel.UDPRequest) {
	if r.Flow().Destination != netip.AddrPortFrom(g.answerer, probePort) {
		r.Reject(tunnel.RejectRefused)
		return
	}
	c, err := r.Accept()
	if err != nil {
		return
	}
	g.flows.Add(1)
	go func() {
		defer g.flows.Done()
		defer func() { _ = c.Close() }()
		buf := make([]byte, 1280)
		for {
			if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
				return
			}
			n, err := c.Read(buf)
			if err == nil {
				_, err = c.Write(buf[:n])
			}
			if err != nil && !errors.Is(err, io.ErrShortWrite) {
				return
			}
		}
	}()
}

var _ tunnel.Handler = (*fakeGateway)(nil)

// trim is what a dependency listing looks like as a set.
func trim(s string) map[string]bool {
	set := make(map[string]bool)
	for line := range strings.FieldsSeq(s) {
		set[line] = true
	}
	return set
}
