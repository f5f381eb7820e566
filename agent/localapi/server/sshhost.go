package server

import (
	"net/http"
	"strconv"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
)

// sshHostAgent is what the agent knows for OpenSSH clients.
type sshHostAgent interface {
	// SSHHost answers for names that are no target's too; port 0 means any.
	SSHHost(name string, port uint16) (localapi.SSHHost, error)
}

func (s *Server) sshHost(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	port, err := queryPort(q.Get("port"))
	if err != nil {
		return err
	}
	h, err := s.agent(r).SSHHost(q.Get("name"), port)
	if err != nil {
		return err
	}
	return s.write(w, r, h)
}

// queryPort reads an optional port; 0 means none.
func queryPort(s string) (uint16, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fault.New(string(kind.Invalid), "port must be 1 to 65535")
	}
	return uint16(n), nil
}
