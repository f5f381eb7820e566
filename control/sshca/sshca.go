// Package sshca is the certificate authority of upstream SSH logins: it makes the authority's key and signs user
// certificates (OpenSSH PROTOCOL.certkeys) that are worth one login as one UNIX user for at most three minutes.
// Under a key of another authority it signs the host keys that gateways present to SSH clients.
// It keeps nothing; whoever calls it decides first that the login is allowed.
package sshca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// The validity of a certificate: backdated for clocks that are behind, and short, because there is no revocation.
const (
	Backdate = time.Minute
	Lifetime = 3 * time.Minute
)

// Comment ends the authority's public key line.
const Comment = "open-ssh-ca@weft"

// Generate makes an authority's key: its authorized_keys line and its private key (PKCS #8).
func Generate() (publicKey string, privateKey []byte, err error) { return generate(Comment) }

func generate(comment string) (publicKey string, privateKey []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", nil, fmt.Errorf("generate SSH CA key: %w", err)
	}
	if privateKey, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return "", nil, fmt.Errorf("encode SSH CA key: %w", err)
	}
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return "", nil, fmt.Errorf("encode SSH CA key: %w", err)
	}
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(pub)), "\n") + " " + comment, privateKey, nil
}

// Request asks for a certificate.
type Request struct {
	// Key is the ephemeral key of the login; it must be no certificate itself.
	Key ssh.PublicKey
	// Principal is the one UNIX user.
	Principal string
	// KeyID stands in the target's log.
	KeyID string
	// Extensions are what the certificate permits (PROTOCOL.certkeys); nil: a terminal.
	Extensions []string
}

// Sign makes the certificate at the time now.
func Sign(privateKey []byte, r Request, now time.Time) (*ssh.Certificate, error) {
	if r.Principal == "" || r.Key == nil {
		// A certificate without a principal would be good for every user (PROTOCOL.certkeys).
		return nil, errors.New("sign SSH certificate: no principal or no key")
	}
	c := &ssh.Certificate{
		Key:             r.Key,
		CertType:        ssh.UserCert,
		KeyId:           r.KeyID,
		ValidPrincipals: []string{r.Principal},
		ValidAfter:      uint64(now.Add(-Backdate).Unix()),
		ValidBefore:     uint64(now.Add(Lifetime - Backdate).Unix()),
		Permissions:     ssh.Permissions{Extensions: extensions(r.Extensions)},
	}
	if err := sign(privateKey, c); err != nil {
		return nil, fmt.Errorf("sign SSH certificate: %w", err)
	}
	return c, nil
}

// extensions are those of a certificate; each is a flag, without data.
func extensions(names []string) map[string]string {
	if names == nil {
		names = []string{"permit-pty"}
	}
	m := make(map[string]string, len(names))
	for _, name := range names {
		m[name] = ""
	}
	return m
}

// sign gives c a serial number and signs it.
func sign(privateKey []byte, c *ssh.Certificate) error {
	if _, nested := c.Key.(*ssh.Certificate); nested {
		return errors.New("the key is a certificate itself")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(privateKey)
	if err != nil {
		return fmt.Errorf("decode CA key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(parsed)
	if err != nil {
		return fmt.Errorf("use CA key: %w", err)
	}
	var serial [8]byte
	if _, err := rand.Read(serial[:]); err != nil {
		return fmt.Errorf("make serial: %w", err)
	}
	c.Serial = binary.BigEndian.Uint64(serial[:]) >> 1 // fits a signed integer too
	return c.SignCert(rand.Reader, signer)
}
