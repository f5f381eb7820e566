package server

import (
	"context"
	"net/http"

	"weft/agent/localapi"
)

// forwardAgent keeps forwards.
type forwardAgent interface {
	Forwards() localapi.ForwardList
	AddForward(ctx context.Context, f localapi.NewForward) (localapi.Forward, error)
	RemoveForward(ctx context.Context, name string) error
}

func (s *Server) forwards(w http.ResponseWriter, r *http.Request) error {
	return s.write(w, r, s.agent(r).Forwards())
}

func (s *Server) addForward(w http.ResponseWriter, r *http.Request) error {
	var in localapi.NewForward
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	f, err := s.agent(r).AddForward(r.Context(), in)
	if err != nil {
		return err
	}
	return s.write(w, r, f)
}

func (s *Server) removeForward(w http.ResponseWriter, r *http.Request) error {
	if err := s.agent(r).RemoveForward(r.Context(), r.URL.Query().Get("name")); err != nil {
		return err
	}
	return s.write(w, r, localapi.Done{SchemaVersion: localapi.SchemaVersion, Success: true})
}
