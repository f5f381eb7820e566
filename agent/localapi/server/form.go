package server

import (
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
)

// http1Only: neither TLS nor the HTTP/2 preface (RFC 9113 section 3.4) means anything here.
func http1Only() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// checkForm refuses what no client of ours sends and what two readers might read differently: requests of browsers,
// every form of target but a plain path (RFC 9112 section 3.2), too many fields, and bodies where none belongs. It
// takes away the fields by which programs in between tell who called them: here only the kernel does.
func (s *Server) checkForm(w http.ResponseWriter, r *http.Request) error {
	_, origin := r.Header["Origin"]
	if origin || !slices.Contains(hosts, r.Host) {
		s.browser.Add(1)
		return fault.New(localapi.CodePermission, "the local API does not serve browsers")
	}
	if !plainTarget(r) || r.ProtoMajor != 1 {
		s.badHeads.Add(1)
		return fault.New(string(kind.Invalid), "the request's target is not a plain path")
	}
	if countFields(r.Header) > maxHeaders {
		s.badHeads.Add(1)
		return fault.New(string(kind.Limit), "the request has more than %d header fields", maxHeaders)
	}
	dropClaims(r.Header)
	if r.ContentLength == 0 {
		return nil
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		s.overBody.Add(1)
		return fault.New(string(kind.Invalid), "%s has no body", r.Method)
	}
	// Also for a body that no handler reads: it must not hold the connection.
	return http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.BodyTimeout))
}

// plainTarget refuses the absolute form, CONNECT's authority form, "*", and paths with dots, double slashes or escapes:
// the mux would answer some of them by itself.
func plainTarget(r *http.Request) bool {
	p, _, _ := strings.Cut(r.RequestURI, "?")
	return r.Method != http.MethodConnect && r.URL.Host == "" && r.URL.Scheme == "" &&
		strings.HasPrefix(p, "/") && p == r.URL.Path && path.Clean(p) == p
}

func countFields(h http.Header) (n int) {
	for _, v := range h {
		n += len(v)
	}
	return n
}

// dropClaims removes what claims an identity.
func dropClaims(h http.Header) {
	for name := range h {
		switch {
		case strings.HasPrefix(name, "X-"), strings.HasPrefix(name, "Remote-"), strings.HasPrefix(name, "Grpc-"),
			name == "Forwarded", name == "Via", name == "From", name == "Authorization", name == "Proxy-Authorization", name == "Cookie":
			delete(h, name)
		}
	}
}

// noteState counts connections that end in the middle of a head: net/http answers malformed, oversized and late ones
// by itself.
func (s *Server) noteState(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*countedConn)
	if !ok {
		return
	}
	switch state {
	case http.StateActive:
		c.inHead.Store(true)
	case http.StateClosed:
		if c.inHead.Load() {
			s.badHeads.Add(1)
		}
	case http.StateNew, http.StateIdle, http.StateHijacked:
	}
}
