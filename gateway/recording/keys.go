package recording

import (
	"bytes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/ssh"
)

// KeyID names a signing key: the first 16 bytes of its SHA-256 in base64url.
func KeyID(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// publicPrefix begins a public key as text.
const publicPrefix = "weft-recording-key "

// FormatPublicKey is a signing key's public half as one line of text.
func FormatPublicKey(pub ed25519.PublicKey) string {
	return publicPrefix + base64.StdEncoding.EncodeToString(pub) + "\n"
}

// ParsePublicKey reads what FormatPublicKey wrote; the prefix may be missing.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), strings.TrimSpace(publicPrefix)))
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	if len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("read public key: %d bytes, want %d", len(b), ed25519.PublicKeySize)
	}
	return b, nil
}

// ParseRecipient reads an age recipient (age1...) or an SSH public key (ssh-ed25519 or ssh-rsa).
func ParseRecipient(s string) (age.Recipient, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "ssh-") {
		r, err := agessh.ParseRecipient(s)
		if err != nil {
			return nil, fmt.Errorf("read recipient: %w", err)
		}
		return r, nil
	}
	r, err := age.ParseX25519Recipient(s)
	if err != nil {
		return nil, fmt.Errorf("read recipient: %w", err)
	}
	return r, nil
}

// ParseIdentities reads an age identity file or an unencrypted SSH private key.
func ParseIdentities(b []byte) ([]age.Identity, error) {
	if bytes.Contains(b, []byte("PRIVATE KEY-----")) {
		id, err := agessh.ParseIdentity(b)
		if _, missing := errors.AsType[*ssh.PassphraseMissingError](err); missing {
			return nil, errors.New("the SSH key is encrypted; use a copy without a passphrase (ssh-keygen -p)")
		}
		if err != nil {
			return nil, fmt.Errorf("read SSH key: %w", err)
		}
		return []age.Identity{id}, nil
	}
	ids, err := age.ParseIdentities(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read identities: %w", err)
	}
	return ids, nil
}

// newFileKey makes the key of one recording and wraps it for the recipients.
func newFileKey(names []string) (cipher.AEAD, *Encryption, error) {
	recipients := make([]age.Recipient, 0, len(names))
	for _, n := range names {
		r, err := ParseRecipient(n)
		if err != nil {
			return nil, nil, err
		}
		recipients = append(recipients, r)
	}
	key := make([]byte, chacha20poly1305.KeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, nil, fmt.Errorf("make file key: %w", err)
	}
	var wrapped bytes.Buffer
	w, err := age.Encrypt(&wrapped, recipients...)
	if err == nil {
		_, err = w.Write(key)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("wrap file key: %w", err)
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make file key: %w", err)
	}
	return aead, &Encryption{Scheme: schemeAge, Recipients: names, WrappedKey: wrapped.Bytes()}, nil
}

// unwrap opens the file key with one of the identities.
func (e *Encryption) unwrap(ids []age.Identity) (cipher.AEAD, error) {
	if e.Scheme != schemeAge {
		return nil, fmt.Errorf("unknown encryption scheme %q", e.Scheme)
	}
	if len(ids) == 0 {
		return nil, ErrEncrypted
	}
	r, err := age.Decrypt(bytes.NewReader(e.WrappedKey), ids...)
	if err != nil {
		return nil, fmt.Errorf("none of the identities opens it: %w", err)
	}
	key, err := io.ReadAll(io.LimitReader(r, chacha20poly1305.KeySize+1))
	if err != nil {
		return nil, fmt.Errorf("unwrap file key: %w", err)
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, fmt.Errorf("unwrap file key: %w", err)
	}
	return aead, nil
}

func nonce(seq uint64) []byte {
	n := make([]byte, chacha20poly1305.NonceSize)
	binary.BigEndian.PutUint64(n[4:], seq)
	return n
}
