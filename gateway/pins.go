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

	"weft/vnet"
)

// hostPin is the host key that a target showed first.
type hostPin struct {
	Type        string    `json:"type"`
	Key         string    `json:"key"` // base64 of the wire form
	Fingerprint string    `json:"fingerprint"`
	Since       time.Time `json:"since"`
	// Authority is the fingerprint of the authority by whose certificate the target showed the key; "": it was shown plainly.
	// With one, the target never goes back to a plain key by itself.
	Authority string `json:"authority,omitempty"`
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

func pinOf(proof hostProof) hostPin {
	return hostPin{
		Type: proof.key.Type(), Key: base64.StdEncoding.EncodeToString(proof.key.Marshal()),
		Fingerprint: ssh.FingerprintSHA256(proof.key), Authority: proof.authority, Since: time.Now().UTC(),
	}
}

// judge compares what was shown with the pin: known says that it is the same.
func (have *hostPin) judge(shown *hostPin) (known bool, err error) {
	switch {
	case shown.Authority != "":
		// The authority is trusted more than what was pinned, be it by another authority.
		return have.Key == shown.Key && have.Authority == shown.Authority, nil
	case have.Authority != "":
		return true, alarm(hostCertMissing, "ask your administrator whether the change is meant",
			"the target showed a host certificate of %s before, and now the key %s without one that is trusted; somebody may be in between",
			have.Authority, shown.Fingerprint)
	case have.Key != shown.Key:
		return true, alarm(hostKeyChanged, "ask your administrator whether the change is meant",
			"the host key of the target has changed from %s to %s; somebody may be in between", have.Fingerprint, shown.Fingerprint)
	}
	return true, nil
}

// check compares what a target has proved with its pin. What is shown first, or by a certificate, is pinned, and on disk, before it
// returns; known is false then.
func (p *pins) check(v vnet.ID, dst netip.AddrPort, proof hostProof) (known bool, err error) {
	name, shown := pinName(v, dst), pinOf(proof)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refreshLocked(); err != nil {
		return false, err
	}
	have, pinned := p.keys[name]
	if pinned {
		known, err := have.judge(&shown)
		if err != nil && (have.Refused == nil || have.Refused.Key != shown.Key) {
			have.Refused = &shown
			p.keys[name] = have
			if serr := p.saveLocked(); serr != nil {
				return true, fmt.Errorf("note refused host key: %w", serr)
			}
		}
		if known || err != nil {
			return true, err
		}
	} else if len(p.keys) >= p.max {
		return false, errTooManyPins
	}
	p.keys[name] = shown
	if err := p.saveLocked(); err != nil {
		if delete(p.keys, name); pinned {
			p.keys[name] = have
		}
		return false, fmt.Errorf("pin host key: %w", err)
	}
	return false, nil
}

// compare is check without consequences; pinned says that there is something to compare with and that it is the same.
func (p *pins) compare(v vnet.ID, dst netip.AddrPort, proof hostProof) (pinned bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refreshLocked(); err != nil {
		return false, err
	}
	have, ok := p.keys[pinName(v, dst)]
	if !ok {
		return false, nil
	}
	shown := pinOf(proof)
	return have.judge(&shown)
}
