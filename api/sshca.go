package api

import "time"

// Paths of the authorities of SSH logins and of targets' host keys, below the control plane's base URL.
const (
	// PathSSHUserCAs: POST with an API token: NewSSHUserCA -> SSHUserCA; POST /{id}/activate -> SSHUserCA; DELETE /{id}[?force=true].
	PathSSHUserCAs = "/weft/v1/ssh_cas/user"
	// PathSSHProbe: POST with an API token: SSHProbeRequest -> SSHProbe.
	PathSSHProbe = "/weft/v1/ssh_cas/probe"
	// PathSSHTargetCAs: GET, POST with an API token: NewSSHTargetCA -> SSHTargetCA; DELETE /{id}.
	PathSSHTargetCAs = "/weft/v1/ssh_cas/target"
	// PathSSHKRL: GET, no token: the key revocation list, in the binary form of OpenSSH.
	PathSSHKRL = "/weft/v1/ssh_krl"
	// PathSSHRevoke: POST with an API token: RevokeCertificates -> RevokedCertificates.
	PathSSHRevoke = "/weft/v1/ssh_certificates/revoke"
	// PathGatewaySSHRevoke: the same with a gateway token, for the certificates of that gateway alone.
	PathGatewaySSHRevoke = "/weft/v1/gateway/ssh_certificates/revoke"
)

// UserCAState is where an authority of logins is in its life.
type UserCAState string

// The states, in the order of a rotation. Targets should trust the keys of all of them.
const (
	UserCANext    UserCAState = "next"    // published, so that targets can learn it; signs nothing yet
	UserCASigns   UserCAState = "signs"   // signs every login; there is one
	UserCATrusted UserCAState = "trusted" // signed before, and can be made to again until it is removed
)

// SSHUserCA is an authority of the logins at targets.
type SSHUserCA struct {
	ID          string      `json:"id"`
	PublicKey   string      `json:"public_key"` // authorized_keys form
	State       UserCAState `json:"state"`
	Algorithm   string      `json:"algorithm"`
	Fingerprint string      `json:"fingerprint"`
	CreatedAt   string      `json:"created_at"`
}

// NewSSHUserCA makes an authority of logins.
type NewSSHUserCA struct {
	Algorithm string `json:"algorithm,omitempty"` // "ecdsa-p256" (the default) or "ed25519"
	// Next makes it beside the one that signs, for a rotation; otherwise it is the account's first and signs at once.
	Next bool `json:"next,omitempty"`
}

// SSHProbeRequest asks for certificates by which a server can be asked whether it trusts the authorities of logins.
type SSHProbeRequest struct {
	Login string `json:"login"` // a UNIX user that exists on the server
}

// SSHProbe holds one certificate for each authority. Nobody can log in by them: the private half of the key that they
// certify was thrown away before they were signed.
type SSHProbe struct {
	Certificates []SSHProbeCertificate `json:"certificates"`
}

// SSHProbeCertificate is one of them.
type SSHProbeCertificate struct {
	CA          SSHUserCA `json:"ca"`
	Certificate string    `json:"certificate"` // authorized_keys form
	ValidBefore time.Time `json:"valid_before"`
}

// SSHTargetCA is an authority whose host certificates gateways take from targets, as by a line @cert-authority of known_hosts
// (sshd(8)).
type SSHTargetCA struct {
	ID          string `json:"id"`
	PublicKey   string `json:"public_key"` // authorized_keys form
	Fingerprint string `json:"fingerprint"`
	// Hostnames are the targets that it may vouch for: hostnames or addresses with the wildcards * and ?.
	Hostnames []string `json:"hostnames"`
	// VNET narrows that to the targets of one virtual network; "": all.
	VNET string `json:"virtual_network_id"`
	// Required refuses a target that it may vouch for and that shows no certificate of any such authority.
	Required  bool   `json:"required"`
	CreatedAt string `json:"created_at"`
}

// NewSSHTargetCA makes one.
type NewSSHTargetCA struct {
	PublicKey string   `json:"public_key"`
	Hostnames []string `json:"hostnames"`
	VNET      string   `json:"virtual_network_id,omitempty"`
	Required  bool     `json:"required,omitempty"`
}

// GatewayTargetCA is what a gateway hears of an SSHTargetCA.
type GatewayTargetCA struct {
	PublicKey string   `json:"public_key"`
	Hostnames []string `json:"hostnames"`
	VNET      string   `json:"vnet,omitempty"`
	Required  bool     `json:"required,omitempty"`
}

// RevokeCertificates names what goes on the key revocation list: exactly one of both.
type RevokeCertificates struct {
	SessionID string `json:"session_id,omitempty"`
	Serial    uint64 `json:"serial,omitempty"`
}

// RevokedCertificates says how many certificates in force were put on the list.
type RevokedCertificates struct {
	Revoked int `json:"revoked"`
}
