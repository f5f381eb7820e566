package localapi

// PathSSHHost says what an OpenSSH client needs to know of a name.
const PathSSHHost = "/v1/ssh-host" // GET ?name=&port= -> SSHHost

// SSHGatewayAlias is the name by which gateways are known to SSH clients, and the principal of their host certificates.
const SSHGatewayAlias = "weft-gateway"

// SSHHost says whether a name is a target's, and by what its host key is known.
type SSHHost struct {
	SchemaVersion int `json:"schema_version"`
	// Known means that the name leads to a target of yours, or to several, or that it is an address at which the gateway
	// speaks SSH for a target of yours; an address has no target_id.
	Known bool `json:"known"`
	// Ambiguous means several: a connection is refused with the list of them.
	Ambiguous bool   `json:"ambiguous"`
	TargetID  string `json:"target_id"` // empty when unknown or ambiguous
	Hostname  string `json:"hostname"`
	VNETID    string `json:"vnet_id"`
	VNETName  string `json:"vnet_name"`
	// Qualified means that the name itself names the virtual network, so that it cannot become another machine's.
	Qualified bool `json:"qualified"`
	// Terminated means that the gateway speaks SSH at this port itself: the host key is the gateway's.
	Terminated bool `json:"terminated"`
	// CertAuthorities are the keys that sign the gateways' host keys, in authorized_keys form.
	CertAuthorities []string `json:"cert_authorities"`
	// VNETs are the names of the virtual networks, sorted.
	VNETs []string `json:"vnets"`
}
