package control

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/control/sshca"
	"weft/control/store"
	"weft/internal/kind"
)

// Limits of the key revocation list.
const (
	maxRevokedCertificates = 100_000
	maxRetiredUserCAs      = 256
	// krlAge is how old a list may be that is served: whoever asks more often has the same one.
	krlAge = time.Second
)

// krlMemo is the list as it was served last. Its lock is held while a new one is read, so that one read serves all who wait.
type krlMemo struct {
	mu sync.Mutex
	// The fields below are guarded by mu.
	at   time.Time
	body []byte
	etag string
}

// serveKRL answers with the key revocation list. Whoever reaches the control plane may have it: it holds public keys of authorities
// that are gone and random serial numbers, and every server of the account must get it without a secret of its own.
func (c *Control) serveKRL(ctx context.Context, q *call, w http.ResponseWriter) error {
	body, etag, err := c.currentKRL(ctx)
	if err != nil {
		q.streams = false // nothing was written: an answer like any other
		return err
	}
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Cache-Control", "no-cache")
	if q.r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if _, err := w.Write(body); err != nil {
		c.log.DebugContext(ctx, "write key revocation list", "error", err)
	}
	return nil
}

func (c *Control) currentKRL(ctx context.Context) (body []byte, etag string, err error) {
	m := &c.krl
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.body != nil && now.Sub(m.at) < krlAge {
		return m.body, m.etag, nil
	}
	body, etag, err = c.readKRL(context.WithoutCancel(ctx)) // for all who wait, whoever leaves
	if err != nil {
		return nil, "", err
	}
	m.at, m.body, m.etag = now, body, etag
	return body, etag, nil
}

func (c *Control) readKRL(ctx context.Context) (body []byte, etag string, err error) {
	now := c.cfg.Now()
	var revoked []store.RevokedCertificate
	var retired []string
	var version uint64
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		if version, err = r.Revision(ctx); err != nil {
			return err
		}
		if revoked, err = r.RevokedCertificates(ctx, store.Stamp(now), maxRevokedCertificates); err != nil {
			return err
		}
		retired, err = r.RetiredUserCAs(ctx, maxRetiredUserCAs)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	l, err := makeKRL(revoked, retired)
	if err != nil {
		return nil, "", err
	}
	content, err := l.Marshal()
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(content) // of what it revokes, not of when that was looked up
	l.Version, l.Generated = version, now
	body, err = l.Marshal()
	return body, `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`, err
}

func makeKRL(revoked []store.RevokedCertificate, retired []string) (*sshca.KRL, error) {
	l := &sshca.KRL{Comment: "weft"}
	place := map[string]int{}
	for _, r := range revoked {
		i, ok := place[r.CA]
		if !ok {
			key, err := caKey(r.CA)
			if err != nil {
				return nil, err
			}
			i = len(l.Serials)
			place[r.CA] = i
			l.Serials = append(l.Serials, sshca.RevokedSerials{CA: key})
		}
		l.Serials[i].Serials = append(l.Serials[i].Serials, r.Serial)
	}
	for _, line := range retired {
		key, err := caKey(line)
		if err != nil {
			return nil, err
		}
		l.Keys = append(l.Keys, key)
	}
	return l, nil
}

func caKey(line string) (ssh.PublicKey, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, kind.New(kind.Internal, "an SSH authority on record is damaged").WithCause(err)
	}
	return key, nil
}

// revokeCertificates puts certificates on the list; a gateway only those that it asked for itself.
func (c *Control) revokeCertificates(ctx context.Context, q *call) (answer, error) {
	var in api.RevokeCertificates
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	if (in.SessionID == "") == (in.Serial == 0) {
		return answer{}, kind.New(kind.Invalid, "name the certificates by a session_id or by a serial, not both")
	}
	var out api.RevokedCertificates
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		out.Revoked, err = tx.RevokeCertificates(ctx, in.Serial, in.SessionID, q.gateway.ID)
		return err
	})
	if err == nil {
		c.krl.forget()
	}
	return answer{result: out}, err
}

// forget has the next who asks read anew.
func (m *krlMemo) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.body = nil
}
