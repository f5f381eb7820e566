package agent_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/agent/localapi"
	"weft/agent/relay"
	"weft/internal/testwait"
)

// stream sends numbered blocks until stop is closed and checks what comes back.
func stream(f io.ReadWriteCloser, seed uint64, stop <-chan struct{}) (int64, error) {
	sent, got := sha256.New(), sha256.New()
	var total atomic.Int64
	readErr := make(chan error, 1)
	go func() {
		n, err := io.Copy(got, f)
		if err == nil && n != total.Load() {
			err = fmt.Errorf("%d bytes back of %d", n, total.Load())
		}
		readErr <- err
	}()
	rng := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 16<<10)
	for running := true; running; {
		select {
		case <-stop:
			running = false
			continue
		default:
		}
		for i := 0; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
		}
		n := 1 + rng.IntN(len(b))
		sent.Write(b[:n])
		total.Add(int64(n))
		if _, err := f.Write(b[:n]); err != nil {
			return total.Load(), err
		}
	}
	if err := f.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return total.Load(), err
	}
	if err := <-readErr; err != nil {
		return total.Load(), err
	}
	if string(sent.Sum(nil)) != string(got.Sum(nil)) {
		return total.Load(), errors.New("what came back differs")
	}
	return total.Load(), nil
}

