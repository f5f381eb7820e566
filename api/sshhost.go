package api

import "time"

// Paths of host identity, below the control plane's base URL.
const (
	PathGatewayHostCertificate = "/weft/v1/gateway/ssh_host_certificates" // POST with a gateway token: HostCertificateRequest -> HostCertificate
	PathSSHCAs                 = "/weft/v1/ssh_cas"                       // GET with an API token: -> SSHCAs
	PathSSHHostCAs             = "/weft/v1/ssh_cas/host"                  // POST with an API token: -> SSHHostCA, the one that signs from now on; DELETE /{id}
)

// SSHGatewayPrincipal is the one principal of every gateway's host certificate, whatever the target: the client of
// OpenSSH 9.2 takes no pattern in a host certificate, so what is certified is "a gateway of this account", and clients
// are told to look for that name (HostKeyAlias).
const SSHGatewayPrincipal = "weft-gateway"

// HostCertificateRequest asks for a host certificate for one of the gateway's own SSH host keys.
type HostCertificateRequest struct {
	PublicKey string `json:"public_key"` // authorized_keys form
}

// HostCertificate is the answer.
type HostCertificate struct {
	Certificate string    `json:"certificate"` // authorized_keys form
	Serial      uint64    `json:"serial"`
	KeyID       string    `json:"key_id"`
	CAID        string    `json:"ca_id"`
	ValidBefore time.Time `json:"valid_before"`
}

// SSHHostCA is an authority that signs, or signed, the host keys of gateways.
type SSHHostCA struct {
	ID          string `json:"id"`
	PublicKey   string `json:"public_key"` // authorized_keys form
	Fingerprint string `json:"fingerprint"`
	CreatedAt   string `json:"created_at"`
	// Signs is set for the newest; the older ones are only trusted, until they are removed.
	Signs bool `json:"signs"`
}

// SSHCAs are the account's SSH authorities. Private keys are never shown.
type SSHCAs struct {
	// User are those of the logins at targets (TrustedUserCAKeys): the one that signs, the next, then those that did.
	User []SSHUserCA `json:"user"`
	// Host sign the gateways' host keys, the newest first; agents trust all of them.
	Host []SSHHostCA `json:"host"`
}
