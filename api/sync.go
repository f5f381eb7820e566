package api

import (
	"encoding/json"
	"net/netip"
	"time"

	"weft/access"
	"weft/targets"
	"weft/vnet"
)

// A sync stream is newline-delimited JSON: first a snapshot (or, when the request's
// ?since=REVISION is still known, a delta from it), then a delta per change and a
// heartbeat every 10 s. A receiver that hears nothing for 30 s reconnects.

// The types of a sync event.
const (
	EventSnapshot  = "snapshot"
	EventDelta     = "delta"
	EventHeartbeat = "heartbeat"
)

// Event is one line of a sync stream.
type Event struct {
	Type     string `json:"type"`
	Revision uint64 `json:"revision"`
	// Since is the revision that a delta applies to; a receiver that is elsewhere reconnects without ?since.
	Since uint64 `json:"since,omitempty"`
	// State is the whole state of a snapshot: AgentState, GatewayState or ConnectorState.
	State json.RawMessage `json:"state,omitempty"`
	// Put and Remove are a delta: collection -> key -> new value, collection -> keys. The collections are the
	// JSON names of the state's map fields; "self" with key "" replaces a state's Self field.
	Put    map[string]map[string]json.RawMessage `json:"put,omitempty"`
	Remove map[string][]string                   `json:"remove,omitempty"`
}

// AgentState is what a device gets.
type AgentState struct {
	Self     AgentSyncSelf           `json:"self"`
	Gateways map[string]AgentGateway `json:"gateways"`
	Networks map[string]AgentNetwork `json:"networks"`
	Entries  map[string]AgentEntry   `json:"entries"` // key: target ID + "/" + port + "/" + protocol
}

// AgentSyncSelf is the device's own part.
type AgentSyncSelf struct {
	DeviceID string `json:"device_id"`
	Email    string `json:"email"`
	Name     string `json:"name"`
	// PublicKey is the WireGuard key that control has of the device: after a change that was cut short it says which of
	// two keys is in force. Empty: control does not say.
	PublicKey string       `json:"public_key,omitempty"`
	BlockV4   netip.Prefix `json:"block_v4"`
	BlockV6   netip.Prefix `json:"block_v6"`
	// StaleAfterSeconds: a state older than this opens no new flows at the gateway (informative for the agent).
	StaleAfterSeconds int `json:"stale_after_seconds"`
	// SSHHostCAs sign the host keys that the gateways present to SSH clients, in authorized_keys form; empty: the keys are
	// not signed. The certificates' principal is "weft-gateway": clients of OpenSSH before wildcard principals take no pattern.
	SSHHostCAs []string `json:"ssh_host_cas,omitempty"`
	// Posture is what the device is asked to look at and to report; see PathAgentPosture.
	Posture []PostureCheck `json:"posture,omitempty"`
}

// AgentGateway is a gateway the device may use.
type AgentGateway struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	PublicKey string   `json:"public_key"`
	Endpoints []string `json:"endpoints"` // host:port, UDP
	// ProbeV4 and ProbeV6 are the tunnel addresses at which it answers liveness probes (UDP port ProbePort).
	ProbeV4   netip.Addr `json:"probe_v4"`
	ProbeV6   netip.Addr `json:"probe_v6"`
	ProbePort uint16     `json:"probe_port"`
	// Epoch changes whenever the gateway restarted (lost its WireGuard sessions): the agent forces a handshake.
	Epoch string `json:"epoch"`
	// CheckEndpoints are further UDP endpoints of the gateway's host, of QUIC (RFC 9000). They are not for the agent's traffic: an
	// answer there (version negotiation) tells diag whether UDP to that host is blocked altogether.
	CheckEndpoints []string `json:"check_endpoints,omitempty"`
}

// AgentNetwork is a VNET that the device may use and its slot.
type AgentNetwork struct {
	ID      vnet.ID   `json:"id"`
	Name    string    `json:"name"`
	Comment string    `json:"comment"`
	Default bool      `json:"default"`
	Slot    vnet.Slot `json:"slot"`
}

// AgentEntry is a line of the target list.
type AgentEntry struct {
	TargetID  targets.ID        `json:"target_id"`
	Hostname  string            `json:"hostname"`
	Tags      map[string]string `json:"tags,omitempty"`
	IPv4      *AgentAddress     `json:"ipv4,omitempty"`
	IPv6      *AgentAddress     `json:"ipv6,omitempty"`
	Protocol  targets.Protocol  `json:"protocol"`
	Port      uint16            `json:"port"`
	Usernames []string          `json:"usernames"`
}

// AgentAddress is an address in a VNET.
type AgentAddress struct {
	Addr netip.Addr `json:"addr"`
	VNET vnet.ID    `json:"vnet"`
}

// GatewayState is what a gateway gets: peers, policy inputs and routes.
type GatewayState struct {
	Self         GatewaySyncSelf               `json:"self"`
	Networks     map[string]WireNetwork        `json:"networks"`
	Routes       map[string]WireRoute          `json:"routes"`
	Targets      map[string]WireTarget         `json:"targets"`
	Applications map[string]access.Application `json:"applications"`
	Groups       map[string]access.RuleGroup   `json:"groups"`
	Identities   map[string]access.Identity    `json:"identities"` // by user ID
	Devices      map[string]GatewayDevice      `json:"devices"`    // by device ID; a revoked or deleted device is absent
	Tunnels      map[string]GatewayTunnel      `json:"tunnels"`    // by tunnel ID
	NetworkRules map[string]access.NetworkRule `json:"network_rules"`
	Lists        map[string]access.List        `json:"lists"`
}

