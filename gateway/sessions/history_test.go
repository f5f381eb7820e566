package sessions_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/gateway/sessions"
	"weft/targets"
)

func everything(*sessions.Session) bool { return true }

func named(id string, start int) *sessions.Session {
	return &sessions.Session{ID: id, DeviceID: "d", Transport: targets.TransportTCP, Start: time.Unix(int64(start), 0)}
}

func ids(d sessions.Delta) (live, ended []string) {
	for _, l := range d.Live {
		live = append(live, l.Session.ID)
	}
	for _, e := range d.Ended {
		ended = append(ended, e.Session.ID+" "+e.Reason)
	}
	return live, ended
}

func expectDelta(t *testing.T, d sessions.Delta, full bool, live, ended []string) {
	t.Helper()
	gotLive, gotEnded := ids(d)
	if diff := cmp.Diff(live, gotLive); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(ended, gotEnded); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
	if d.Full != full {
		t.Errorf("full is %v", d.Full)
	}
}

func TestTable_Since(t *testing.T) {
	table := sessions.New(sessions.Limits{})
	a, b, c := named("a", 1), named("b", 2), named("c", 3)
	for _, s := range []*sessions.Session{a, b} {
		if err := table.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	d := table.Since(0, everything, 10)
	expectDelta(t, d, true, []string{"b", "a"}, nil)
	if !d.Live[0].Dialling || d.Total != 2 {
		t.Errorf("%+v", d)
	}
	expectDelta(t, table.Since(d.Sequence, everything, 10), false, nil, nil)
	table.Dialled(a)
	b.SetLogin("root")
	next := table.Since(d.Sequence, everything, 10)
	expectDelta(t, next, false, []string{"b", "a"}, nil)
	if next.Live[1].Dialling {
		t.Error("a is said to be dialling")
	}
	if err := table.Add(c); err != nil {
		t.Fatal(err)
	}
	table.End(c, "closed") // came and went between two looks
	table.End(a, "reset")
	table.End(a, "again")
	a.SetLogin("late")
	last := table.Since(next.Sequence, everything, 10)
	expectDelta(t, last, false, nil, []string{"c closed", "a reset"})
	expectDelta(t, table.Since(0, everything, 10), true, []string{"b"}, nil)
	expectDelta(t, table.Since(last.Sequence+1, everything, 10), true, []string{"b"}, nil) // of another table
	only := func(s *sessions.Session) bool { return s.ID == "c" }
	expectDelta(t, table.Since(next.Sequence, only, 10), false, nil, []string{"c closed"})
}

func TestTable_SinceForgetsAndIsWholeAgain(t *testing.T) {
	table := sessions.New(sessions.Limits{})
	stays := named("stays", 1)
	if err := table.Add(stays); err != nil {
		t.Fatal(err)
	}
	before := table.Since(0, everything, 10).Sequence
	for i := range 600 {
		s := named(fmt.Sprint(i), 2)
		if err := table.Add(s); err != nil {
			t.Fatal(err)
		}
		table.End(s, "closed")
	}
	expectDelta(t, table.Since(before, everything, 10), true, []string{"stays"}, nil)
	if _, e := table.Find("0"); e != nil {
		t.Error("the first is still remembered")
	}
	if _, e := table.Find("599"); e == nil || e.Reason != "closed" {
		t.Errorf("the last is %+v", e)
	}
	if live, _ := table.Find("stays"); live != stays {
		t.Error("a live session is not found")
	}
}

func TestTable_SinceHasALimit(t *testing.T) {
	table := sessions.New(sessions.Limits{})
	if err := table.Add(named("first", 0)); err != nil {
		t.Fatal(err)
	}
	seq := table.Since(0, everything, 3).Sequence
	for i := range 5 {
		if err := table.Add(named(fmt.Sprint(i), i+1)); err != nil {
			t.Fatal(err)
		}
	}
	d := table.Since(seq, everything, 3)
	expectDelta(t, d, true, []string{"4", "3", "2"}, nil)
	if d.Total != 6 {
		t.Errorf("total %d", d.Total)
	}
}

func TestTable_QuietWhenTheLastHasEnded(t *testing.T) {
	table := sessions.New(sessions.Limits{})
	a, u := named("a", 1), named("u", 1)
	u.Transport = targets.TransportUDP
	for _, s := range []*sessions.Session{a, u} {
		if err := table.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if n := table.Busy(); n != 1 {
		t.Errorf("busy %d, want 1: UDP does not count", n)
	}
	table.End(a, "closed")
	select {
	case <-table.Quiet():
	default:
		t.Error("not told")
	}
	if n := table.Busy(); n != 0 {
		t.Errorf("busy %d", n)
	}
}
