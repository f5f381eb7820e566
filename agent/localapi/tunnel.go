package localapi

import "time"

// Paths of the tunnel.
const (
	PathTunnel       = "/v1/tunnel"             // GET -> Tunnel
	PathTunnelRotate = "/v1/tunnel/rotate_keys" // POST -> KeyRotation
)

// Tunnel is the WireGuard link of this device and what it has carried. Without a tunnel, Up is false and counters are 0.
type Tunnel struct {
	SchemaVersion int    `json:"schema_version"`
	Up            bool   `json:"up"`
	Protocol      string `json:"protocol"` // "wireguard"
	PublicKey     string `json:"public_key"`
	ListenPort    uint16 `json:"listen_port"`
	MTU           int    `json:"mtu"`
	// Gateway and Endpoint are in use; EndpointOrigin is who chose: "control", "user" or "mdm".
	Gateway          string `json:"gateway"`
	GatewayPublicKey string `json:"gateway_public_key"`
	Endpoint         string `json:"endpoint"`
	EndpointOrigin   string `json:"endpoint_origin"`
	// Endpoints are all that may be tried, in their order.
	Endpoints []string `json:"endpoints"`
	// LastHandshakeAt is null before the first one.
	LastHandshakeAt     *time.Time `json:"last_handshake_at"`
	HandshakeAgeSeconds float64    `json:"handshake_age_seconds"`
	RTTMS               float64    `json:"rtt_ms"`
	// Probes that were sent to the gateway and answered since the tunnel was made; LossPercent follows from them.
	ProbesSent      uint64  `json:"probes_sent"`
	ProbesAnswered  uint64  `json:"probes_answered"`
	LossPercent     float64 `json:"loss_percent"`
	SentBytes       uint64  `json:"sent_bytes"` // as encrypted, since the peer was set
	ReceivedBytes   uint64  `json:"received_bytes"`
	SentPackets     uint64  `json:"sent_packets"`
	ReceivedPackets uint64  `json:"received_packets"`
	// Drops and Limits count what was not served, by cause.
	Drops  []Counter `json:"drops"`
	Limits []Counter `json:"limits"`
	// VNETs are the addresses of this device and the flows bound to them, by name.
	VNETs []TunnelVNET `json:"vnets"`
}

// Counter is a number with a name.
type Counter struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// TunnelVNET is this device in one VNET.
type TunnelVNET struct {
	VNETID   string `json:"vnet_id"`
	VNETName string `json:"vnet_name"`
	Selected bool   `json:"selected"`
	// IPv4 and IPv6 are the source addresses that pin flows to this VNET; "": none.
	IPv4          string `json:"ipv4"`
	IPv6          string `json:"ipv6"`
	FlowsOpen     int    `json:"flows_open"`
	FlowsOpened   uint64 `json:"flows_opened"` // since the agent started
	SentBytes     uint64 `json:"sent_bytes"`   // of the flows
	ReceivedBytes uint64 `json:"received_bytes"`
}

// KeyRotation answers PathTunnelRotate.
type KeyRotation struct {
	SchemaVersion int     `json:"schema_version"`
	OldPublicKey  string  `json:"old_public_key"`
	NewPublicKey  string  `json:"new_public_key"`
	FlowsKept     int     `json:"flows_kept"`
	TookMS        float64 `json:"took_ms"`
}
