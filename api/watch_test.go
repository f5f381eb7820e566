package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft/api"
	"weft/internal/kind"
)

// script plays a server in virtual time: each connection gets the next function.
type script struct {
	plays []func(ctx context.Context, r *http.Request, w *io.PipeWriter) int
	seen  []string // the since parameter of each connection
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.seen = append(s.seen, r.URL.Query().Get("since"))
	if len(s.plays) == 0 {
		return nil, errors.New("connection refused")
	}
	play := s.plays[0]
	s.plays = s.plays[1:]
	pr, pw := io.Pipe()
	status := make(chan int, 1)
	go func() {
		stop := context.AfterFunc(r.Context(), func() { _ = pw.CloseWithError(r.Context().Err()) })
		defer stop()
		status <- play(r.Context(), r, pw)
	}()
	return &http.Response{StatusCode: http.StatusOK, Body: pr, Header: http.Header{}}, nil
}

// refuse answers with an error instead of a stream.
type refuse struct {
	status int
	body   string
}

func (f refuse) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: f.status, Body: io.NopCloser(strings.NewReader(f.body))}, nil
}

func line(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }

const snapshotAt = `{"type":"snapshot","revision":%d,"state":{"self":{"name":"%s"}}}`

func newWatchClient(t *testing.T, rt http.RoundTripper) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.ClientConfig{BaseURL: "https://control"})
	if err != nil {
		t.Fatal(err)
	}
	c.SetTransportForTest(rt)
	return c
}

func TestWatch_ResumesAfterABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{plays: []func(context.Context, *http.Request, *io.PipeWriter) int{
			func(_ context.Context, _ *http.Request, w *io.PipeWriter) int {
				line(w, snapshotAt, 5, "one")
				line(w, `{"type":"delta","revision":6,"since":5,"put":{"self":{"":{"name":"two"}}}}`)
				line(w, `{"type":"heartbeat","revision":9}`)
				return closed(w)
			},
			func(ctx context.Context, _ *http.Request, w *io.PipeWriter) int {
				line(w, `{"type":"delta","revision":10,"since":9,"put":{"self":{"":{"name":"three"}}}}`)
				cancel()
				<-ctx.Done()
				return 0
			},
		}}
		var names []string
		var revisions []uint64
		err := api.Watch(ctx, newWatchClient(t, s), "/sync", api.WatchConfig[api.ConnectorState]{
			OnState: func(rev uint64, s *api.ConnectorState) {
				names, revisions = append(names, s.Self.Name), append(revisions, rev)
			},
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		if got := fmt.Sprint(names, revisions, s.seen); got != "[one two three] [5 6 10] [ 9]" {
			t.Errorf("states, revisions and since are %s", got)
		}
		synctest.Wait()
	})
}

func closed(w *io.PipeWriter) int {
	_ = w.Close()
	return 0
}

func TestWatch_SilenceIsABrokenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		silent := func(ctx context.Context, _ *http.Request, w *io.PipeWriter) int {
			line(w, snapshotAt, 1, "one")
			<-ctx.Done()
			return 0
		}
		s := &script{plays: []func(context.Context, *http.Request, *io.PipeWriter) int{silent, silent}}
		start := time.Now()
		var after time.Duration
		err := api.Watch(ctx, newWatchClient(t, s), "/sync", api.WatchConfig[api.ConnectorState]{
			OnError: func(err error, _ time.Duration) {
				if !kind.Is(err, kind.Timeout) {
					t.Errorf("error is %v", err)
				}
				after = time.Since(start)
				cancel()
			},
		})
		if !errors.Is(err, context.Canceled) || after != api.SilenceLimit {
			t.Errorf("the stream was given up after %v with %v", after, err)
		}
		synctest.Wait()
	})
}