// GatewaySyncSelf is the gateway's own part.
type GatewaySyncSelf struct {
	GatewayID string       `json:"gateway_id"`
	AccountID string       `json:"account_id"`
	PoolV4    netip.Prefix `json:"pool_v4"`
	PoolV6    netip.Prefix `json:"pool_v6"`
	ProbePort uint16       `json:"probe_port"`
	// StaleAfterSeconds: without contact to control for longer, the gateway denies new flows; 0 means 3600.
	StaleAfterSeconds int `json:"stale_after_seconds"`
	// SSHCAPublicKey is the authorized_keys form of the CA that signs upstream logins; empty: no CA yet, SSH is refused with that reason.
	SSHCAPublicKey string `json:"ssh_ca_public_key"`
	// SSHHostCAs sign the gateway's own host keys, in authorized_keys form, the newest, which signs from now on, first. Agents
	// trust all of them and no others.
	SSHHostCAs []string `json:"ssh_host_cas,omitempty"`
	// ExplainAlmost lets users know of a policy that includes them and still does not let them in.
	ExplainAlmost bool `json:"explain_almost,omitempty"`
	// PostureRules are the IDs of all posture rules: a device fails those that it does not pass.
	PostureRules []string `json:"posture_rules,omitempty"`
}

// WireNetwork is a VNET.
type WireNetwork struct {
	ID      vnet.ID `json:"id"`
	Name    string  `json:"name"`
	Default bool    `json:"default"`
}

// WireRoute is a route.
type WireRoute struct {
	ID     string        `json:"id"`
	Prefix netip.Prefix  `json:"prefix"`
	VNET   vnet.ID       `json:"vnet"`
	Tunnel vnet.TunnelID `json:"tunnel"`
}

// WireTarget is a target.
type WireTarget struct {
	ID       targets.ID        `json:"id"`
	Hostname string            `json:"hostname"`
	IPv4     *AgentAddress     `json:"ipv4,omitempty"`
	IPv6     *AgentAddress     `json:"ipv6,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
}

// GatewayDevice is a WireGuard peer: who it is and what addresses it may use.
type GatewayDevice struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	UserID    string `json:"user_id"`
	PublicKey string `json:"public_key"`
	// NextPublicKey is a key that the device has been offered to change to; see AgentKey. Empty: none.
	NextPublicKey string                `json:"next_public_key,omitempty"`
	BlockIndex    uint16                `json:"block_index"`
	Slots         map[vnet.ID]vnet.Slot `json:"slots"`
	// PassedChecks are the posture rules the device passes.
	PassedChecks []string `json:"passed_checks,omitempty"`
	Country      string   `json:"country,omitempty"`
	SourceIP     string   `json:"source_ip,omitempty"`
}

// GatewayTunnel is a set of connector replicas.
type GatewayTunnel struct {
	ID   vnet.TunnelID `json:"id"`
	Name string        `json:"name"`
	// Key proves a connector of this tunnel to this gateway: see ConnectorProof. Base64, 32 bytes.
	Key Secret `json:"key"`
}

// ConnectorState is what a connector gets.
type ConnectorState struct {
	Self     ConnectorSyncSelf           `json:"self"`
	Gateways map[string]ConnectorGateway `json:"gateways"`
	Routes   map[string]WireRoute        `json:"routes"` // only its tunnel's
}

// ConnectorSyncSelf is the connector's own part.
type ConnectorSyncSelf struct {
	TunnelID vnet.TunnelID `json:"tunnel_id"`
	Name     string        `json:"name"`
}

// ConnectorGateway is a gateway to dial.
type ConnectorGateway struct {
	ID        string   `json:"id"`
	Endpoints []string `json:"endpoints"` // host:port, QUIC over UDP
	// CertificateSHA256 pins the gateway's TLS certificate (hex SHA-256 of the DER).
	CertificateSHA256 string `json:"certificate_sha256"`
	// Key is this (tunnel, gateway) pair's key for ConnectorProof. Base64, 32 bytes.
	Key Secret `json:"key"`
}

// NewGateway registers a gateway.
type NewGateway struct {
	Name string `json:"name"`
}

// NewGatewayResult holds the token, shown once.
type NewGatewayResult struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Token string `json:"token"`
}

// GatewayReport is what a gateway says of itself when it starts and when it changes.
type GatewayReport struct {
	PublicKey          string   `json:"public_key"`          // WireGuard
	Endpoints          []string `json:"endpoints"`           // WireGuard, host:port
	ConnectorEndpoints []string `json:"connector_endpoints"` // QUIC, host:port
	CertificateSHA256  string   `json:"certificate_sha256"`  // of the QUIC listener
	Version            string   `json:"version"`
	// Epoch is new at every start of the gateway.
	Epoch string `json:"epoch"`
}

// CertificateRequest asks for a user certificate for one upstream SSH login. Control evaluates the access again.
type CertificateRequest struct {
	PublicKey   string         `json:"public_key"` // authorized_keys form of an ephemeral key
	SessionID   string         `json:"session_id"`
	DeviceID    string         `json:"device_id"`
	VNET        vnet.ID        `json:"vnet"`
	Destination netip.AddrPort `json:"destination"`
	Login       string         `json:"login"`
}

// Certificate is the answer.
type Certificate struct {
	Certificate string    `json:"certificate"` // authorized_keys form
	Serial      uint64    `json:"serial"`
	KeyID       string    `json:"key_id"`
	ValidBefore time.Time `json:"valid_before"`
}
