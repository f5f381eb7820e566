package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"weft/api"
	"weft/internal/kind"
)

// The back-off of the stream of questions, and how long it may be silent.
const (
	questionsMinWait = time.Second
	questionsMaxWait = 15 * time.Second // while it lasts, control hears nothing of the sessions
	noQuestionsWait  = time.Minute      // when control has no such stream
	maxQuestions     = 8                // answered at once; control asks for administrators
)

// answerQuestions follows control's questions about flows until ctx ends. Nothing else of the gateway depends on it.
func (g *Gateway) answerQuestions(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wait := questionsMinWait
	for {
		begin := time.Now()
		err := g.followQuestions(ctx, &wg)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(begin) > noQuestionsWait {
			wait = questionsMinWait
		}
		if kind.Is(err, kind.NotFound) {
			wait = noQuestionsWait
		}
		pause := wait/2 + rand.N(wait/2)
		g.log.DebugContext(ctx, "questions of control not heard", slog.Any("error", err), slog.Duration("retry_in", pause))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		wait = min(2*wait, questionsMaxWait)
	}
}

// followQuestions reads one stream until it ends.
func (g *Gateway) followQuestions(ctx context.Context, wg *sync.WaitGroup) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := g.cfg.Control.Stream(ctx, api.PathGatewayQuestions)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // read to its end, or given up
	silence := time.AfterFunc(api.SilenceLimit, func() { cancel(errors.New("control is silent")) })
	defer silence.Stop()
	// Questions about flows may take half a minute, those about sessions must not wait for them, and no list takes a kill's place.
	flows, live, kills := make(chan struct{}, maxQuestions), make(chan struct{}, maxQuestions), make(chan struct{}, maxQuestions)
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 4*api.MaxQuestionBytes)
	for lines.Scan() {
		silence.Reset(api.SilenceLimit)
		var q api.GatewayQuestion
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return err
		}
		if q.ID == "" {
			continue // a heartbeat
		}
		places := flows
		switch {
		case q.Kill != nil:
			places = kills
		case q.Sessions != nil:
			places = live
		}
		select {
		case places <- struct{}{}:
			wg.Go(func() {
				defer func() { <-places }()
				g.answerQuestion(ctx, q)
			})
		default: // control hears nothing and says so
		}
	}
	return errors.Join(lines.Err(), context.Cause(ctx))
}

func (g *Gateway) answerQuestion(ctx context.Context, q api.GatewayQuestion) {
	var parts []api.GatewayReply
	switch {
	case q.Sessions != nil:
		parts = g.sessionParts(q.Sessions)
	case q.Kill != nil:
		parts = []api.GatewayReply{{Kill: g.kill(ctx, q.Kill)}}
	default:
		parts = []api.GatewayReply{{FlowAnswer: g.explain(ctx, q.DeviceID, q.FlowQuestion, true)}}
	}
	answer := uuid.NewString()
	for i, a := range parts {
		a.ID, a.Version, a.Answer, a.More = q.ID, api.FlowAnswerVersion, answer, i < len(parts)-1
		if err := g.cfg.Control.Do(ctx, http.MethodPost, api.PathGatewayAnswers, a, nil); err != nil {
			g.log.DebugContext(ctx, "answer to control not delivered", slog.Any("error", err))
			return
		}
	}
}
