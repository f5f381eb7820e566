package controltest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"weft/api"
)

// FakeGateway listens to control's questions as a gateway does, and answers as it is told.
type FakeGateway struct {
	ID, Name string
	client   *api.Client
	stop     context.CancelFunc
	done     chan struct{}

	mu       sync.Mutex
	sequence uint64
	sessions []api.Session
	ended    []api.SessionEnded
	kills    []api.KillQuestion
}

// FakeGateway registers a gateway that has run and starts to listen. It ends with the test.
func (s *Server) FakeGateway(name string) *FakeGateway {
	s.tb.Helper()
	g := s.Gateway(name)
	f := &FakeGateway{ID: g.ID, Name: name, client: s.ClientWith(api.Secret(g.Token)), sequence: 1}
	if err := f.client.Do(s.tb.Context(), http.MethodPut, api.PathGatewaySelf, Report("epoch"), nil); err != nil {
		s.tb.Fatalf("report: %v", err)
	}
	f.Listen(s)
	s.tb.Cleanup(f.Silence)
	return f
}

// Listen opens the stream of questions; it returns when control has it.
func (f *FakeGateway) Listen(s *Server) {
	s.tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.tb.Context()))
	body, err := f.client.Stream(ctx, api.PathGatewayQuestions)
	if err != nil {
		cancel()
		s.tb.Fatalf("listen to questions: %v", err)
	}
	lines := bufio.NewScanner(body)
	if !lines.Scan() { // the first heartbeat
		cancel()
		s.tb.Fatalf("listen to questions: %v", lines.Err())
	}
	done := make(chan struct{})
	f.stop, f.done = cancel, done
	go func() {
		defer close(done)
		defer func() { _ = body.Close() }()
		for lines.Scan() {
			var q api.GatewayQuestion
			if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
				s.tb.Errorf("question %q: %v", lines.Bytes(), err)
				return
			}
			if q.ID == "" {
				continue
			}
			a := f.answer(&q)
			if err := f.client.Do(ctx, http.MethodPost, api.PathGatewayAnswers, a, nil); err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
				s.tb.Errorf("answer: %v", err)
			}
		}
	}()
}

// Silence ends the stream of questions.
func (f *FakeGateway) Silence() {
	f.stop()
	<-f.done
}

// Put adds a session, or changes the one of its ID.
func (f *FakeGateway) Put(s api.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sequence++
	for i := range f.sessions {
		if f.sessions[i].ID == s.ID {
			f.sessions[i] = s
			return
		}
	}
	f.sessions = append(f.sessions, s)
}

// End ends a session.
func (f *FakeGateway) End(id, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endLocked(id, reason)
}

func (f *FakeGateway) endLocked(id, reason string) (api.Session, bool) {
	for i, s := range f.sessions {
		if s.ID == id {
			f.sequence++
			f.sessions = append(f.sessions[:i:i], f.sessions[i+1:]...)
			f.ended = append(f.ended, api.SessionEnded{Session: s, Reason: reason})
			return s, true
		}
	}
	return api.Session{}, false
}

// Kills are those that control asked for.
func (f *FakeGateway) Kills() []api.KillQuestion {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]api.KillQuestion(nil), f.kills...)
}

func (f *FakeGateway) answer(q *api.GatewayQuestion) api.GatewayReply {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := api.GatewayReply{ID: q.ID, FlowAnswer: api.FlowAnswer{Version: api.FlowAnswerVersion}, Answer: "1"}
	switch {
	case q.Kill != nil:
		f.kills = append(f.kills, *q.Kill)
		a.Kill = &api.KillAnswer{}
		for _, e := range f.ended {
			if e.ID == q.Kill.SessionID {
				a.Kill = &api.KillAnswer{Found: true, Already: e.Reason == "killed", Session: e.Session}
				if !a.Kill.Already {
					a.Kill.Ended = e.Reason
				}
			}
		}
		if s, ok := f.endLocked(q.Kill.SessionID, "killed"); ok {
			a.Kill = &api.KillAnswer{Found: true, Session: s}
		}
	case q.Sessions != nil:
		// Always everything that is live, and once what has ended: a receiver must bear both.
		a.Sessions = &api.SessionsAnswer{Epoch: "e", Sequence: f.sequence, Full: q.Sessions.Since == 0, Total: len(f.sessions), Sessions: append([]api.Session(nil), f.sessions...)}
		if q.Sessions.Since > 0 && q.Sessions.Since < f.sequence {
			a.Sessions.Ended = append([]api.SessionEnded(nil), f.ended...)
		}
	}
	return a
}
