package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/internal/kind"
)

// The rhythm of host certificates.
const (
	hostCertMinWait = time.Second
	hostCertMaxWait = 5 * time.Minute
	// hostCertNoCA is how often a control plane that knows no host CA, an older one, is asked again.
	hostCertNoCA = time.Hour
	// hostCertSettle is what a rotation leaves the agents to hear of the new authority before its certificates are shown.
	hostCertSettle = 10 * time.Second
)

// hostCerts keeps certificates for the gateway's SSH host keys: it has control sign them, keeps them beside the keys,
// renews each when half of its time is over or another authority signs, and goes on with what it has while control
// does not answer. A certificate that has expired, or that no authority of the newest state signed, is not shown; the
// plain keys always are. Safe for concurrent use.
type hostCerts struct {
	keys []ssh.Signer
	// files hold the certificates, one for each key.
	files []string
	// sign has control sign a key.
	sign func(context.Context, ssh.PublicKey) (*ssh.Certificate, error)
	now  func() time.Time
	log  *slog.Logger
	// settle is hostCertSettle but in tests.
	settle time.Duration
	wake   chan struct{}

	failures atomic.Uint64

	mu sync.Mutex
	// The fields below are guarded by mu. certs has an entry for each key, nil for none.
	certs []*ssh.Certificate
	// authorities are those of the newest state, the one that signs first; empty: the state names none.
	authorities [][]byte
	// rotated is when the state last named another authority first.
	rotated time.Time
}

// loadHostCerts takes up the certificates of the last run. One that cannot be used is as good as none.
func loadHostCerts(dir string, keys []ssh.Signer, names []string, log *slog.Logger) *hostCerts {
	h := &hostCerts{
		keys: keys, now: time.Now, log: log, settle: hostCertSettle, wake: make(chan struct{}, 1), certs: make([]*ssh.Certificate, len(keys)),
	}
	for i, name := range names {
		h.files = append(h.files, filepath.Join(dir, name+"-cert.pub"))
		b, err := os.ReadFile(h.files[i])
		if err == nil {
			h.certs[i], err = parseHostCert(string(b), keys[i].PublicKey())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("saved host certificate not usable", slog.String("file", h.files[i]), slog.Any("error", err))
		}
	}
	return h
}

// parseHostCert reads a certificate, which must be for key and the gateways' name.
func parseHostCert(line string, key ssh.PublicKey) (*ssh.Certificate, error) {
	parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, fmt.Errorf("read host certificate: %w", err)
	}
	cert, ok := parsed.(*ssh.Certificate)
	switch {
	case !ok:
		return nil, errors.New("read host certificate: it is a key")
	case cert.CertType != ssh.HostCert || !slices.Equal(cert.ValidPrincipals, []string{api.SSHGatewayPrincipal}):
		return nil, errors.New("read host certificate: it is not for a gateway")
	case !bytes.Equal(cert.Key.Marshal(), key.Marshal()):
		return nil, errors.New("read host certificate: it is for another key")
	}
	return cert, nil
}

