package server

import (
	"context"
	"net/http"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
)

// Diagnoser is the part of an Agent behind diag.
type Diagnoser interface {
	Diag(ctx context.Context, q localapi.DiagRequest) (localapi.DiagReport, error)
	Bundle(ctx context.Context, q localapi.BundleRequest) (localapi.Bundle, error)
}

func (s *Server) diag(w http.ResponseWriter, r *http.Request) error {
	var in localapi.DiagRequest
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	return s.diagnose(r, func(ctx context.Context, a Diagnoser) error {
		report, err := a.Diag(ctx, in)
		if err != nil {
			return err
		}
		return s.write(w, r, report)
	})
}

func (s *Server) diagBundle(w http.ResponseWriter, r *http.Request) error {
	var in localapi.BundleRequest
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	return s.diagnose(r, func(ctx context.Context, a Diagnoser) error {
		b, err := a.Bundle(ctx, in)
		if err != nil {
			return err
		}
		return s.write(w, r, b)
	})
}

// diagnose takes a place among the dials: the checks open connections.
func (s *Server) diagnose(r *http.Request, do func(context.Context, Diagnoser) error) error {
	user := userOf(r)
	if !s.dials.take(user) {
		s.overDials.Add(1)
		return fault.New(string(kind.Limit), "too many connections are being opened").WithHint("try again in a moment")
	}
	defer s.dials.give(user)
	return do(r.Context(), s.agent(r))
}
