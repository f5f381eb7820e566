package sshca

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"
)

// The validity of a host certificate: backdated further than a user certificate because it meets the clocks of users'
// machines; long enough that a gateway which renews at half of it has hours to find control again, short enough that a
// stolen host key is worth a day.
const (
	HostBackdate = time.Hour
	HostLifetime = 25 * time.Hour
)

// HostComment ends the public key line of an authority of host keys.
const HostComment = "weft-host-ca"

// HostRequest asks for a host certificate.
type HostRequest struct {
	// Key is the host key; it must be no certificate itself.
	Key ssh.PublicKey
	// Principal is the one name that clients look for.
	Principal string
	// KeyID stands in clients' debug output.
	KeyID string
}

// SignHost makes the host certificate at the time now.
func SignHost(ca Signer, r HostRequest, now time.Time) (*ssh.Certificate, error) {
	if r.Principal == "" || r.Key == nil {
		// A certificate without a principal would be good for every host (PROTOCOL.certkeys).
		return nil, errors.New("sign SSH host certificate: no principal or no key")
	}
	c := &ssh.Certificate{
		Key:             r.Key,
		CertType:        ssh.HostCert,
		KeyId:           r.KeyID,
		ValidPrincipals: []string{r.Principal},
		ValidAfter:      uint64(now.Add(-HostBackdate).Unix()),
		ValidBefore:     uint64(now.Add(HostLifetime - HostBackdate).Unix()),
	}
	if err := sign(ca, c, now); err != nil {
		return nil, fmt.Errorf("sign SSH host certificate: %w", err)
	}
	return c, nil
}
