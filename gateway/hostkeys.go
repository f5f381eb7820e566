package gateway

import (
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft/internal/kind"
	"weft/vnet"
)

// HostKey is the pinned host key of a target, as administrators see it.
type HostKey struct {
	VNET        vnet.ID        `json:"vnet_id"`
	Destination netip.AddrPort `json:"destination"`
	Type        string         `json:"type"`
	Fingerprint string         `json:"fingerprint"`
	Since       time.Time      `json:"since"`
	// Authority vouches for the key by a host certificate; "": nobody does, it was pinned at first use or accepted.
	Authority string `json:"authority,omitempty"`
	// Refused is the key that the target showed instead last; nil: none since the pin.
	Refused *RefusedHostKey `json:"refused,omitempty"`
}

// RefusedHostKey is a key that came in place of the pinned one.
type RefusedHostKey struct {
	Type        string    `json:"type"`
	Fingerprint string    `json:"fingerprint"`
	At          time.Time `json:"at"` // the first time
}

// HostKeys lists the pins in a gateway's state directory, by network and address. The gateway may be running.
func HostKeys(stateDir string) ([]HostKey, error) {
	p, err := loadPins(stateDir, 0)
	if err != nil {
		return nil, err
	}
	out := make([]HostKey, 0, len(p.keys))
	for name, pin := range p.keys {
		v, dst, _ := strings.Cut(name, "|")
		at, err := netip.ParseAddrPort(dst)
		if err != nil {
			continue // not one that a gateway made
		}
		k := HostKey{VNET: vnet.ID(v), Destination: at, Type: pin.Type, Fingerprint: pin.Fingerprint, Authority: pin.Authority, Since: pin.Since}
		if r := pin.Refused; r != nil {
			k.Refused = &RefusedHostKey{Type: r.Type, Fingerprint: r.Fingerprint, At: r.Since}
		}
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b HostKey) int {
		if c := strings.Compare(string(a.VNET), string(b.VNET)); c != 0 {
			return c
		}
		return a.Destination.Compare(b.Destination)
	})
	return out, nil
}

// AcceptHostKey pins the key that was refused last at a destination, if its fingerprint is the one that the administrator
// has checked. A gateway that runs obeys from the next login on.
func AcceptHostKey(stateDir string, v vnet.ID, dst netip.AddrPort, fingerprint string) error {
	return changePins(stateDir, v, dst, func(p *pins, name string) error {
		pin := p.keys[name]
		if pin.Refused == nil {
			return kind.New(kind.Conflict, "no other key than the pinned one was shown at %s", dst).WithHint("see: weft host-key list")
		}
		if pin.Refused.Fingerprint != fingerprint {
			return kind.New(kind.Conflict, "the key that was refused at %s is %s", dst, pin.Refused.Fingerprint).
				WithHint("compare it with the target's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
		}
		accepted := *pin.Refused
		accepted.Since, accepted.Refused = time.Now().UTC(), nil
		p.keys[name] = accepted
		return nil
	})
}

// ForgetHostKey takes a pin away: the next key that the destination shows is pinned. A gateway that runs obeys from the
// next login on.
func ForgetHostKey(stateDir string, v vnet.ID, dst netip.AddrPort) error {
	return changePins(stateDir, v, dst, func(p *pins, name string) error {
		delete(p.keys, name)
		return nil
	})
}

// ForgetHostAuthority takes the pins away of all targets that proved themselves by a certificate of an authority (its
// fingerprint) last, and returns how many: what they show next is pinned, or certified by another.
func ForgetHostAuthority(stateDir, authority string) (int, error) {
	p, err := loadPins(stateDir, 0)
	if err != nil {
		return 0, err
	}
	had := len(p.keys)
	maps.DeleteFunc(p.keys, func(_ string, pin hostPin) bool { return authority != "" && pin.Authority == authority })
	if len(p.keys) == had {
		return 0, kind.New(kind.NotFound, "no target showed a certificate of the authority %s", authority).WithHint("see: weft host-key list")
	}
	was := p.file
	if err := p.saveLocked(); err != nil {
		return 0, err
	}
	return had - len(p.keys), giveTo(filepath.Join(stateDir, filePins), was)
}

// changePins changes one pin in the file. A gateway that pins another target's key in the same moment may have to do so
// again at that target's next login.
func changePins(stateDir string, v vnet.ID, dst netip.AddrPort, change func(p *pins, name string) error) error {
	p, err := loadPins(stateDir, 0)
	if err != nil {
		return err
	}
	name := pinName(v, dst)
	if _, ok := p.keys[name]; !ok {
		return kind.New(kind.NotFound, "no host key is pinned for %s in the virtual network %s", dst, v).WithHint("see: weft host-key list")
	}
	if err := change(p, name); err != nil {
		return err
	}
	was := p.file
	if err := p.saveLocked(); err != nil {
		return err
	}
	return giveTo(filepath.Join(stateDir, filePins), was)
}
