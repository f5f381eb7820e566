package sshproxy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

type netAddr = net.Addr

// maxCertLife is three minutes of use and one of backdating for clocks that disagree.
const maxCertLife = 4 * time.Minute

// certify makes a key for this one login and has it signed. The certificate is checked as if control were not ours: one
// that is too wide must not leave the gateway.
func (x *session) certify(ctx context.Context, user string) (ssh.Signer, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate login key: %w", err)
	}
	key, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		return nil, fmt.Errorf("use login key: %w", err)
	}
	cert, err := x.s.Certify(ctx, key.PublicKey(), user)
	if err != nil {
		return nil, fmt.Errorf("certify %q: %w", user, err)
	}
	if err := checkCertificate(cert, key.PublicKey(), user, time.Now()); err != nil {
		return nil, fmt.Errorf("check certificate: %w", err)
	}
	signer, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		return nil, fmt.Errorf("use certificate: %w", err)
	}
	return signer, nil
}

// checkCertificate holds a certificate to what the login needs: this key, this one principal, now, minutes.
func checkCertificate(cert *ssh.Certificate, key ssh.PublicKey, user string, now time.Time) error {
	switch {
	case cert == nil:
		return errors.New("there is none")
	case cert.CertType != ssh.UserCert:
		return fmt.Errorf("certificate type is %d, not that of a user", cert.CertType)
	case cert.Key == nil || !bytes.Equal(cert.Key.Marshal(), key.Marshal()):
		return errors.New("certificate is for another key")
	case len(cert.ValidPrincipals) != 1 || cert.ValidPrincipals[0] != user:
		return fmt.Errorf("principals are %q, not %q alone", cert.ValidPrincipals, user)
	case cert.ValidBefore <= cert.ValidAfter || cert.ValidBefore-cert.ValidAfter > uint64(maxCertLife/time.Second):
		return fmt.Errorf("certificate is valid from %d to %d, longer than %s", cert.ValidAfter, cert.ValidBefore, maxCertLife)
	}
	if sec := uint64(max(now.Unix(), 0)); sec < cert.ValidAfter || sec >= cert.ValidBefore {
		return fmt.Errorf("certificate is valid from %d to %d, and it is %d", cert.ValidAfter, cert.ValidBefore, sec)
	}
	return nil
}
