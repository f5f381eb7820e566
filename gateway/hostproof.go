package gateway

import (
	"bytes"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/gateway/sessions"
	"weft/internal/kind"
)

// Reasons of an alarm about a target's identity.
const (
	hostKeyChanged  = "host_key_changed"         // another plain key than the pinned one
	hostCertInvalid = "host_certificate_invalid" // of a trusted authority, and not good for this target or now
	hostCertMissing = "host_certificate_missing" // none where one is required or was shown before
)

// hostAlarm is a refusal of a target's identity.
type hostAlarm struct {
	reason string
	err    *kind.Error
}

func (a *hostAlarm) Error() string { return a.err.Error() }
func (a *hostAlarm) Unwrap() error { return a.err }

func alarm(reason, hint, format string, args ...any) *hostAlarm {
	return &hostAlarm{reason, kind.New(kind.Denied, format, args...).WithHint("%s", hint)}
}

// hostProof is what a target has proved that it is: the holder of a key, and by whose word it is this target.
type hostProof struct {
	key ssh.PublicKey // no certificate
	// authority is the fingerprint of the trusted authority that vouches for it; "": nobody does.
	authority string
}

// targetCAs are the authorities that may vouch for the target of a session.
func targetCAs(all []api.GatewayTargetCA, s *sessions.Session) []api.GatewayTargetCA {
	return slices.DeleteFunc(slices.Clone(all), func(c api.GatewayTargetCA) bool {
		return c.VNET != "" && c.VNET != string(s.VNET) || !slices.ContainsFunc(c.Hostnames, func(p string) bool {
			return hostMatches(p, s.Hostname) || hostMatches(p, s.Destination.Addr().String())
		})
	})
}

// hostMatches compares with a pattern as known_hosts does (ssh_config(5), PATTERNS); what path.Match knows beyond that no pattern
// contains.
func hostMatches(pattern, name string) bool {
	ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(name))
	return err == nil && ok && name != ""
}

// proveHost judges what the target of s showed in its key exchange. A certificate of a trusted authority must be good: it is never
// taken for the plain key that is in it. One of anybody else is that key, as for OpenSSH's client.
func proveHost(all []api.GatewayTargetCA, s *sessions.Session, key ssh.PublicKey, now time.Time) (hostProof, error) {
	cas := targetCAs(all, s)
	cert, certified := key.(*ssh.Certificate)
	if certified {
		if slices.ContainsFunc(cas, func(c api.GatewayTargetCA) bool { return isKey(c.PublicKey, cert.SignatureKey) }) {
			if err := checkHostCert(cert, s.Hostname, s.Destination.Addr(), now); err != nil {
				return hostProof{}, alarm(hostCertInvalid, "ask your administrator to renew it on the target",
					"the target's host certificate (%s, key ID %q) is not good: %v", ssh.FingerprintSHA256(cert.Key), clip(cert.KeyId), err)
			}
			return hostProof{cert.Key, ssh.FingerprintSHA256(cert.SignatureKey)}, nil
		}
		key = cert.Key
	}
	if slices.ContainsFunc(cas, func(c api.GatewayTargetCA) bool { return c.Required }) {
		return hostProof{}, alarm(hostCertMissing, "ask your administrator to have its host key signed",
			"the target must show a host certificate of a trusted authority, and showed the key %s", ssh.FingerprintSHA256(key))
	}
	return hostProof{key: key}, nil
}

func isKey(line string, key ssh.PublicKey) bool {
	k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	return err == nil && key != nil && bytes.Equal(k.Marshal(), key.Marshal())
}

// checkHostCert holds a host certificate to PROTOCOL.certkeys and to this one target. One without principals, which would be
// good for every host, is good for none here.
func checkHostCert(cert *ssh.Certificate, hostname string, addr netip.Addr, now time.Time) error {
	if cert.CertType != ssh.HostCert {
		return fmt.Errorf("it is of type %d, not that of a host", cert.CertType)
	}
	if cert.Signature == nil || cert.Signature.Format == ssh.KeyAlgoRSA {
		return fmt.Errorf("it is signed with SHA-1")
	}
	i := slices.IndexFunc(cert.ValidPrincipals, func(p string) bool {
		if a, err := netip.ParseAddr(p); err == nil {
			return a.Unmap() == addr.Unmap()
		}
		return hostname != "" && strings.EqualFold(p, hostname)
	})
	if i < 0 {
		return fmt.Errorf("it is for %s, not for %s or %s", clip(strings.Join(cert.ValidPrincipals, ", ")), hostname, addr)
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return now }}
	return checker.CheckCert(cert.ValidPrincipals[i], cert)
}

// clip shortens what a target says for messages and records.
func clip(s string) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s), "?")
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}