func TestWatch_HeartbeatsKeepItAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &script{plays: []func(context.Context, *http.Request, *io.PipeWriter) int{
			func(ctx context.Context, _ *http.Request, w *io.PipeWriter) int {
				line(w, snapshotAt, 1, "one")
				for range 60 {
					<-time.After(api.HeartbeatInterval) // virtual time
					line(w, `{"type":"heartbeat","revision":1}`)
				}
				cancel()
				<-ctx.Done()
				return 0
			},
		}}
		contacts := 0
		err := api.Watch(ctx, newWatchClient(t, s), "/sync", api.WatchConfig[api.ConnectorState]{
			OnContact: func(time.Time) { contacts++ },
			OnError:   func(err error, _ time.Duration) { t.Errorf("broke: %v", err) },
		})
		if !errors.Is(err, context.Canceled) || contacts != 61 {
			t.Errorf("%d contacts, error %v", contacts, err)
		}
		synctest.Wait()
	})
}

func TestWatch_BacksOffAndNeverFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var waits []time.Duration
		err := api.Watch(ctx, newWatchClient(t, &script{}), "/sync", api.WatchConfig[api.AgentState]{
			OnError: func(err error, wait time.Duration) {
				if !kind.Is(err, kind.Unavailable) {
					t.Errorf("error is %v", err)
				}
				if waits = append(waits, wait); len(waits) == 12 {
					cancel()
				}
			},
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		most := 100 * time.Millisecond
		for i, w := range waits {
			if w < most/2 || w > most {
				t.Errorf("wait %d is %v, want %v to %v", i, w, most/2, most)
			}
			most = min(2*most, 15*time.Second)
		}
	})
}

func TestWatch_PermanentRefusalEnds(t *testing.T) {
	for _, k := range []kind.Kind{kind.Unauthenticated, kind.Denied, kind.NotFound} {
		c := newWatchClient(t, refuse{401, `{"success":false,"errors":[{"code":1,"message":"revoked","kind":"` + string(k) + `"}]}`})
		err := api.Watch(t.Context(), c, "/sync", api.WatchConfig[api.AgentState]{
			OnError: func(err error, _ time.Duration) { t.Errorf("retried after %v", err) },
		})
		if !kind.Is(err, k) || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("%s: error is %v", k, err)
		}
	}
}

func TestWatch_StartsAnewWhenItDoesNotFit(t *testing.T) {
	for _, tc := range []struct{ name, second string }{
		{"a delta from another revision", `{"type":"delta","revision":9,"since":7}`},
		{"no JSON", `nonsense`},
		{"a delta of an unknown collection", `{"type":"delta","revision":6,"since":5,"put":{"x":{"y":1}}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s := &script{plays: []func(context.Context, *http.Request, *io.PipeWriter) int{
					func(ctx context.Context, _ *http.Request, w *io.PipeWriter) int {
						line(w, snapshotAt, 5, "one")
						line(w, "%s", tc.second)
						<-ctx.Done()
						return 0
					},
					func(ctx context.Context, _ *http.Request, w *io.PipeWriter) int {
						line(w, snapshotAt, 9, "two")
						cancel()
						<-ctx.Done()
						return 0
					},
				}}
				err := api.Watch(ctx, newWatchClient(t, s), "/sync", api.WatchConfig[api.ConnectorState]{})
				if !errors.Is(err, context.Canceled) || fmt.Sprint(s.seen) != "[ ]" {
					t.Errorf("since are %q, error %v", s.seen, err)
				}
				synctest.Wait()
			})
		})
	}
}

func TestWatch_RefusesAnEndlessLine(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &script{plays: []func(context.Context, *http.Request, *io.PipeWriter) int{
		func(_ context.Context, _ *http.Request, w *io.PipeWriter) int {
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for range api.MaxEventBytesForTest/len(chunk) + 1 {
				if _, err := w.Write(chunk); err != nil {
					return 0
				}
			}
			return closed(w)
		},
	}}
	var got error
	err := api.Watch(ctx, newWatchClient(t, s), "/sync", api.WatchConfig[api.ConnectorState]{
		OnError: func(err error, _ time.Duration) {
			got = err
			cancel()
		},
	})
	if !errors.Is(err, context.Canceled) || got == nil || !strings.Contains(got.Error(), "longer than") {
		t.Errorf("the stream broke with %v and ended with %v", got, err)
	}
}
