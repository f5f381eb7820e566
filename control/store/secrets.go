package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// KeyBytes is the size of the key that seals secrets.
const KeyBytes = 32

// box seals secrets with AES-256-GCM; the place of a secret is authenticated with it, so that one cannot be moved
// to another row.
type box struct{ aead cipher.AEAD }

func newBox(key []byte) (*box, error) {
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("the store's key has %d bytes instead of %d", len(key), KeyBytes)
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(c)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &box{aead: aead}, nil
}

func (b *box) seal(place string, secret []byte) string {
	return base64.StdEncoding.EncodeToString(b.aead.Seal(nil, nil, secret, []byte(place)))
}

func (b *box) open(place, sealed string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", place, err)
	}
	secret, err := b.aead.Open(nil, nil, raw, []byte(place))
	if err != nil {
		return nil, errors.New("open " + place + ": the key is not the one that sealed it, or the data is damaged")
	}
	return secret, nil
}

// NewToken makes a credential of 256 random bits after a prefix that says what it is for; together 40 to 80
// characters of [0-9A-Za-z_-], the form that clients of the management API insist on.
func NewToken(prefix string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// HashToken is what the store keeps of a credential. A plain hash is enough because a credential has 256 random
// bits; it is looked up by an index on the hash, so timing tells nothing about the credential itself.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
