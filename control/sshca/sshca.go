// Package sshca is the certificate authority of upstream SSH logins: it makes the authority's key and signs user
// certificates (OpenSSH PROTOCOL.certkeys) that are worth one login as one UNIX user for at most three minutes.
// Under a key of another authority it signs the host keys that gateways present to SSH clients.
// It keeps nothing, keys neither: where they are is the business of a KeySource. Whoever calls it decides first that the
// login is allowed. What must not be taken for good any more it renders as a key revocation list (OpenSSH PROTOCOL.krl).
package sshca

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
)

// The validity of a certificate: backdated for clocks that are behind, and short, because servers learn of a revocation
// late or not at all.
const (
	Backdate = time.Minute
	Lifetime = 3 * time.Minute
)

// Comment ends the authority's public key line.
const Comment = "open-ssh-ca@weft"

// The extensions and critical options of user certificates that are known here (PROTOCOL.certkeys, sections "Critical
// options" and "Extensions"). All others, permit-user-rc and no-touch-required among them, are never given.
const (
	PermitPTY             = access.ExtensionPTY
	PermitPortForwarding  = access.ExtensionPort
	PermitAgentForwarding = access.ExtensionAgent
	PermitX11Forwarding   = access.ExtensionX11

	sourceAddress = "source-address"
	forceCommand  = "force-command"
)

// Extensions are those that may be asked for.
func Extensions() []string {
	return []string{PermitPTY, PermitPortForwarding, PermitAgentForwarding, PermitX11Forwarding}
}

// Request asks for a certificate.
type Request struct {
	// Key is the ephemeral key of the login; it must be no certificate itself.
	Key ssh.PublicKey
	// Principal is the one UNIX user.
	Principal string
	// KeyID stands in the target's log.
	KeyID string
	// SourceAddress is the only address from which the target may take it; the zero Addr: any.
	SourceAddress netip.Addr
	// Extensions are what the login may do beside running commands, out of Extensions().
	Extensions []string
	// ForceCommand is run whatever the login asks for; "": what it asks for.
	ForceCommand string
}

func (r *Request) check() error {
	switch a := r.SourceAddress; {
	case r.Principal == "" || r.Key == nil:
		// A certificate without a principal would be good for every user (PROTOCOL.certkeys).
		return errors.New("no principal or no key")
	case a.IsValid() && (a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast()):
		return fmt.Errorf("source address %s cannot be that of a connection", a)
	}
	for _, e := range r.Extensions {
		if !slices.Contains(Extensions(), e) {
			return fmt.Errorf("extension %q is not given", e)
		}
	}
	return nil
}

// Sign makes the certificate at the time now.
func Sign(ca Signer, r Request, now time.Time) (*ssh.Certificate, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("sign SSH certificate: %w", err)
	}
	c := &ssh.Certificate{
		Key:             r.Key,
		CertType:        ssh.UserCert,
		KeyId:           r.KeyID,
		ValidPrincipals: []string{r.Principal},
		ValidAfter:      uint64(now.Add(-Backdate).Unix()),
		ValidBefore:     uint64(now.Add(Lifetime - Backdate).Unix()),
		Permissions:     ssh.Permissions{Extensions: map[string]string{}},
	}
	for _, e := range r.Extensions {
		c.Extensions[e] = ""
	}
	if r.SourceAddress.IsValid() || r.ForceCommand != "" {
		c.CriticalOptions = map[string]string{}
	}
	if r.SourceAddress.IsValid() {
		c.CriticalOptions[sourceAddress] = SourceOption(r.SourceAddress)
	}
	if r.ForceCommand != "" {
		c.CriticalOptions[forceCommand] = r.ForceCommand
	}
	if err := sign(ca, c, now); err != nil {
		return nil, fmt.Errorf("sign SSH certificate: %w", err)
	}
	return c, nil
}

// SourceOption is the value of the critical option source-address for one address: its CIDR form.
func SourceOption(a netip.Addr) string { return a.String() + "/" + strconv.Itoa(a.BitLen()) }

// checkedOptions are the critical options that sign itself may have put in: the checker refuses those that it is not told of.
var checkedOptions = []string{sourceAddress, forceCommand}

// sign gives c a serial number and signs it, then looks at what came out as its reader will: a key that lives elsewhere
// may fail in ways that only its signature shows.
func sign(ca Signer, c *ssh.Certificate, now time.Time) error {
	if ca == nil {
		return errors.New("no CA key")
	}
	if _, nested := c.Key.(*ssh.Certificate); nested {
		return errors.New("the key is a certificate itself")
	}
	if AlgorithmOf(ca.PublicKey()) == "" {
		return fmt.Errorf("a CA key of type %s is not used", ca.PublicKey().Type())
	}
	var serial [8]byte
	if _, err := rand.Read(serial[:]); err != nil {
		return fmt.Errorf("make serial: %w", err)
	}
	c.Serial = max(1, binary.BigEndian.Uint64(serial[:])>>1) // fits a signed integer too; 0 cannot be revoked
	if err := c.SignCert(rand.Reader, ca); err != nil {
		return err
	}
	checker := ssh.CertChecker{SupportedCriticalOptions: checkedOptions, Clock: func() time.Time { return now }}
	if err := checker.CheckCert(c.ValidPrincipals[0], c); err != nil {
		return fmt.Errorf("the CA key made a certificate that is not good: %w", err)
	}
	return nil
}

// Line is the authorized_keys form of a certificate.
func Line(c *ssh.Certificate) string {
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(c)), "\n")
}