// trust tells which authorities the newest state names, in authorized_keys form.
func (h *hostCerts) trust(lines []string) {
	var authorities [][]byte
	for _, l := range lines {
		if k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l)); err == nil {
			authorities = append(authorities, k.Marshal())
		}
	}
	h.mu.Lock()
	if len(authorities) > 0 && (len(h.authorities) == 0 || !bytes.Equal(authorities[0], h.authorities[0])) {
		h.rotated = h.now()
	}
	h.authorities = authorities
	for i, c := range h.certs {
		// A certificate may be newer than this state, of an authority that the next one names: then it is asked for once more.
		if c != nil && len(authorities) > 0 && h.rankLocked(c) < 0 {
			h.certs[i] = nil
		}
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// signers are the certificates to be shown at this moment.
func (h *hostCerts) signers() []ssh.Signer {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []ssh.Signer
	for i, c := range h.certs {
		if c == nil || !inForce(c, now) {
			continue
		}
		if s, err := ssh.NewCertSigner(c, h.keys[i]); err == nil { // it is this key's: parseHostCert has seen to that
			out = append(out, s)
		}
	}
	return out
}

func inForce(c *ssh.Certificate, now time.Time) bool {
	at := uint64(max(0, now.Unix()))
	return at >= c.ValidAfter && at < c.ValidBefore
}

// rankLocked is the place among the authorities of the one that signed c, negative for none of them.
func (h *hostCerts) rankLocked(c *ssh.Certificate) int {
	by := c.SignatureKey.Marshal()
	return slices.IndexFunc(h.authorities, func(a []byte) bool { return bytes.Equal(a, by) })
}

// due is when the certificate of a key is to be asked for; a time that is past means now.
func (h *hostCerts) due(i int) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.certs[i]
	if c == nil || !inForce(c, h.now()) {
		return time.Time{}
	}
	half := time.Unix(int64(c.ValidAfter/2+c.ValidBefore/2), 0)
	if h.rankLocked(c) > 0 {
		if settled := h.rotated.Add(h.settle); settled.Before(half) {
			return settled
		}
	}
	return half
}

// run keeps the certificates until ctx ends.
func (h *hostCerts) run(ctx context.Context) error {
	pause := hostCertMinWait
	for {
		wait, err := h.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			pause = hostCertMinWait
		case kind.Is(err, kind.NotFound):
			wait = hostCertNoCA
		default:
			wait, pause = pause, min(2*pause, hostCertMaxWait)
		}
		if err != nil {
			h.failures.Add(1)
			h.log.WarnContext(ctx, "host certificate not renewed; what there is stays in use", slog.Any("error", err), slog.Duration("retry_in", wait))
		}
		wake := h.wake
		if err != nil && wait < hostCertNoCA {
			wake = nil // another state is no reason to ask a control plane sooner that refuses or does not answer
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// renew asks for what is due and returns when to look again.
func (h *hostCerts) renew(ctx context.Context) (wait time.Duration, err error) {
	var next time.Time
	for i, key := range h.keys {
		if at := h.due(i); at.After(h.now()) {
			if next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		cert, err := h.sign(ctx, key.PublicKey())
		if err != nil {
			return 0, err
		}
		if !inForce(cert, h.now()) {
			return 0, fmt.Errorf("the host certificate is valid from %s to %s; check the clocks of gateway and control",
				time.Unix(int64(cert.ValidAfter), 0).UTC(), time.Unix(int64(cert.ValidBefore), 0).UTC())
		}
		h.mu.Lock()
		h.certs[i] = cert
		h.mu.Unlock()
		h.log.InfoContext(ctx, "host certificate renewed", slog.String("key", key.PublicKey().Type()), slog.Uint64("serial", cert.Serial),
			slog.Time("valid_before", time.Unix(int64(cert.ValidBefore), 0).UTC()))
		if err := writeFile(h.files[i], ssh.MarshalAuthorizedKey(cert)); err != nil {
			h.log.ErrorContext(ctx, "host certificate not saved", slog.Any("error", err))
		}
		if at := h.due(i); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	// Not sooner than in a second: a control plane that does not sign by the authority that it names first is not asked
	// without a pause.
	return max(next.Sub(h.now()), hostCertMinWait), nil
}

// signHostKey has control sign a host key.
func (g *Gateway) signHostKey(ctx context.Context, key ssh.PublicKey) (*ssh.Certificate, error) {
	var out api.HostCertificate
	err := g.cfg.Control.Do(ctx, http.MethodPost, api.PathGatewayHostCertificate,
		api.HostCertificateRequest{PublicKey: string(ssh.MarshalAuthorizedKey(key))}, &out)
	if err != nil {
		return nil, fmt.Errorf("ask control for a host certificate: %w", err)
	}
	return parseHostCert(out.Certificate, key)
}
