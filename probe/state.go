package probe

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/crypto/curve25519"

	"weft/api"
	"weft/internal/kind"
	"weft/internal/readyfile"
)

// state is what a probe keeps between runs, in one 0600 file.
type state struct {
	PrivateKey    string          `json:"private_key"` // WireGuard, base64
	ControlURL    string          `json:"control_url"`
	CAFingerprint string          `json:"ca_fingerprint,omitempty"`
	CAPEM         string          `json:"ca_pem,omitempty"`
	DeviceID      string          `json:"device_id"`
	Token         string          `json:"token"`
	Revision      uint64          `json:"revision"`
	Agent         *api.AgentState `json:"agent,omitempty"`
}

func statePath(dir string) string { return filepath.Join(dir, "probe.json") }

// Enrolled reports whether dir holds a registration.
func Enrolled(dir string) bool {
	_, err := os.Stat(statePath(dir))
	return err == nil
}

// loadState returns nil when there is none yet.
func loadState(dir string) (*state, error) {
	b, err := os.ReadFile(statePath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the registration: %w", err)
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read the registration %s: %w", statePath(dir), err)
	}
	return &s, nil
}

func (s *state) save(dir string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the registration: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the state directory: %w", err)
	}
	if err := readyfile.WriteAtomic(statePath(dir), b, 0o600); err != nil {
		return fmt.Errorf("keep the registration: %w", err)
	}
	return nil
}

// enrol registers this probe as a device and keeps the registration at once: the enrolment string is good only once.
func enrol(ctx context.Context, cfg Config) (*state, error) {
	if cfg.Enrolment == "" {
		return nil, kind.New(kind.Invalid, "this probe is not registered and no enrolment string was given").
			WithHint("create one with: weft enrolment create --email ADDRESS, and name its file with --enrolment-file")
	}
	e, err := api.ParseEnrolmentString(cfg.Enrolment)
	if err != nil {
		return nil, err
	}
	key, public, err := newKey()
	if err != nil {
		return nil, err
	}
	c, err := api.NewClient(api.ClientConfig{BaseURL: e.ControlURL, CAFingerprint: e.CAFingerprint, UserAgent: "weft-probe/" + cfg.Version})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	resp, err := c.Enrol(ctx, api.EnrolRequest{
		Key: string(e.Key), DeviceName: "weft-probe", OS: runtime.GOOS, Version: cfg.Version, PublicKey: public,
	})
	if err != nil {
		return nil, fmt.Errorf("enrol with %s: %w", e.ControlURL, err)
	}
	s := &state{
		PrivateKey: key, ControlURL: e.ControlURL, CAFingerprint: e.CAFingerprint, CAPEM: resp.CAPEM,
		DeviceID: resp.DeviceID, Token: resp.Token,
	}
	return s, s.save(cfg.StateDir)
}

// newKey makes a WireGuard key pair (Curve25519, RFC 7748 section 5), both in base64.
func newKey() (private, public string, err error) {
	k := make([]byte, 32)
	if _, err := rand.Read(k); err != nil {
		return "", "", fmt.Errorf("read random bytes: %w", err)
	}
	k[0] &= 248
	k[31] = k[31]&127 | 64
	p, err := curve25519.X25519(k, curve25519.Basepoint)
	if err != nil {
		return "", "", fmt.Errorf("derive the public key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(k), base64.StdEncoding.EncodeToString(p), nil
}

// refresh fetches the state that the control plane has for this device now.
func (s *state) refresh(ctx context.Context) error {
	cfg := api.ClientConfig{BaseURL: s.ControlURL, Token: api.Secret(s.Token), UserAgent: "weft-probe"}
	if s.CAPEM != "" {
		cfg.Roots = x509.NewCertPool()
		if !cfg.Roots.AppendCertsFromPEM([]byte(s.CAPEM)) {
			return errors.New("the kept authority is no PEM certificate")
		}
	} else {
		cfg.CAFingerprint = s.CAFingerprint
	}
	c, err := api.NewClient(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		got  *api.AgentState
		last error
	)
	err = api.Watch(ctx, c, api.PathAgentSync, api.WatchConfig[api.AgentState]{
		OnState: func(revision uint64, a *api.AgentState) {
			if got == nil {
				s.Revision, got = revision, a
			}
			cancel()
		},
		OnError: func(err error, _ time.Duration) { last = err },
	})
	if got != nil {
		s.Agent = got
		return nil
	}
	if last != nil && ctx.Err() != nil {
		return last
	}
	return err
}
