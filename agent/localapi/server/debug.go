package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/logring"
	"weft/internal/kind"
)

// DebugAgent is what helps to find faults.
type DebugAgent interface {
	Log() *logring.Ring
	// Connectivity tries each way; it is bounded by ctx.
	Connectivity(ctx context.Context) localapi.Connectivity
	Network(ctx context.Context) localapi.Network
	Runtime(stacks bool) localapi.Runtime
	// Devices asks control for the devices of the same user.
	Devices(ctx context.Context) (localapi.DeviceList, error)
}

// connectivityTimeout bounds all checks together.
const connectivityTimeout = 20 * time.Second

func (s *Server) connectivity(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), connectivityTimeout)
	defer cancel()
	return s.write(w, r, s.agent(r).Connectivity(ctx))
}

func (s *Server) network(w http.ResponseWriter, r *http.Request) error {
	return s.write(w, r, s.agent(r).Network(r.Context()))
}

func (s *Server) runtime(w http.ResponseWriter, r *http.Request) error {
	return s.write(w, r, s.agent(r).Runtime(r.URL.Query().Get("stacks") == "true"))
}

func (s *Server) devices(w http.ResponseWriter, r *http.Request) error {
	l, err := s.agent(r).Devices(r.Context())
	if err != nil {
		return err
	}
	return s.write(w, r, l)
}

// levels are the names of levels, in the order of their weight.
var levels = []string{"debug", "info", "warn", "error"}

// log writes the lines that are kept, then, if asked, those that come.
func (s *Server) agentLog(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	least := slog.LevelInfo
	if l := q.Get("level"); l != "" {
		if !slices.Contains(levels, l) || least.UnmarshalText([]byte(l)) != nil {
			return fault.New(string(kind.Invalid), "level must be one of %s", strings.Join(levels, ", "))
		}
	}
	user := userOf(r)
	if !s.streams.take(user) {
		s.overStreams.Add(1)
		return fault.New(string(kind.Limit), "too many event streams are open").WithHint("end other programs that follow the agent")
	}
	defer s.streams.give(user)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	return s.followLog(w, r, least, q.Get("follow") == "true")
}

func (s *Server) followLog(w http.ResponseWriter, r *http.Request, least slog.Level, follow bool) error {
	rc := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	ring, cursor := s.agent(r).Log(), uint64(0)
	for {
		lines, next, more := ring.After(cursor)
		cursor = next
		for i := range lines {
			if lines[i].Level < least {
				continue
			}
			err := rc.SetWriteDeadline(time.Now().Add(s.cfg.BodyTimeout))
			if err = errors.Join(err, enc.Encode(wireLine(&lines[i]))); err != nil {
				return s.endStream(err)
			}
		}
		if err := rc.Flush(); err != nil {
			return s.endStream(err)
		}
		if !follow {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-more:
		}
	}
}

// endStream ends a stream whose reader has gone or is too slow; the answer has begun, so there is nobody to tell.
func (s *Server) endStream(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.slowReaders.Add(1)
	}
	return nil
}

func wireLine(l *logring.Line) localapi.LogLine {
	return localapi.LogLine{
		SchemaVersion: localapi.SchemaVersion, Time: l.Time, Level: strings.ToLower(l.Level.String()), Message: l.Message, Attributes: l.Attrs,
	}
}
