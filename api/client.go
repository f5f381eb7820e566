package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weft/internal/kind"
)

// Limits on what a server may send.
const (
	maxResponseBytes = 8 << 20
	maxEventBytes    = 64 << 20
)

// The times that a request may take until its headers have come, and altogether when it is no stream.
const (
	dialTimeout     = 10 * time.Second
	headerTimeout   = 30 * time.Second
	requestTimeout  = 60 * time.Second
	pingInterval    = 15 * time.Second
	idleConnTimeout = 90 * time.Second
)

// ClientConfig configures a Client.
type ClientConfig struct {
	// BaseURL is the control plane's: https, no query.
	BaseURL string
	// Token is sent as "Authorization: Bearer"; empty: none.
	Token Secret
	// Roots replace the system's when not nil. CAFingerprint (hex SHA-256 of a CA certificate in the presented
	// chain) is an alternative for the first contact.
	Roots         *x509.CertPool
	CAFingerprint string
	// UserAgent defaults to "weft".
	UserAgent string
	// Logger defaults to discarding.
	Logger *slog.Logger
}

// Client talks to the control plane. Its errors carry internal/kind. Safe for concurrent use.
type Client struct {
	base      *url.URL
	token     Secret
	userAgent string
	log       *slog.Logger
	http      *http.Client
	conns     *openConns
}

// NewClient validates cfg.
func NewClient(cfg ClientConfig) (*Client, error) {
	base, err := parseBaseURL(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	if cfg.Roots != nil && cfg.CAFingerprint != "" {
		return nil, kind.New(kind.Invalid, "give the control plane's roots or its CA fingerprint, not both")
	}
	tc := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: cfg.Roots}
	if cfg.CAFingerprint != "" {
		fp, err := parseFingerprint(cfg.CAFingerprint)
		if err != nil {
			return nil, err
		}
		// The usual verification cannot find a root that is only known by its hash; pinCA does all of it instead.
		tc.InsecureSkipVerify = true
		tc.VerifyConnection = pinCA(fp, base.Hostname())
	}
	c := &Client{base: base, token: cfg.Token, userAgent: cfg.UserAgent, log: cfg.Logger, conns: newOpenConns()}
	if c.userAgent == "" {
		c.userAgent = "weft"
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.http = &http.Client{
		Transport: newTransport(tc, c.conns),
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the control plane answered with a redirect, which is refused")
		},
	}
	return c, nil
}

func newTransport(tc *tls.Config, conns *openConns) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           conns.dialer(&net.Dialer{Timeout: dialTimeout, KeepAlive: pingInterval}),
		TLSClientConfig:       tc,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingInterval, PingTimeout: pingInterval},
		IdleConnTimeout:       idleConnTimeout,
		MaxIdleConns:          8,
	}
}

// Close ends idle connections; requests under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Abandon ends every connection now, and with it what is under way. It is for a caller whose requests are over: a
// stream that was just cancelled keeps its connection from being idle for a moment, and Close would leave it open for
// another 90 s. The client can be used again.
func (c *Client) Abandon() {
	c.http.CloseIdleConnections()
	c.conns.closeAll()
}

// Do sends one request with a JSON body (nil: none) and decodes the envelope's result into out (nil: ignored).
// path is an escaped path below the base URL and may carry a query. It is bounded by ctx and by 60 s.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes+1))
	if err != nil {
		return unreachable(ctx, c.base.Host, err)
	}
	if len(raw) > maxResponseBytes {
		return kind.New(kind.Unavailable, "the control plane's answer is larger than %d bytes", maxResponseBytes)
	}
	return decodeEnvelope(resp.StatusCode, raw, out)
}

// Enrol registers a device.
func (c *Client) Enrol(ctx context.Context, r EnrolRequest) (EnrolResponse, error) {
	var out EnrolResponse
	err := c.Do(ctx, http.MethodPost, PathEnrol, r, &out)
	return out, err
}

// ChangeKey offers or confirms a device's new key; see AgentKey.
func (c *Client) ChangeKey(ctx context.Context, k AgentKey) (AgentSelf, error) {
	var out AgentSelf
	err := c.Do(ctx, http.MethodPost, PathAgentKey, k, &out)
	return out, err
}

// send returns the response with its body open.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("render request body: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return nil, fmt.Errorf("build request %s %s: %w", method, path, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+string(c.token))
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(ctx, c.base.Host, err)
	}
	return resp, nil
}

// unreachable gives a transport error its kind. The end of ctx stays recognisable by errors.Is.
func unreachable(ctx context.Context, host string, err error) error {
	if ctxErr := ctx.Err(); errors.Is(ctxErr, context.Canceled) {
		return ctxErr
	}
	var netErr net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &netErr) && netErr.Timeout() {
		return kind.New(kind.Timeout, "the control plane at %s does not answer in time", host).WithCause(err)
	}
	var certErr *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	if errors.As(err, &certErr) || errors.As(err, &authority) || strings.Contains(err.Error(), "certificate") {
		return kind.New(kind.Unavailable, "the certificate of the control plane at %s is not trusted", host).WithCause(err).
			WithHint("check that the enrolment string or CA file is for this control plane")
	}
	return kind.New(kind.Unavailable, "cannot reach the control plane at %s", host).WithCause(err)
}

// decodeEnvelope turns an answer into its result or its error.
func decodeEnvelope(status int, raw []byte, out any) error {
	var env Envelope
	err := json.Unmarshal(raw, &env)
	switch {
	case status >= 400:
		return answerError(status, env)
	case status < 200 || status >= 300:
		return kind.New(kind.Unavailable, "the control plane answered with status %d", status)
	case len(bytes.TrimSpace(raw)) == 0 && out == nil:
		return nil
	case err != nil:
		return kind.New(kind.Unavailable, "the control plane's answer cannot be understood").WithCause(err)
	case !env.Success:
		return answerError(status, env)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(env.Result, out); err != nil {
		return kind.New(kind.Unavailable, "the control plane's answer cannot be understood").WithCause(err)
	}
	return nil
}

// answerError is the first error of an answer; its kind is what the server says, else what the status means.
func answerError(status int, env Envelope) error {
	e := kind.New(kindOfStatus(status), "the control plane answered with status %d", status)
	if len(env.Errors) == 0 {
		return e
	}
	first := env.Errors[0]
	e.Message, e.Hint = first.Message, first.Hint
	if first.Kind != "" {
		e.Kind = kind.Kind(first.Kind)
	}
	if first.Source != nil {
		e.Pointer = first.Source.Pointer
	}
	return e
}

func kindOfStatus(status int) kind.Kind {
	switch status {
	case http.StatusUnauthorized:
		return kind.Unauthenticated
	case http.StatusForbidden:
		return kind.Denied
	case http.StatusNotFound:
		return kind.NotFound
	case http.StatusConflict:
		return kind.Conflict
	case http.StatusTooManyRequests, http.StatusRequestEntityTooLarge:
		return kind.Limit
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return kind.Timeout
	}
	if status >= 500 {
		return kind.Unavailable
	}
	return kind.Invalid
}
