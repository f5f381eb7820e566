package api

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"

	"weft/internal/kind"
)

// ConnectorToken is what the tunnel's token endpoint answers: base64 of {"a": account, "t": tunnel, "s": base64 secret}.
type ConnectorToken struct {
	AccountID string
	TunnelID  string
	Secret    []byte
}

// The size of a tunnel's secret, in bytes.
const (
	MinTunnelSecretBytes = 32
	MaxTunnelSecretBytes = 256
)

const maxConnectorTokenLength = 2048

type connectorTokenWire struct {
	Account  string `json:"a"`
	Tunnel   string `json:"t"`
	Secret   []byte `json:"s"`
	Endpoint string `json:"e,omitempty"` // other servers of this API add it; unused here
}

var (
	accountIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)
	uuidForm      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// ParseConnectorToken reads a token strictly; the error does not repeat it.
func ParseConnectorToken(s string) (ConnectorToken, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxConnectorTokenLength {
		return ConnectorToken{}, badConnectorToken("it is longer than %d characters", maxConnectorTokenLength)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return ConnectorToken{}, badConnectorToken("it is not base64")
	}
	var w connectorTokenWire
	if err := unmarshalOne(raw, &w); err != nil {
		return ConnectorToken{}, badConnectorToken("it does not hold the expected JSON")
	}
	switch {
	case !accountIDForm.MatchString(w.Account):
		return ConnectorToken{}, badConnectorToken("its account is not 32 hex digits")
	case !uuidForm.MatchString(w.Tunnel):
		return ConnectorToken{}, badConnectorToken("its tunnel is not a UUID")
	case len(w.Secret) < MinTunnelSecretBytes || len(w.Secret) > MaxTunnelSecretBytes:
		return ConnectorToken{}, badConnectorToken("its secret is not %d to %d bytes", MinTunnelSecretBytes, MaxTunnelSecretBytes)
	}
	return ConnectorToken{AccountID: w.Account, TunnelID: w.Tunnel, Secret: w.Secret}, nil
}

// Encode is the inverse of ParseConnectorToken.
func (t ConnectorToken) Encode() string {
	raw, err := json.Marshal(connectorTokenWire{Account: t.AccountID, Tunnel: t.TunnelID, Secret: t.Secret})
	if err != nil { // strings and bytes always marshal
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func badConnectorToken(format string, args ...any) error {
	return kind.New(kind.Invalid, "not a connector token: "+format, args...).
		WithHint("use the token that the tunnel's token endpoint answers")
}
