package tunnel

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"

	"golang.org/x/crypto/curve25519"
)

// PublicKey is a WireGuard public key (Curve25519, RFC 7748).
type PublicKey [32]byte

// PrivateKey is a WireGuard private key. It never prints itself: String and
// LogValue redact; Base64 reveals.
type PrivateKey [32]byte

// NewPrivateKey returns a fresh, clamped key.
func NewPrivateKey() (PrivateKey, error) {
	var k PrivateKey
	if _, err := rand.Read(k[:]); err != nil {
		return PrivateKey{}, fmt.Errorf("read random bytes for a key: %w", err)
	}
	k[0] &= 248
	k[31] = (k[31] & 127) | 64
	return k, nil
}

// ParsePrivateKey reads the standard base64 form of a private key.
func ParsePrivateKey(s string) (PrivateKey, error) {
	b, err := parseKey(s)
	return PrivateKey(b), err
}

// ParsePublicKey reads the standard base64 form of a public key.
func ParsePublicKey(s string) (PublicKey, error) {
	b, err := parseKey(s)
	return PublicKey(b), err
}

// Public returns the public key of k.
func (k PrivateKey) Public() PublicKey {
	var p PublicKey
	b, err := curve25519.X25519(k[:], curve25519.Basepoint)
	if err != nil {
		panic("tunnel: base point multiplication failed: " + err.Error())
	}
	copy(p[:], b)
	return p
}

// Base64 reveals the key in the form WireGuard's tools use.
func (k PrivateKey) Base64() string { return base64.StdEncoding.EncodeToString(k[:]) }

// IsZero reports whether no key was set.
func (k PrivateKey) IsZero() bool { return k == PrivateKey{} }

// String redacts the key.
func (k PrivateKey) String() string { return "PrivateKey(redacted)" }

// LogValue redacts the key.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// String returns the standard base64 form.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// IsZero reports whether no key was set.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// MarshalText returns the base64 form.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the base64 form.
func (k *PublicKey) UnmarshalText(b []byte) error {
	p, err := ParsePublicKey(string(b))
	if err != nil {
		return err
	}
	*k = p
	return nil
}

func parseKey(s string) ([32]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 32 {
		return [32]byte{}, fmt.Errorf("parse WireGuard key: want 32 bytes in standard base64")
	}
	return [32]byte(b), nil
}
