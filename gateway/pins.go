package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/internal/kind"
	"weft/vnet"
)

// hostPin is the host key that a target showed first.
type hostPin struct {
	Type        string    `json:"type"`
	Key         string    `json:"key"` // base64 of the wire form
	Fingerprint string    `json:"fingerprint"`
	Since       time.Time `json:"since"`
}

var errTooManyPins = errors.New("the gateway remembers as many host keys as it may")

// pins remembers host keys by VNET and address. Safe for concurrent use.
type pins struct {
	dir string
	max int

	mu   sync.Mutex
	keys map[string]hostPin
}

func loadPins(dir string, limit int) (*pins, error) {
	m, err := load[map[string]hostPin](dir, filePins)
	if err != nil {
		// A file that cannot be read must not make every key a first one.
		return nil, fmt.Errorf("host key pins (move %s away to start anew): %w", filepath.Join(dir, filePins), err)
	}
	if m == nil {
		m = make(map[string]hostPin)
	}
	return &pins{dir: dir, max: limit, keys: m}, nil
}

// check compares key with the pinned one. On first use it is pinned, and on disk, before it returns; known is false then.
func (p *pins) check(v vnet.ID, dst netip.AddrPort, key ssh.PublicKey) (known bool, err error) {
	name := string(v) + "|" + dst.String()
	shown := hostPin{
		Type: key.Type(), Key: base64.StdEncoding.EncodeToString(key.Marshal()),
		Fingerprint: ssh.FingerprintSHA256(key), Since: time.Now().UTC(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.keys[name]; ok {
		if have.Key != shown.Key {
			return true, kind.New(kind.Denied, "the host key of the target has changed from %s to %s; somebody may be in between",
				have.Fingerprint, shown.Fingerprint).WithHint("ask your administrator whether the change is meant")
		}
		return true, nil
	}
	if len(p.keys) >= p.max {
		return false, errTooManyPins
	}
	p.keys[name] = shown
	if err := save(p.dir, filePins, p.keys); err != nil { // small, rare, and must be in order
		delete(p.keys, name)
		return false, fmt.Errorf("pin host key: %w", err)
	}
	return false, nil
}
