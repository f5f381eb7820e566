package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/gateway/audit"
	"weft/internal/kind"
)

// errNoCA is shown to the user.
var errNoCA = kind.New(kind.Unavailable, "the account has no SSH certificate authority yet").
	WithHint("ask your administrator to create one")

// sourceOption is the critical option that binds a certificate to an address (PROTOCOL.certkeys).
const sourceOption = "source-address"

// narrowing is the most that a certificate may allow, as the gateway asks for it.
type narrowing struct {
	extensions []string
	source     netip.Addr // the zero Addr: from anywhere
}

// check refuses a certificate that allows more than was asked for, or that binds the login to something that was not.
func (n *narrowing) check(cert *ssh.Certificate) error {
	for e := range cert.Extensions {
		if !slices.Contains(n.extensions, e) {
			return fmt.Errorf("it allows %q, which was not asked for", e)
		}
	}
	want := map[string]string{}
	if n.source.IsValid() {
		want[sourceOption] = n.source.String() + "/" + strconv.Itoa(n.source.BitLen())
	}
	for o, v := range cert.CriticalOptions {
		if w, ok := want[o]; !ok || v != w {
			return fmt.Errorf("it has the critical option %q %q, which was not asked for", o, v)
		}
		delete(want, o)
	}
	if len(want) > 0 {
		return errors.New("it is good from any address, although one was asked for")
	}
	return nil
}

// certify has control sign the key of one login, as narrow as the policy and the way to the target allow, and puts the
// certificate on record before anybody can use it.
func (x *sshSession) certify(ctx context.Context, pub ssh.PublicKey, login string) (*ssh.Certificate, error) {
	self := x.g.view.Load().Self()
	if self.SSHCAPublicKey == "" {
		return nil, errNoCA
	}
	ask := narrowing{extensions: x.permits}
	in := api.CertificateRequest{
		PublicKey: string(ssh.MarshalAuthorizedKey(pub)), SessionID: x.s.ID, DeviceID: x.s.DeviceID,
		VNET: x.s.VNET, Destination: x.s.Destination, Login: login,
	}
	authorities := []string{self.SSHCAPublicKey}
	if len(self.SSHUserCAs) > 0 { // a control plane that knows what follows
		authorities = self.SSHUserCAs
		ask.source = x.source
		in.SourceAddress, in.Extensions = ask.source, ask.extensions
	}
	var out api.Certificate
	if err := x.g.cfg.Control.Do(ctx, http.MethodPost, api.PathGatewayCertificate, in, &out); err != nil {
		return nil, fmt.Errorf("ask control for a certificate: %w", err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(out.Certificate))
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("control answered with a key instead of a certificate")
	}
	if err := ask.check(cert); err != nil {
		return nil, fmt.Errorf("check certificate: %w", err)
	}
	if !slices.ContainsFunc(authorities, func(a string) bool { return isKey(a, cert.SignatureKey) }) {
		return nil, kind.New(kind.Unavailable, "the certificate is signed by an authority that this gateway has not heard of yet").
			WithHint("try again")
	}
	if err := x.recordCertificate(cert); err != nil {
		return nil, err
	}
	x.cert = cert
	return cert, nil
}

func (x *sshSession) recordCertificate(cert *ssh.Certificate) error {
	e := x.g.event(audit.SSHCertificate, x.s)
	e.Detail = map[string]string{
		"serial": strconv.FormatUint(cert.Serial, 10), "key_id": cert.KeyId, "ca": ssh.FingerprintSHA256(cert.SignatureKey),
		"valid_before": time.Unix(int64(cert.ValidBefore), 0).UTC().Format(time.RFC3339),
		"extensions":   strings.Join(slices.Sorted(mapKeys(cert.Extensions)), " "),
	}
	if source := cert.CriticalOptions[sourceOption]; source != "" {
		e.Detail["source_address"] = source
	}
	if err := x.g.audit.Write(e); err != nil {
		return kind.New(kind.Unavailable, "the certificate cannot be put on record").WithCause(err)
	}
	return nil
}

func mapKeys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// maxRevocations bounds the certificates that wait to be revoked.
const maxRevocations = 1024

// revocationTimeout bounds one request: the certificate has minutes.
const revocationTimeout = 10 * time.Second

// revocations tells control of certificates that outlive a session which was cut. A certificate is worth nothing without its key,
// which leaves the gateway never; should both ever be elsewhere, targets that read the key revocation list refuse it.
type revocations struct {
	queue         chan revocation
	done, dropped atomic.Uint64
}

type revocation struct {
	serial uint64
	before time.Time
}

func newRevocations() *revocations { return &revocations{queue: make(chan revocation, maxRevocations)} }

// add never blocks.
func (r *revocations) add(v revocation) {
	select {
	case r.queue <- v:
	default:
		r.dropped.Add(1)
	}
}

// run tells control of one after another until ctx ends.
func (r *revocations) run(ctx context.Context, revoke func(context.Context, api.RevokeCertificates) error, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case v := <-r.queue:
			if !time.Now().Before(v.before) {
				continue
			}
			rctx, cancel := context.WithTimeout(ctx, revocationTimeout)
			err := revoke(rctx, api.RevokeCertificates{Serial: v.serial})
			cancel()
			if err != nil {
				r.dropped.Add(1)
				log.WarnContext(ctx, "certificate of a cut session not revoked", slog.Uint64("serial", v.serial), slog.Any("error", err))
				continue
			}
			r.done.Add(1)
		}
	}
}

// revokeCertificates is what run asks control.
func (g *Gateway) revokeCertificates(ctx context.Context, in api.RevokeCertificates) error {
	return g.cfg.Control.Do(ctx, http.MethodPost, api.PathGatewaySSHRevoke, in, nil)
}

// ended revokes the certificate of a session that was cut, if anybody might still take it.
func (x *sshSession) ended() {
	if x.cert == nil || x.s.Cause() == nil || len(x.g.view.Load().Self().SSHUserCAs) == 0 {
		return
	}
	if before := time.Unix(int64(x.cert.ValidBefore), 0); time.Now().Before(before) {
		x.g.revocations.add(revocation{x.cert.Serial, before})
	}
}
