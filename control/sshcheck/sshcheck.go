// Package sshcheck asks an SSH server, from wherever it runs, whether it trusts an account's authorities of logins, and what it
// shows of itself.
//
// It never logs in, and could not: a server says by SSH_MSG_USERAUTH_PK_OK that it would take a public key before it has
// seen a signature (RFC 4252 section 7), and the certificates that are shown certify keys whose private halves nobody has. What a
// server answers is about this UNIX user, this client address and now. It does not tell what the server asks for beyond the
// certificate (AuthenticationMethods), what it decides after it (PermitRootLogin, account expiry), or whether a
// connector in another place would be let in (Match Address, firewalls).
package sshcheck

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/internal/kind"
)

// Authority is one that the server is asked about.
type Authority struct {
	ID          string
	State       string
	Fingerprint string
	// Certificate is of it, for the UNIX user.
	Certificate *ssh.Certificate
}

// Question is what is asked.
type Question struct {
	// Address is host:port.
	Address string
	// Login is a UNIX user that exists there.
	Login       string
	Authorities []Authority
	// Timeout bounds each connection; 0 means 10 s.
	Timeout time.Duration
}

// Report is the answer.
type Report struct {
	Address    string     `json:"address"`
	Login      string     `json:"login"`
	Version    string     `json:"version"`
	Algorithms Algorithms `json:"algorithms"`
	HostKey    HostKey    `json:"host_key"`
	// HostCertificate is nil when the server has none.
	HostCertificate *HostCertificate `json:"host_certificate,omitempty"`
	// Methods are those that the server lets the user try.
	Methods []string `json:"methods"`
	// TakesAnything says that it would take a certificate of an authority that nobody knows: then its answers mean nothing.
	TakesAnything bool     `json:"takes_anything"`
	Authorities   []Answer `json:"authorities"`
}

// Algorithms were negotiated with the first connection.
type Algorithms struct {
	KeyExchange string `json:"key_exchange"`
	HostKey     string `json:"host_key"`
	Cipher      string `json:"cipher"`
	MAC         string `json:"mac,omitempty"` // none with a cipher that has its own
}

// HostKey is the plain key that a gateway would pin.
type HostKey struct {
	Type        string `json:"type"`
	Fingerprint string `json:"fingerprint"`
}

// HostCertificate is what the server shows to who asks for certificates.
type HostCertificate struct {
	Authority   string    `json:"authority"` // fingerprint
	KeyID       string    `json:"key_id"`
	Principals  []string  `json:"principals"`
	ValidAfter  time.Time `json:"valid_after"`
	ValidBefore time.Time `json:"valid_before"`
	// Certificate is the certificate itself.
	Certificate *ssh.Certificate `json:"-"`
}

// Answer is about one authority.
type Answer struct {
	ID          string `json:"id"`
	State       string `json:"state"`
	Fingerprint string `json:"fingerprint"`
	Trusted     bool   `json:"trusted"`
}

// Ask asks. An error means that the server could not be asked at all; what it answered is in the report.
func Ask(ctx context.Context, q Question) (*Report, error) {
	if q.Timeout <= 0 {
		q.Timeout = 10 * time.Second
	}
	r := &Report{Address: q.Address, Login: q.Login}
	stranger, err := strangersCertificate(q.Login)
	if err != nil {
		return nil, err
	}
	for i, a := range q.Authorities {
		ask := []*ssh.Certificate{a.Certificate}
		if i == 0 { // in one connection: servers hold failures against an address (PerSourcePenalties of sshd_config)
			ask = []*ssh.Certificate{stranger, a.Certificate}
		}
		taken, err := q.connect(ctx, r, ask)
		if err != nil {
			return nil, err
		}
		if taken == stranger {
			r.TakesAnything = true
			return r, nil
		}
		r.Authorities = append(r.Authorities, Answer{a.ID, a.State, a.Fingerprint, taken == a.Certificate})
	}
	if err := q.hostCertificate(ctx, r); err != nil {
		return nil, err
	}
	return r, nil
}

// strangersCertificate is of an authority that is made for this one question.
func strangersCertificate(login string) (*ssh.Certificate, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	ca, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	now := time.Now()
	c := &ssh.Certificate{
		Key: ca.PublicKey(), CertType: ssh.UserCert, KeyId: "weft-ssh-ca-check-stranger", ValidPrincipals: []string{login},
		ValidAfter: uint64(now.Add(-time.Minute).Unix()), ValidBefore: uint64(now.Add(time.Minute).Unix()),
	}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return c, nil
}

