package gateway

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
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
	// Refused is the key that was shown instead last, for an administrator to accept; nil: none since the pin.
	Refused *hostPin `json:"refused,omitempty"`
}

var errTooManyPins = errors.New("the gateway remembers as many host keys as it may")

// pins remembers host keys by VNET and address. An administrator may change the file meanwhile (AcceptHostKey,
// ForgetHostKey): it is read again when it is another than the one that was read or written last. Safe for concurrent use.
type pins struct {
	dir string
	max int

	mu   sync.Mutex
	keys map[string]hostPin
	file os.FileInfo // nil: there is none
}

func loadPins(dir string, limit int) (*pins, error) {
	p := &pins{dir: dir, max: limit, keys: make(map[string]hostPin)}
	return p, p.refreshLocked()
}

// refreshLocked reads the file if it was replaced. One that is gone changes nothing: it must not make every key a first one.
func (p *pins) refreshLocked() error {
	path := filepath.Join(p.dir, filePins)
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && p.file != nil && os.SameFile(fi, p.file) && fi.ModTime().Equal(p.file.ModTime()) && fi.Size() == p.file.Size():
		return nil
	}
	var m map[string]hostPin
	if err == nil {
		m, err = load[map[string]hostPin](p.dir, filePins)
	}
	if err != nil {
		// A file that cannot be read must not make every key a first one.
		return fmt.Errorf("host key pins (move %s away and start the gateway to begin anew): %w", path, err)
	}
	if m == nil {
		m = make(map[string]hostPin)
	}
	p.keys, p.file = m, fi
	return nil
}

// saveLocked writes the file.
func (p *pins) saveLocked() error {
	if err := save(p.dir, filePins, p.keys); err != nil { // small, rare, and must be in order
		return err
	}
	fi, err := os.Stat(filepath.Join(p.dir, filePins))
	p.file = fi
	return err
}

func pinName(v vnet.ID, dst netip.AddrPort) string { return string(v) + "|" + dst.String() }

// check compares key with the pinned one. On first use it is pinned, and on disk, before it returns; known is false then.
func (p *pins) check(v vnet.ID, dst netip.AddrPort, key ssh.PublicKey) (known bool, err error) {
	name := pinName(v, dst)
	shown := hostPin{
		Type: key.Type(), Key: base64.StdEncoding.EncodeToString(key.Marshal()),
		Fingerprint: ssh.FingerprintSHA256(key), Since: time.Now().UTC(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refreshLocked(); err != nil {
		return false, err
	}
	if have, ok := p.keys[name]; ok {
		if have.Key != shown.Key {
			if have.Refused == nil || have.Refused.Key != shown.Key {
				have.Refused = &shown
				p.keys[name] = have
				if err := p.saveLocked(); err != nil {
					return true, fmt.Errorf("note refused host key: %w", err)
				}
			}
			return true, kind.New(kind.Denied, "the host key of the target has changed from %s to %s; somebody may be in between",
				have.Fingerprint, shown.Fingerprint).WithHint("ask your administrator whether the change is meant")
		}
		return true, nil
	}
	if len(p.keys) >= p.max {
		return false, errTooManyPins
	}
	p.keys[name] = shown
	if err := p.saveLocked(); err != nil {
		delete(p.keys, name)
		return false, fmt.Errorf("pin host key: %w", err)
	}
	return false, nil
}
