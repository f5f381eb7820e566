package server

import (
	"context"
	"net/http"

	"weft/agent/localapi"
)

// TunnelAgent is what the agent knows of its tunnel.
type TunnelAgent interface {
	Tunnel() localapi.Tunnel
	RotateKeys(ctx context.Context) (localapi.KeyRotation, error)
}

func (s *Server) tunnel(w http.ResponseWriter, r *http.Request) error {
	return s.write(w, r, s.agent(r).Tunnel())
}

func (s *Server) rotateKeys(w http.ResponseWriter, r *http.Request) error {
	var in struct{}
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	k, err := s.agent(r).RotateKeys(r.Context())
	if err != nil {
		return err
	}
	return s.write(w, r, k)
}