// errTaken ends a login where a signature would be needed.
var errTaken = errors.New("the server would take it")

// shown is a certificate without its key, as something to log in with.
type shown struct {
	cert  *ssh.Certificate
	taken **ssh.Certificate
}

// PublicKey implements ssh.Signer.
func (s shown) PublicKey() ssh.PublicKey { return s.cert }

// Sign implements ssh.Signer. It is called when the server has said that it would take the certificate.
func (s shown) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	*s.taken = s.cert
	return nil, errTaken
}

// SignWithAlgorithm implements ssh.AlgorithmSigner.
func (s shown) SignWithAlgorithm(rand io.Reader, data []byte, _ string) (*ssh.Signature, error) {
	return s.Sign(rand, data)
}

// connect shows certificates one after another and returns the first that the server would take, nil for none.
func (q *Question) connect(ctx context.Context, r *Report, certs []*ssh.Certificate) (taken *ssh.Certificate, err error) {
	var signers []ssh.Signer
	for _, c := range certs {
		signers = append(signers, shown{c, &taken})
	}
	authenticating := false
	cfg := &ssh.ClientConfig{
		User: q.Login, ClientVersion: "SSH-2.0-Weft", HostKeyAlgorithms: plainKeys,
		Auth:           []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		BannerCallback: func(string) error { return nil },
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			r.HostKey = HostKey{key.Type(), ssh.FingerprintSHA256(key)}
			return nil
		},
		AuthCallback: func(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			authenticating = true
			a := c.Algorithms
			r.Version, r.Methods = string(c.Metadata.ServerVersion()), slices.Clone(c.AllowedMethods)
			r.Algorithms = Algorithms{a.KeyExchange, a.HostKey, a.Write.Cipher, a.Write.MAC}
			return nil, nil
		},
	}
	err = q.handshake(ctx, cfg)
	switch {
	case taken != nil, authenticating:
		return taken, nil
	case err == nil: // without asking for anything
		return nil, kind.New(kind.Denied, "the SSH server at %s lets %q in without any proof", q.Address, q.Login)
	}
	return nil, err
}

// hostCertificate asks for a certificate in place of a plain key.
func (q *Question) hostCertificate(ctx context.Context, r *Report) error {
	seen := errors.New("seen")
	cfg := &ssh.ClientConfig{
		User: q.Login, ClientVersion: "SSH-2.0-Weft", HostKeyAlgorithms: certificates,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if c, ok := key.(*ssh.Certificate); ok {
				r.HostCertificate = &HostCertificate{
					Authority: ssh.FingerprintSHA256(c.SignatureKey), KeyID: c.KeyId, Principals: c.ValidPrincipals,
					ValidAfter: moment(c.ValidAfter), ValidBefore: moment(c.ValidBefore), Certificate: c,
				}
			}
			return seen
		},
	}
	err := q.handshake(ctx, cfg)
	_, none := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	if none || r.HostCertificate != nil {
		return nil
	}
	return err
}

// moment reads a time of a certificate; those that no calendar knows mean for ever.
func moment(t uint64) time.Time {
	const last = 253402300799 // 9999-12-31
	return time.Unix(int64(min(t, last)), 0).UTC()
}

func (q *Question) handshake(ctx context.Context, cfg *ssh.ClientConfig) error {
	ctx, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", q.Address)
	if err != nil {
		return kind.New(kind.Unavailable, "cannot connect to %s: %v", q.Address, err).WithCause(err).
			WithHint("the check goes from this machine straight to the server, not through a gateway: run it where the server can be reached")
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c, chans, reqs, err := ssh.NewClientConn(conn, q.Address, cfg)
	if err == nil {
		go ssh.DiscardRequests(reqs)
		err = c.Close()
		for nc := range chans {
			_ = nc.Reject(ssh.Prohibited, "nothing was asked for")
		}
		return err
	}
	_ = conn.Close() // it is of no more use
	if ctx.Err() != nil {
		return kind.New(kind.Timeout, "the SSH server at %s did not answer in time", q.Address).WithCause(err)
	}
	return kind.New(kind.Unavailable, "what answers at %s is no SSH server that can be talked to: %v", q.Address, err).WithCause(err)
}

// plainKeys are those that a gateway asks for, in its order.
var plainKeys = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

var certificates = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}
