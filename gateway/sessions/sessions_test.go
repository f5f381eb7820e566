package sessions_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"weft/gateway/sessions"
	"weft/targets"
)

func session(device string, tr targets.Transport) *sessions.Session {
	return &sessions.Session{DeviceID: device, Transport: tr}
}

func TestTable_Limits(t *testing.T) {
	for _, tt := range []struct {
		name    string
		limits  sessions.Limits
		devices int
		udp     bool
		dialled bool
		want    int // how many fit
		counter string
	}{
		{"flows in total", sessions.Limits{MaxFlows: 5}, 10, false, true, 5, "flows"},
		{"flows per device", sessions.Limits{MaxFlowsPerDevice: 3}, 1, false, true, 3, "flows_per_device"},
		{"UDP flows in total", sessions.Limits{MaxUDP: 4}, 10, true, true, 4, "udp_flows"},
		{"UDP flows per device", sessions.Limits{MaxUDPPerDevice: 2}, 1, true, true, 2, "udp_flows_per_device"},
		{"dials in total", sessions.Limits{MaxDials: 6}, 10, false, false, 6, "dials"},
		{"dials per device", sessions.Limits{MaxDialsPerDevice: 2}, 1, false, false, 2, "dials_per_device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := sessions.New(tt.limits)
			tr := targets.TransportTCP
			if tt.udp {
				tr = targets.TransportUDP
			}
			const tries = 20
			var in []*sessions.Session
			for i := range tries {
				s := session(fmt.Sprint(i%tt.devices), tr)
				err := table.Add(s)
				if err != nil {
					if !errors.Is(err, sessions.ErrLimit) {
						t.Fatal(err)
					}
					continue
				}
				in = append(in, s)
				if tt.dialled {
					table.Dialled(s)
				}
			}
			st := table.Stats()
			if len(in) != tt.want || st.Open != tt.want || st.Refused[tt.counter] != uint64(tries-tt.want) {
				t.Errorf("%d fit (table says %d), refused %v; want %d", len(in), st.Open, st.Refused, tt.want)
			}
			for _, s := range in {
				table.Remove(s)
				table.Remove(s) // twice is once
			}
			if st := table.Stats(); st.Open != 0 || st.OpenUDP != 0 || st.Dialling != 0 {
				t.Errorf("after removal: %+v", st)
			}
			if err := table.Add(session("0", tr)); err != nil {
				t.Errorf("the place is not free again: %v", err)
			}
		})
	}
}

func TestSession_CutOnce(t *testing.T) {
	s := session("d", targets.TransportTCP)
	var got []error
	s.OnCut(func(err error) { got = append(got, err) })
	first, second := errors.New("first"), errors.New("second")
	if !s.Cut(first) || s.Cut(second) {
		t.Error("only the first cut counts")
	}
	s.OnCut(func(err error) { got = append(got, err) }) // late: called at once
	if len(got) != 2 || !errors.Is(got[0], first) || !errors.Is(got[1], first) {
		t.Errorf("told %v", got)
	}
	if !errors.Is(s.Cause(), first) {
		t.Errorf("cause %v", s.Cause())
	}
}

func TestTable_RemovedSessionIsNotCut(t *testing.T) {
	table := sessions.New(sessions.Limits{})
	s := session("d", targets.TransportTCP)
	if err := table.Add(s); err != nil {
		t.Fatal(err)
	}
	s.OnCut(func(error) { t.Error("called after its end") })
	table.Remove(s)
	if s.Cut(errors.New("late")) {
		t.Error("a session that is over was cut")
	}
}

// One pass over 10,000 sessions takes a few ms; the bound is for a loaded machine.
func TestTable_ReevaluatesMany(t *testing.T) {
	table := sessions.New(sessions.Limits{MaxFlowsPerDevice: 1 << 20, MaxDials: 1 << 20, MaxDialsPerDevice: 1 << 20})
	const n = 10000
	var cut sync.WaitGroup
	for i := range n {
		s := session(fmt.Sprint(i%2), targets.TransportTCP)
		if err := table.Add(s); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			cut.Add(1)
			s.OnCut(func(error) { cut.Done() })
		}
	}
	start := time.Now()
	got := table.Reevaluate(func(s *sessions.Session) error {
		if s.DeviceID == "0" {
			return &sessions.CutError{Reason: "device_revoked", Message: "revoked"}
		}
		return nil
	})
	cut.Wait()
	if took := time.Since(start); got != n/2 || took > 5*time.Second {
		t.Errorf("cut %d in %v, want %d within 5 s", got, took, n/2)
	}
}
