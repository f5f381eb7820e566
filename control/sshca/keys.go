package sshca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"weft/internal/kind"
)

// Algorithm is the kind of an authority's key.
type Algorithm string

// The algorithms. ECDSA is the default, because it is what the public API makes and what every OpenSSH since 5.7 verifies;
// ED25519 (OpenSSH 6.5) is not for machines in FIPS mode.
const (
	ECDSAP256 Algorithm = "ecdsa-p256"
	ED25519   Algorithm = "ed25519"
)

// Algorithms are all, the default first.
func Algorithms() []Algorithm { return []Algorithm{ECDSAP256, ED25519} }

// ParseAlgorithm reads a name; "" is the default.
func ParseAlgorithm(name string) (Algorithm, error) {
	if name == "" {
		return ECDSAP256, nil
	}
	if !slices.Contains(Algorithms(), Algorithm(name)) {
		return "", kind.Field("/algorithm", "an SSH CA is ecdsa-p256 or ed25519, not %q", name)
	}
	return Algorithm(name), nil
}

// AlgorithmOf is that of a public key; "" for one that no authority here has.
func AlgorithmOf(key ssh.PublicKey) Algorithm {
	switch key.Type() {
	case ssh.KeyAlgoECDSA256:
		return ECDSAP256
	case ssh.KeyAlgoED25519:
		return ED25519
	default:
		return ""
	}
}

// KeySource is where the private keys of authorities live: the control plane's own database, or a device behind PKCS #11, a
// key management service, an agent. Nothing but a KeySource ever sees more of a private key than its reference.
//
// The contract:
//   - A reference is opaque, at most MaxReferenceBytes long, and good for as long as the key exists, also after a restart and
//     in another process. It is kept encrypted, because that of Software is the key itself; that of a device is
//     best its URI (RFC 7512).
//   - Generate makes a new key of the algorithm. It is called outside of any transaction; a key whose authority then could
//     not be recorded is given to Destroy.
//   - Signer finds a key again. Its PublicKey is compared with what is on record, and every signature is verified
//     before it is used, so that a device that answers with another key is an error and never a certificate.
//     Signer and Sign may block on a device; user certificates are signed outside of transactions, host certificates
//     (a few an hour) inside. Both end with their context as far as the device allows.
//   - Destroy makes a key useless for good. It is called after the authority is gone from the database; a key that
//     does not exist is no error.
//   - All methods are safe for concurrent use, and so is the Signer.
//
// An adapter for PKCS #11 is a crypto.Signer of its library behind NewSigner, with the object's URI as the reference.
type KeySource interface {
	Generate(ctx context.Context, algorithm Algorithm) (public ssh.PublicKey, reference []byte, err error)
	Signer(ctx context.Context, reference []byte) (Signer, error)
	Destroy(ctx context.Context, reference []byte) error
}

// MaxReferenceBytes bounds a reference.
const MaxReferenceBytes = 4096

// Signer signs with the key of an authority, wherever it is.
type Signer = ssh.Signer

// NewSigner makes a Signer of any crypto.Signer, such as a PKCS #11 library returns.
func NewSigner(key crypto.Signer) (Signer, error) {
	s, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, fmt.Errorf("use CA key: %w", err)
	}
	return s, nil
}

// Software keeps keys in the reference itself (PKCS #8), which the database holds encrypted.
type Software struct{}

var _ KeySource = Software{}

// Generate implements KeySource.
func (Software) Generate(_ context.Context, algorithm Algorithm) (ssh.PublicKey, []byte, error) {
	var key crypto.Signer
	var err error
	switch algorithm {
	case ECDSAP256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ED25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no algorithm %q", algorithm)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("generate SSH CA key: %w", err)
	}
	reference, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode SSH CA key: %w", err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("encode SSH CA key: %w", err)
	}
	return public, reference, nil
}

// Signer implements KeySource.
func (Software) Signer(_ context.Context, reference []byte) (Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(reference)
	if err != nil {
		return nil, errors.New("decode CA key: it is not PKCS #8") // the cause may quote it
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("decode CA key: it cannot sign")
	}
	return NewSigner(key)
}

// Destroy implements KeySource: with the row of the database the key is gone.
func (Software) Destroy(context.Context, []byte) error { return nil }

// PublicLine is the authorized_keys form of an authority's key.
func PublicLine(key ssh.PublicKey, comment string) string {
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n") + " " + comment
}
