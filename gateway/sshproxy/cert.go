package sshproxy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
)

type netAddr = net.Addr

// maxCertLife is three minutes of use and one of backdating for clocks that disagree.
const maxCertLife = 4 * time.Minute

// certify makes the certificate of the session's login.
func (x *session) certify(ctx context.Context, user string) (ssh.Signer, error) {
	return certifyKey(ctx, user, x.s.Certify)
}

// certifyKey makes a key for this one login and has it signed. The certificate is checked as if control were not ours: one
// that is too wide must not leave the gateway.
func certifyKey(
	ctx context.Context, user string, certify func(context.Context, ssh.PublicKey, string) (*ssh.Certificate, error),
) (ssh.Signer, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate login key: %w", err)
	}
	key, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		return nil, fmt.Errorf("use login key: %w", err)
	}
	cert, err := certify(ctx, key.PublicKey(), user)
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

// boundTo ends the sentence about a refused certificate that is bound to an address.
func boundTo(signer ssh.Signer) string {
	if cert, ok := signer.PublicKey().(*ssh.Certificate); ok && cert.CriticalOptions[sourceAddress] != "" {
		return "; the certificate is good only from " + clean(cert.CriticalOptions[sourceAddress]) +
			", the connector's address: if NAT or a relay is before the target, start the connector with --source-address never"
	}
	return ""
}

// sourceAddress is the one critical option that a certificate may have.
const sourceAddress = "source-address"

// checkCertificate holds a certificate to what a login needs: this key, this one principal, now, minutes, a good signature, and
// nothing in it that is not known here: an option that sshd understands and we do not could mean anything.
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
	for o := range cert.CriticalOptions {
		if o != sourceAddress {
			return fmt.Errorf("certificate has the unknown critical option %q", o)
		}
	}
	for e, v := range cert.Extensions {
		if !slices.Contains(knownExtensions, e) || v != "" {
			return fmt.Errorf("certificate has the unknown extension %q", e)
		}
	}
	if len(cert.Reserved) > 0 {
		return errors.New("certificate has reserved bytes")
	}
	checker := ssh.CertChecker{SupportedCriticalOptions: []string{sourceAddress}, Clock: func() time.Time { return now }}
	return checker.CheckCert(user, cert) // above all its signature
}

var knownExtensions = []string{access.ExtensionPTY, access.ExtensionPort, access.ExtensionAgent, access.ExtensionX11}
