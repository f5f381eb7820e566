package proxy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/origin"
	"weft/agent/relay"
	"weft/internal/kind"
)

// established answers a CONNECT that succeeded.
const established = "HTTP/1.1 200 Connection Established\r\n\r\n"

// http serves one CONNECT up to the relay. Other methods are refused: a web page can
// make a browser send them here, but no CONNECT.
func (s *Server) http(ctx context.Context, c *conn) (relay.Flow, error) {
	req, err := http.ReadRequest(c.r)
	if err != nil {
		s.malformed.Add(1)
		return nil, errors.Join(err, writeHTTPError(c, fault.New(string(kind.Invalid), "the request is not HTTP/1.1 or its head is larger than %d bytes", maxHeaderBytes)))
	}
	if err := s.authorize(ctx, c); err != nil { // after the request was read, or closing would lose the answer
		return nil, errors.Join(err, writeHTTPError(c, fault.From(err)))
	}
	d, ferr := parseConnect(req)
	if ferr != nil {
		s.malformed.Add(1)
		return nil, errors.Join(ferr, writeHTTPError(c, ferr))
	}
	flow, ferr := s.dial(ctx, c, origin.HTTP, d)
	if ferr != nil {
		return nil, errors.Join(ferr, writeHTTPError(c, ferr))
	}
	if _, err := io.WriteString(c, established); err != nil {
		flow.Abort()
		return nil, err
	}
	return flow, nil
}

// Codes that only HTTP knows.
const (
	codeMethod    = "method_not_allowed"
	codeProxyAuth = "proxy_authentication"
)

func parseConnect(req *http.Request) (localapi.Dial, *fault.Error) {
	if req.Method != http.MethodConnect {
		return localapi.Dial{}, fault.New(codeMethod, "this proxy offers CONNECT only, not %s", method(req.Method)).
			WithHint("tunnel the connection, for example: curl --proxytunnel")
	}
	host, port, err := net.SplitHostPort(req.Host)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || host == "" || n == 0 {
		return localapi.Dial{}, fault.New(string(kind.Invalid), "CONNECT needs HOST:PORT")
	}
	user, ferr := proxyUser(req.Header)
	if ferr != nil {
		return localapi.Dial{}, ferr
	}
	return localapi.Dial{Name: host, Port: uint16(n), VNET: user}, nil
}

// method bounds what is repeated to the client.
func method(m string) string {
	if len(m) > 16 {
		return m[:16]
	}
	return m
}

// proxyUser reads the user name of a Basic credential (RFC 7617).
func proxyUser(h http.Header) (string, *fault.Error) {
	v := h.Get("Proxy-Authorization")
	if v == "" {
		return "", nil
	}
	scheme, rest, _ := strings.Cut(v, " ")
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	user, _, ok := strings.Cut(string(b), ":")
	if !strings.EqualFold(scheme, "Basic") || err != nil || !ok {
		return "", fault.New(codeProxyAuth, "Proxy-Authorization must be Basic with a virtual network's name as user name")
	}
	return user, nil
}

func httpStatus(code string) int {
	switch code {
	case codeMethod:
		return http.StatusMethodNotAllowed
	case codeProxyAuth:
		return http.StatusProxyAuthRequired
	default:
		return localapi.HTTPStatus(code)
	}
}

// writeHTTPError answers with a body that a person can read.
func writeHTTPError(w io.Writer, e *fault.Error) error {
	status := httpStatus(e.Code)
	body := "weft: " + e.Message + "\n"
	if e.Hint != "" {
		body += e.Hint + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n", len(body))
	b.WriteString("X-Content-Type-Options: nosniff\r\nWeft-Error: " + e.Code + "\r\n")
	switch e.Code {
	case codeMethod:
		b.WriteString("Allow: CONNECT\r\n")
	case codeProxyAuth:
		b.WriteString("Proxy-Authenticate: Basic realm=\"virtual network\"\r\n")
	}
	b.WriteString("\r\n" + body)
	_, err := io.WriteString(w, b.String())
	return err
}
