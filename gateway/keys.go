package gateway

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/tunnel"
)

// keys are what makes this gateway the same one after a restart.
type keys struct {
	wireGuard   tunnel.PrivateKey
	certificate tls.Certificate // of the connector listener; pinned by its hash, so it may live long
	reset       [32]byte        // makes QUIC stateless resets
	sshHost     []ssh.Signer
}

// The files of StateDir that hold keys.
const (
	fileWireGuard   = "wireguard.key"
	fileCertificate = "connector.pem" // certificate and key in one file: they belong together
	fileReset       = "quic_reset.key"
	fileSSHEd25519  = "ssh_host_ed25519_key"
	fileSSHECDSA    = "ssh_host_ecdsa_key"
)

// sshHostFiles are those of keys.sshHost, in its order.
var sshHostFiles = [...]string{fileSSHEd25519, fileSSHECDSA}

// certificateLife is long because nobody checks it: a connector pins the hash.
const certificateLife = 20 * 365 * 24 * time.Hour

// loadKeys reads the keys from dir and makes those that are missing.
func loadKeys(dir string) (keys, error) {
	var k keys
	wg, err := loadOrMake(dir, fileWireGuard, func() ([]byte, error) {
		key, err := tunnel.NewPrivateKey()
		return []byte(key.Base64() + "\n"), err
	})
	if err != nil {
		return k, err
	}
	if k.wireGuard, err = tunnel.ParsePrivateKey(strings.TrimSpace(string(wg))); err != nil {
		return k, fmt.Errorf("read %s: %w", fileWireGuard, err)
	}
	bundle, err := loadOrMake(dir, fileCertificate, makeCertificate)
	if err != nil {
		return k, err
	}
	if k.certificate, err = tls.X509KeyPair(bundle, bundle); err != nil {
		return k, fmt.Errorf("read %s: %w", fileCertificate, err)
	}
	reset, err := loadOrMake(dir, fileReset, func() ([]byte, error) {
		b := make([]byte, 32)
		_, err := rand.Read(b)
		return []byte(hex.EncodeToString(b) + "\n"), err
	})
	if err != nil {
		return k, err
	}
	if n, err := hex.Decode(k.reset[:], []byte(strings.TrimSpace(string(reset)))); err != nil || n != len(k.reset) {
		return k, fmt.Errorf("read %s: want %d bytes in hex", fileReset, len(k.reset))
	}
	for _, f := range []struct {
		name string
		make func() (crypto.PrivateKey, error)
	}{
		{sshHostFiles[0], func() (crypto.PrivateKey, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		}},
		{sshHostFiles[1], func() (crypto.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
	} {
		signer, err := loadSSHKey(dir, f.name, f.make)
		if err != nil {
			return k, err
		}
		k.sshHost = append(k.sshHost, signer)
	}
	return k, nil
}

func loadSSHKey(dir, name string, generate func() (crypto.PrivateKey, error)) (ssh.Signer, error) {
	b, err := loadOrMake(dir, name, func() ([]byte, error) {
		key, err := generate()
		if err != nil {
			return nil, err
		}
		block, err := ssh.MarshalPrivateKey(key, "weft gateway")
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(block), nil
	})
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return signer, nil
}

func makeCertificate() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "weft gateway"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "weft gateway"}}, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// certificateSum is the hash by which connectors pin the certificate.
func (k *keys) certificateSum() string {
	sum := sha256.Sum256(k.certificate.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// loadOrMake reads a file of secrets, or makes it.
func loadOrMake(dir, name string, generate func() ([]byte, error)) ([]byte, error) {
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err == nil {
		return b, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if b, err = generate(); err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return b, writeFile(path, b)
}

// writeFile replaces a file of mode 0600 at once: after a crash there is the old content or the new.
func writeFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // CreateTemp makes it 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", filepath.Base(path), err), ignoreMissing(os.Remove(f.Name())))
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
