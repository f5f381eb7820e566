package dev

import (
	"bytes"
	"os"
	"path/filepath"
)

func bundlePath(dir string) string { return filepath.Join(dir, "ca-bundle.pem") }

// systemBundles are where systems keep their authorities as one PEM file.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch, Alpine
	"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora, RHEL
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL 7 and later
	"/etc/ssl/ca-bundle.pem",                            // openSUSE
	"/etc/ssl/cert.pem",                                 // macOS, BSD, older Alpine
}

// bundle joins the development authority with those that the system trusts, so that one SSL_CERT_FILE serves both. The
// first certificate is ours. SSL_CERT_FILE itself comes first in the search, so that the user's choice of authorities stays, unless
// it is own: that happens when Dev is started again in a shell that has its environment.
func bundle(caPEM, own string) []byte {
	out := append(bytes.TrimSpace([]byte(caPEM)), '\n')
	for _, path := range append([]string{os.Getenv("SSL_CERT_FILE")}, systemBundles...) {
		if path == own {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(b, []byte("-----BEGIN CERTIFICATE-----")) {
			continue
		}
		return append(out, b...)
	}
	return out
}
