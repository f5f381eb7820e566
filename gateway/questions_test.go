package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"weft/api"
)

// asker is a control plane that asks the gateway, and takes no answer to a list before it is released.
type asker struct {
	ask     chan api.GatewayQuestion
	listed  chan struct{} // a token for each answer to a list that waits
	release chan struct{}
	killed  chan api.KillAnswer
}

func (a *asker) serve(w http.ResponseWriter, r *http.Request) {
	var next api.GatewayQuestion // a heartbeat
	for {
		if json.NewEncoder(w).Encode(next) != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case next = <-a.ask:
		case <-r.Context().Done():
			return
		}
	}
}

func (a *asker) hear(w http.ResponseWriter, r *http.Request) {
	var in api.GatewayReply
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if in.Kill != nil {
		a.killed <- *in.Kill
		answer(w, struct{}{})
		return
	}
	a.listed <- struct{}{}
	select {
	case <-a.release:
		answer(w, struct{}{})
	case <-r.Context().Done():
	}
}

// As many lists as a gateway answers at once are no reason for it not to hear of a kill.
func TestQuestions_ListsDoNotKeepKillsOut(t *testing.T) {
	const lists = 20
	a := &asker{
		ask: make(chan api.GatewayQuestion), listed: make(chan struct{}, lists), release: make(chan struct{}), killed: make(chan api.KillAnswer, 1),
	}
	w := newWorld(t, func(w *world) { w.control.asks.Store(a) })
	t.Cleanup(func() { close(a.release) })
	w.startConnector(tunA, map[netip.AddrPort]netip.AddrPort{at(portTCP): serveTCP(t, "a")})
	readName(t, w.mustDial(slotA, portTCP))
	id := w.sessions(api.SessionsQuestion{Limit: 1}).Sessions[0].ID
	send := func(q api.GatewayQuestion) {
		t.Helper()
		select {
		case a.ask <- q:
		case <-time.After(30 * time.Second):
			t.Fatal("the gateway does not listen")
		}
	}
	for i := range lists {
		send(api.GatewayQuestion{ID: fmt.Sprintf("list-%d", i), Sessions: &api.SessionsQuestion{Limit: 1}})
	}
	for range 8 { // all that it answers at once
		<-a.listed
	}
	send(api.GatewayQuestion{ID: "kill", Kill: &api.KillQuestion{SessionID: id}})
	select {
	case k := <-a.killed:
		if !k.Found || k.Session.ID != id {
			t.Errorf("killed %+v", k)
		}
	case <-time.After(30 * time.Second):
		t.Error("the kill was not heard of")
	}
}
