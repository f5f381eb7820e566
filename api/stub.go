package api

import (
	"context"
	"crypto/x509"
	"log/slog"
	"time"
)

// EnrolmentString is what an administrator hands to a user: "weft1." and the unpadded URL-safe base64 of
// {"u": control URL, "f": SHA-256 of the CA certificate's DER in hex (empty: system roots), "k": secret}.
type EnrolmentString struct {
	ControlURL    string
	CAFingerprint string
	Key           Secret
}

// ParseEnrolmentString reads s strictly; the error says what is wrong without repeating the secret.
func ParseEnrolmentString(s string) (EnrolmentString, error) { panic("not yet") }

// Encode is the inverse of ParseEnrolmentString.
func (e EnrolmentString) Encode() string { panic("not yet") }

// ConnectorToken is what the tunnel's token endpoint answers: base64 of {"a": account, "t": tunnel, "s": base64 secret}.
type ConnectorToken struct {
	AccountID string
	TunnelID  string
	Secret    []byte
}

// ParseConnectorToken reads a token.
func ParseConnectorToken(s string) (ConnectorToken, error) { panic("not yet") }

// Encode is the inverse of ParseConnectorToken.
func (t ConnectorToken) Encode() string { panic("not yet") }

// ClientConfig configures a Client.
type ClientConfig struct {
	BaseURL string
	// Token is sent as "Authorization: Bearer"; empty: none.
	Token Secret
	// Roots replace the system's when not nil. CAFingerprint (hex SHA-256 of a CA certificate in the presented
	// chain) is an alternative for the first contact.
	Roots         *x509.CertPool
	CAFingerprint string
	UserAgent     string
	Logger        *slog.Logger
}

// Client talks to the control plane. Its errors carry internal/kind. Safe for concurrent use.
type Client struct{}

// NewClient validates cfg.
func NewClient(cfg ClientConfig) (*Client, error) { panic("not yet") }

// Do sends one request with a JSON body (nil: none) and decodes the envelope's result into out (nil: ignored).
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error { panic("not yet") }

// Enrol registers a device.
func (c *Client) Enrol(ctx context.Context, r EnrolRequest) (EnrolResponse, error) { panic("not yet") }

// SyncState is a state that a stream keeps current.
type SyncState interface {
	AgentState | GatewayState | ConnectorState
}

// WatchConfig configures Watch.
type WatchConfig[S SyncState] struct {
	// Since and State resume from what the receiver kept on disk; zero: from the start.
	Since uint64
	State *S
	// OnState is called with each new whole state (never modified afterwards) from one goroutine.
	OnState func(revision uint64, s *S)
	// OnContact is called at every event, heartbeats included.
	OnContact func(at time.Time)
	// OnError is called when the stream breaks and will be retried after wait.
	OnError func(err error, wait time.Duration)
	// MinBackoff and MaxBackoff bound the jittered exponential back-off; 0 means 100 ms and 15 s.
	MinBackoff, MaxBackoff time.Duration
}

// Watch keeps a state current until ctx ends (returns ctx.Err()) or the credential is refused
// (kind.Unauthenticated, kind.Denied or kind.NotFound: returned at once, not retried).
func Watch[S SyncState](ctx context.Context, c *Client, path string, cfg WatchConfig[S]) error {
	panic("not yet")
}
