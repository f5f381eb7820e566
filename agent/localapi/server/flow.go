package server

import (
	"net/http"

	"weft/agent/localapi"
)

// FlowAgent is what the agent knows of its open flows.
type FlowAgent interface {
	// Flows lists those of the given VNETs (names or IDs) and targets; none means all.
	Flows(vnets, targets []string) (localapi.FlowList, error)
	CloseFlows(c localapi.CloseFlows) (localapi.FlowsClosed, error)
}

func (s *Server) flows(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	l, err := s.agent(r).Flows(q["vnet"], q["target"])
	if err != nil {
		return err
	}
	return s.write(w, r, l)
}

func (s *Server) closeFlows(w http.ResponseWriter, r *http.Request) error {
	var in localapi.CloseFlows
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	done, err := s.agent(r).CloseFlows(in)
	if err != nil {
		return err
	}
	return s.write(w, r, done)
}
