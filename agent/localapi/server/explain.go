package server

import (
	"context"
	"net/http"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
)

// Explainer is the part of an Agent behind explain.
type Explainer interface {
	Explain(ctx context.Context, q localapi.ExplainRequest) (localapi.Explanation, error)
}

// explain takes a place among the dials: it may make one.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	var in localapi.ExplainRequest
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	if in.Name == "" || in.Port == 0 {
		return fault.New(string(kind.Invalid), "a target and a port are needed")
	}
	user := userOf(r)
	if !s.dials.take(user) {
		s.overDials.Add(1)
		return fault.New(string(kind.Limit), "too many connections are being opened").WithHint("try again in a moment")
	}
	defer s.dials.give(user)
	e, err := s.agent(r).Explain(r.Context(), in)
	if err != nil {
		return err
	}
	return s.write(w, r, e)
}
