package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"log/slog"
)

// Secret is a credential on the wire; it redacts itself in logs.
type Secret string

// LogValue redacts.
func (Secret) LogValue() slog.Value { return slog.StringValue("redacted") }

// String redacts; convert to string to reveal.
func (Secret) String() string { return "redacted" }

// ConnectorKey derives the key that a connector of a tunnel shares with one gateway from the SHA-256 of the
// tunnel's secret (all that control keeps).
func ConnectorKey(secretHash []byte, gatewayID string) []byte {
	m := hmac.New(sha256.New, secretHash)
	m.Write([]byte("weft connector key v1\x00" + gatewayID))
	return m.Sum(nil)
}

// ConnectorProofLabel is the TLS exporter label (RFC 5705, RFC 8446 section 7.5) whose 32 bytes a proof signs, so
// that a proof is worth nothing on another connection.
const ConnectorProofLabel = "EXPORTER-weft-connector-v1"

// ConnectorProof proves possession of key on the TLS connection with the given exported keying material.
func ConnectorProof(key, exported []byte, tunnelID, connectorID string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("weft connector proof v1\x00" + tunnelID + "\x00" + connectorID + "\x00"))
	m.Write(exported)
	return m.Sum(nil)
}
