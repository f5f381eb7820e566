package soak_test

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weft/agent/localapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// together does the same in every world at once.
func together(ws []*world, do func(w *world)) {
	var all sync.WaitGroup
	for _, w := range ws {
		all.Go(func() { do(w) })
	}
	all.Wait()
}

// TestSoak does everything in the same worlds, one kind after the other: what one leaves behind, the next would show.
func TestSoak(t *testing.T) {
	ws := make([]*world, worlds)
	for i := range ws {
		ws[i] = newWorld(t)
	}
	rounds := cycles(t) / worlds
	kind := func(name string, kept int, cycle func(w *world, i int)) {
		t.Run(name, func(t *testing.T) {
			for _, w := range ws {
				w.t = t
			}
			soak(t, rounds, kept, func(i int) { together(ws, func(w *world) { cycle(w, i) }) })
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	g := gauge{settle: time.Second}
	together(ws, (*world).registerAndDelete)
	g.take(0)
	writeProfiles(t, "first")

	kind("registration", worlds*keptByHTTP, func(w *world, _ int) { w.registerAndDelete() })
	together(ws, func(w *world) {
		w.register()
		w.connect()
		w.awaitFlow()
	})
	kind("streams of the local API", worlds*keptByLog, func(w *world, _ int) { w.followAndDial() })
	together(ws, func(w *world) { w.live = []*flow{w.mustOpen("a", "a"), w.mustOpen("b", "b")} })
	kind("VNET switch", 0, (*world).switchNetwork)
	together(ws, func(w *world) {
		for _, f := range w.live {
			must(w.t, f.Close())
		}
	})
	kind("disconnect", 0, func(w *world, _ int) { w.disconnectAndConnect() })
	kind("gateway restart", worlds*keptByHTTP, func(w *world, _ int) { w.restartGateway() })

	together(ws, func(w *world) {
		w.t = t
		_, err := w.client.Deregister(w.ctx)
		must(t, err)
	})
	if rounds < 100 {
		return // it takes half a minute to see the rest go
	}
	if grown := forgotten(g.samples[0].levels, 5*rounds*worlds); grown != "" {
		t.Error(grown)
	}
	writeProfiles(t, "last")
}

func (w *world) registerAndDelete() {
	w.register()
	_, err := w.client.Deregister(w.ctx)
	must(w.t, err)
}

// followAndDial opens both kinds of stream and leaves them.
func (w *world) followAndDial() {
	s, err := w.client.Events(w.ctx)
	must(w.t, err)
	ev, err := s.Next()
	must(w.t, err)
	if ev.Type == "" {
		w.t.Error("an event without a type")
	}
	must(w.t, s.Close())
	d, err := w.client.Dial(w.ctx, localapi.Dial{Name: "host-a", Port: 9000})
	must(w.t, err)
	must(w.t, d.Close())
}

// switchNetwork changes the selected network under live flows.
func (w *world) switchNetwork(i int) {
	network := []string{"b", "a"}[i%2]
	_, err := w.client.SelectVNET(w.ctx, network)
	must(w.t, err)
	f := w.mustOpen("", network)
	f.echo(w.t)
	must(w.t, f.Close())
	for _, f := range w.live {
		f.echo(w.t) // where it was, whatever is selected
	}
}

func (w *world) disconnectAndConnect() {
	f := w.mustOpen("b", "b")
	f.echo(w.t)
	_, err := w.client.Disconnect(w.ctx)
	must(w.t, err)
	f.ends(w.t)
	w.connect()
}

func (w *world) restartGateway() {
	f := w.mustOpen("a", "a")
	f.echo(w.t)
	w.gateway.end(w.t)
	w.startGateway()
	f.ends(w.t)
	w.awaitFlow()
}

// awaitFlow waits until both networks can be reached.
func (w *world) awaitFlow() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, network := range []string{"a", "b"} {
		for end := time.Now().Add(deadline); ; <-tick.C {
			f, err := w.open(network)
			if err == nil {
				must(w.t, f.Close())
				break
			}
			if time.Now().After(end) {
				w.t.Fatalf("network %s cannot be reached: %v", network, err)
			}
		}
	}
}
