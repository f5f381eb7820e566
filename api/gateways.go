package api

// GatewayInfo is a gateway as administrators see it.
type GatewayInfo struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Version   string   `json:"version"` // empty until it has run
	Endpoints []string `json:"endpoints"`
	Connected bool     `json:"connected"` // it follows control
	// Draining says that it takes no new sessions: because an administrator wants it (DrainedAt), or because it is being stopped.
	Draining  bool   `json:"draining"`
	DrainedAt string `json:"drained_at,omitempty"`
	CreatedAt string `json:"created_at"`
}

// GatewayDrain is the body of PUT PathGateways/{id}/drain, where the ID may be a name: whether the gateway is to take no new
// sessions, until that is taken back. The answer is a GatewayInfo.
type GatewayDrain struct {
	Draining *bool `json:"draining"`
}
