package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"weft/internal/kind"
)

// Fingerprint is the hex SHA-256 of a certificate's DER, the form of EnrolmentString.CAFingerprint.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func parseFingerprint(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size {
		return nil, kind.New(kind.Invalid, "a certificate fingerprint is 64 hex digits")
	}
	return b, nil
}

// pinCA returns a tls.Config.VerifyConnection that trusts exactly the CA with the given fingerprint, if the server
// presents it in its chain, and then verifies the leaf against it and for host as RFC 6125 and RFC 5280 ask. Only
// the way to find the root differs from the usual verification.
func pinCA(fingerprint []byte, host string) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("the server presented no certificate")
		}
		opts := x509.VerifyOptions{
			Roots:         x509.NewCertPool(),
			Intermediates: x509.NewCertPool(),
			DNSName:       host,
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		found := false
		for _, c := range cs.PeerCertificates[1:] {
			sum := sha256.Sum256(c.Raw)
			if c.IsCA && c.BasicConstraintsValid && bytes.Equal(sum[:], fingerprint) {
				opts.Roots.AddCert(c)
				found = true
				continue
			}
			opts.Intermediates.AddCert(c)
		}
		if !found {
			return errors.New("the server's chain does not hold the certificate authority with the expected fingerprint")
		}
		if _, err := cs.PeerCertificates[0].Verify(opts); err != nil {
			return fmt.Errorf("verify server certificate: %w", err)
		}
		return nil
	}
}
