package control

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"weft/api"
	"weft/control/store"
)

// The lives of the built-in authority's certificates.
const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 90 * 24 * time.Hour
	// leafRenewBefore is how long before its end a certificate is replaced; nothing needs a restart.
	leafRenewBefore = 30 * 24 * time.Hour
	clockSkew       = time.Hour
	reloadInterval  = time.Minute
)

// certs hands out the server's certificate.
type certs interface {
	certificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// fingerprint of the authority that clients pin, "" when they are to trust the system's.
	fingerprint() string
	// caPEM is that authority's certificate, nil likewise.
	caPEM() []byte
}

var (
	_ certs = (*builtinCA)(nil)
	_ certs = (*certFiles)(nil)
)

// builtinCA issues the server's certificate itself.
type builtinCA struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	names []string
	now   func() time.Time

	mu   sync.Mutex
	leaf *tls.Certificate // guarded by mu
}

// openCA reads the authority in dir or makes one.
func openCA(dir string, names []string, now func() time.Time) (*builtinCA, error) {
	certPEM, keyPEM, err := readCA(dir)
	if err != nil {
		return nil, err
	}
	if certPEM == nil {
		if certPEM, keyPEM, err = generateCA(now); err != nil {
			return nil, err
		}
		// The key first: a certificate without its key would look like a complete authority.
		if err := writeFile(filepath.Join(dir, caKeyFile), keyPEM, 0o600); err != nil {
			return nil, err
		}
		if err := writeFile(filepath.Join(dir, caFile), certPEM, 0o644); err != nil {
			return nil, err
		}
	}
	return parseCA(certPEM, keyPEM, names, now)
}

// sharedCA is the authority that the control planes of one account have in common. The first one gives its own, if its
// directory has one; afterwards the directory has the certificate only, for those who are to trust it.
func sharedCA(s *store.Store, dir string, names []string, now func() time.Time) (*builtinCA, error) {
	// As for the rest of opening: it is short and must be whole.
	both, err := s.SharedSecret(context.Background(), "built-in CA", func() ([]byte, error) {
		certPEM, keyPEM, err := readCA(dir)
		if err == nil && certPEM == nil {
			certPEM, keyPEM, err = generateCA(now)
		}
		return slices.Concat(certPEM, keyPEM), err
	})
	if err != nil {
		return nil, err
	}
	a, err := parseCA(both, both, names, now)
	if err != nil {
		return nil, err
	}
	return a, writeFile(filepath.Join(dir, caFile), a.caPEM(), 0o644)
}

const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
)

// readCA reads the files of an authority; nil: there is none.
func readCA(dir string) (certPEM, keyPEM []byte, err error) {
	certPEM, err = os.ReadFile(filepath.Join(dir, caFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read CA: %w", err)
	}
	if keyPEM, err = os.ReadFile(filepath.Join(dir, caKeyFile)); err != nil {
		return nil, nil, fmt.Errorf("read CA key: %w", err)
	}
	return certPEM, keyPEM, nil
}

func parseCA(certPEM, keyPEM []byte, names []string, now func() time.Time) (*builtinCA, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("read CA: it is not an ECDSA certificate authority")
	}
	return &builtinCA{cert: pair.Leaf, key: key, names: names, now: now}, nil
}

func generateCA(now func() time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate CA key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Weft control CA " + now().UTC().Format(time.DateOnly)},
		NotBefore: now().Add(-clockSkew), NotAfter: now().Add(caLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 0, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("create CA: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode CA key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[0] = b[0]&0x7f | 0x40 // positive and of full length (RFC 5280 section 4.1.2.2)
	return new(big.Int).SetBytes(b)
}

func (a *builtinCA) fingerprint() string { return api.Fingerprint(a.cert.Raw) }

func (a *builtinCA) caPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// certificate returns the current one, or a new one when its end is near.
func (a *builtinCA) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaf != nil && a.now().Before(a.leaf.Leaf.NotAfter.Add(-leafRenewBefore)) {
		return a.leaf, nil
	}
	leaf, err := a.issue()
	if err != nil {
		return nil, err
	}
	a.leaf = leaf
	return leaf, nil
}

func (a *builtinCA) issue() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate server key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: a.names[0]},
		NotBefore: a.now().Add(-clockSkew), NotAfter: minTime(a.now().Add(leafLifetime), a.cert.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range a.names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("issue server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issue server certificate: %w", err)
	}
	// The authority is part of the chain: on first contact a client knows only its fingerprint.
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// certFiles serves a certificate that someone else renews in place.
type certFiles struct {
	certPath, keyPath string
	now               func() time.Time

	mu      sync.Mutex
	current *tls.Certificate // guarded by mu, as are the next two
	stamp   [2]time.Time
	checked time.Time
}

func openCertFiles(certPath, keyPath string, now func() time.Time) (*certFiles, error) {
	f := &certFiles{certPath: certPath, keyPath: keyPath, now: now}
	if _, err := f.certificate(nil); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *certFiles) fingerprint() string { return "" }
func (f *certFiles) caPEM() []byte       { return nil }

// certificate looks at the files now and then. While they cannot be read the old certificate stays.
func (f *certFiles) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current != nil && f.now().Sub(f.checked) < reloadInterval {
		return f.current, nil
	}
	f.checked = f.now()
	var stamp [2]time.Time
	for i, path := range []string{f.certPath, f.keyPath} {
		if st, err := os.Stat(path); err == nil {
			stamp[i] = st.ModTime()
		}
	}
	if f.current != nil && stamp == f.stamp {
		return f.current, nil
	}
	pair, err := tls.LoadX509KeyPair(f.certPath, f.keyPath)
	if err != nil {
		if f.current != nil {
			return f.current, nil
		}
		return nil, fmt.Errorf("read TLS certificate: %w", err)
	}
	f.current, f.stamp = &pair, stamp
	return f.current, nil
}

// serverNames are the names that the built-in authority certifies: where the server listens, what it is reached by,
// and localhost.
func serverNames(listenHost, publicHost string, more []string) []string {
	names := []string{}
	for _, n := range append([]string{publicHost, listenHost}, append(slices.Clone(more), "localhost", "127.0.0.1", "::1")...) {
		if ip := net.ParseIP(n); n == "" || ip != nil && ip.IsUnspecified() || slices.Contains(names, n) {
			continue
		}
		names = append(names, n)
	}
	return names
}

// writeFile writes whole or not at all.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	err = errors.Join(f.Chmod(mode), writeAndSync(f, data), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), os.Remove(f.Name()))
	}
	return nil
}

func writeAndSync(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}