// TestVNET_SwitchUnderStreams: open flows must not notice, new ones must follow.
func TestVNET_SwitchUnderStreams(t *testing.T) {
	w := newWorld(t)
	const perNetwork = 4
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var total atomic.Int64
	open := func(ref string) relay.Flow {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		f, err := w.agent.DialFlow(ctx, localapi.Dial{Name: target4.String(), Port: echoPort, VNET: ref})
		must(t, err)
		return f
	}
	var flows []relay.Flow
	for i := range 2 * perNetwork {
		flows = append(flows, open([]string{"a1net", "b1net"}[i%2]))
	}
	for i, f := range flows {
		wg.Go(func() {
			defer func() { _ = f.Close() }()
			n, err := stream(f, uint64(i), stop)
			total.Add(n)
			if err != nil {
				t.Errorf("stream %d after %d bytes: %v", i, n, err)
			}
		})
	}
	for i := range 100 {
		ref, want := "a1net", netA
		if i%2 == 0 {
			ref, want = "b1net", netB
		}
		list, err := w.agent.SelectVNET(t.Context(), ref)
		must(t, err)
		for _, n := range list.VNETs {
			if n.Selected != (n.Name == ref) {
				t.Fatalf("after selecting %s: %+v", ref, list)
			}
		}
		if got, err := whichNetwork(t, w.agent.Agent, target4.String(), ""); err != nil || got != string(want) {
			t.Fatalf("switch %d: a new flow reached %q, %v; want %s", i, got, err, want)
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d MiB in %d streams over 100 switches", total.Load()>>20, len(flows))
	if total.Load() < 1<<20 {
		t.Errorf("only %d bytes were carried", total.Load())
	}
}

// TestVNET_ChangesOfState: networks come and go without touching the flows of others.
func TestVNET_ChangesOfState(t *testing.T) {
	w := newWorld(t)
	keep := openEcho(t, w.agent)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	lose, err := w.agent.DialFlow(ctx, localapi.Dial{Name: target4.String(), Port: echoPort, VNET: "b1net"})
	must(t, err)
	echo(t, lose)
	if _, err := w.agent.SelectVNET(t.Context(), "B1NET"); err != nil {
		t.Fatal(err)
	}
	st := w.gateway.state()
	delete(st.Networks, string(netB))
	w.control.set(st)
	testwait.Until(t, "the network is gone", func() bool { return len(w.agent.VNETs().VNETs) == 1 })
	if s := w.agent.Status(); s.VNET == nil || s.VNET.Name != "a1net" {
		t.Errorf("selected %+v; want the default network", s.VNET)
	}
	if _, ok := w.agent.notice("vnet_gone"); !ok {
		t.Errorf("notices %+v", w.agent.Status().Notices)
	}
	if _, err := lose.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a flow of the network that is gone reads %v; want an error", err)
	}
	_, err = w.agent.DialFlow(ctx, localapi.Dial{Name: target4.String(), Port: echoPort, VNET: "b1net"})
	wantFault(t, err, localapi.CodeUnknownVNET, "available: \"a1net\"")
	echo(t, keep)
	w.control.set(w.gateway.state())
	testwait.Until(t, "the network is back", func() bool { return len(w.agent.VNETs().VNETs) == 2 })
	if s := w.agent.Status(); s.VNET == nil || s.VNET.Name != "b1net" {
		t.Errorf("selected %+v; want what the user chose", s.VNET)
	}
	echo(t, keep)
	if a := w.agent.restart(); a.Status().VNET == nil || a.Status().VNET.Name != "b1net" {
		t.Errorf("selected after a restart: %+v", a.Status().VNET)
	}
}

func TestDial_Errors(t *testing.T) {
	w := newWorld(t)
	st := w.gateway.state()
	st.Entries["t-c/22/SSH"] = st.Entries["t-a/22/SSH"]
	e := st.Entries["t-c/22/SSH"]
	e.TargetID, e.IPv4.VNET = "t-c", netA
	twin := *e.IPv4
	twin.Addr = twin.Addr.Next()
	e.IPv4 = &twin
	st.Entries["t-c/22/SSH"] = e
	w.control.set(st)
	testwait.Until(t, "the new state", func() bool { return w.agent.Status().StateRevision == 2 })
	for _, tt := range []struct {
		name, code, says string
		dial             localapi.Dial
	}{
		{"ambiguous", localapi.CodeAmbiguous, "t-c", localapi.Dial{Name: "do-target", Port: 22}},
		{"unknown target", localapi.CodeUnknownTarget, "warp-cli target list", localapi.Dial{Name: "nope", Port: 22}},
		{"unknown network", localapi.CodeUnknownVNET, "a1net", localapi.Dial{Name: "10.1.2.3", Port: 22, VNET: "nope"}},
		{"empty name", "invalid", "empty", localapi.Dial{Port: 22}},
		{"port 0", "invalid", "port 0", localapi.Dial{Name: "10.1.2.3"}},
		{"mapped address", "invalid", "IPv4-mapped", localapi.Dial{Name: "::ffff:10.1.2.3", Port: 22}},
		{"address with a zone", "invalid", "zone", localapi.Dial{Name: "fe80::1%eth0", Port: 22}},
		{"refused", localapi.CodeRefused, "az-target (10.1.2.3 in b1net) refused", localapi.Dial{Name: "az-target", Port: closedPort}},
		{"prohibited", localapi.CodeProhibited, "target list", localapi.Dial{Name: "10.1.2.3", Port: secretPort}},
		{"unreachable", localapi.CodeUnreachable, "10.1.2.3 in a1net cannot be reached", localapi.Dial{Name: "10.1.2.3", Port: noWayPort}},
		{"no answer", localapi.CodeTimeout, "did not answer on port 83 in time", localapi.Dial{Name: "10.1.2.3", Port: darkPort}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limit := 10 * time.Second
			if tt.code == localapi.CodeTimeout {
				limit = 500 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := w.agent.DialFlow(ctx, tt.dial)
			wantFault(t, err, tt.code, tt.says)
		})
	}
}

func TestTargetsAndResolve(t *testing.T) {
	w := newWorld(t)
	l, err := w.agent.Targets(noFilter)
	must(t, err)
	if len(l.Targets) != 2 || l.Targets[0].ID != "t-a" || l.Revision != 1 || l.Stale {
		t.Errorf("targets %+v", l)
	}
	b := l.Targets[1]
	if b.Attributes["hostname"] != "az-target" || b.Attributes["env"] != "prod" || len(b.Addresses) != 2 ||
		b.Addresses[0].IP != "10.1.2.3" || b.Addresses[0].VNETName != "b1net" {
		t.Errorf("target %+v", b)
	}
	for _, tt := range []struct {
		name string
		q    func(*queryT)
		want int
		code string
	}{
		{"attribute", func(q *queryT) { q.Attributes = []string{"env=prod"} }, 1, ""},
		{"hostname in any case", func(q *queryT) { q.Attributes = []string{"hostname=DO-TARGET"} }, 1, ""},
		{"user", func(q *queryT) { q.Usernames = []string{"bob"} }, 1, ""},
		{"user or user", func(q *queryT) { q.Usernames = []string{"bob", "alice"} }, 2, ""},
		{"protocol and port", func(q *queryT) { q.Protocols, q.Ports = []string{"ssh"}, []string{"22"} }, 2, ""},
		{"network", func(q *queryT) { q.VNETs = []string{"b1net"} }, 1, ""},
		{"id", func(q *queryT) { q.IDs = []string{"t-a"} }, 1, ""},
		{"and across", func(q *queryT) { q.IDs, q.VNETs = []string{"t-a"}, []string{"b1net"} }, 0, ""},
		{"malformed attribute", func(q *queryT) { q.Attributes = []string{"env"} }, 0, "invalid"},
		{"malformed port", func(q *queryT) { q.Ports = []string{"0"} }, 0, "invalid"},
		{"unknown protocol", func(q *queryT) { q.Protocols = []string{"GOPHER"} }, 0, "invalid"},
		{"unknown network", func(q *queryT) { q.VNETs = []string{"c1net"} }, 0, localapi.CodeUnknownVNET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var q queryT
			tt.q(&q)
			l, err := w.agent.Targets(q)
			if tt.code != "" {
				wantFault(t, err, tt.code, "")
				if len(l.Targets) != 0 {
					t.Errorf("and %d targets", len(l.Targets))
				}
				return
			}
			if err != nil || len(l.Targets) != tt.want {
				t.Errorf("%d targets, %v; want %d", len(l.Targets), err, tt.want)
			}
		})
	}
	r, err := w.agent.Resolve("az-target", "", 22)
	must(t, err)
	if r.TargetID != "t-b" || r.IP != "10.1.2.3" || r.VNETName != "b1net" || len(r.Usernames) != 2 || len(r.Ports) != 1 {
		t.Errorf("resolution %+v", r)
	}
	r, err = w.agent.Resolve("10.1.2.3", "", 0)
	must(t, err)
	if r.TargetID != "t-a" || r.VNETName != "a1net" {
		t.Errorf("resolution of an address %+v", r)
	}
	r, err = w.agent.Resolve("10.9.9.9", "b1net", 0)
	must(t, err)
	if r.TargetID != "" || r.VNETName != "b1net" || r.Usernames == nil {
		t.Errorf("resolution of a foreign address %+v", r)
	}
}
