// Package api holds what crosses the network between Weft's processes: the
// envelope and objects of the management API, the enrolment and sync protocols
// of agent, gateway and connector, and the HTTP client for them.
//
// Everything is JSON over HTTPS. The management API lives under /client/v4 and is
// wire-compatible with the one that the seed page documents; what that API cannot say
// lives under /weft/v1 with the same envelope.
package api

import "encoding/json"

// Envelope is the frame of every answer except streams.
type Envelope struct {
	Success    bool            `json:"success"`
	Errors     []ErrorItem     `json:"errors"`
	Messages   []ErrorItem     `json:"messages"` // always empty on success
	Result     json.RawMessage `json:"result"`
	ResultInfo *ResultInfo     `json:"result_info,omitempty"`
}

// ErrorItem is one error of an answer.
type ErrorItem struct {
	Code    int          `json:"code"`
	Message string       `json:"message"`
	Kind    string       `json:"kind,omitempty"` // internal/kind, so that clients need no code table
	Hint    string       `json:"hint,omitempty"`
	Source  *ErrorSource `json:"source,omitempty"`
}

// ErrorSource names the field that an error is about (RFC 6901).
type ErrorSource struct {
	Pointer string `json:"pointer"`
}

// ResultInfo counts a list's pages.
type ResultInfo struct {
	Page       int `json:"page"`
	PerPage    int `json:"per_page"`
	Count      int `json:"count"`
	TotalCount int `json:"total_count"`
	TotalPages int `json:"total_pages"`
}

// Paths under the control plane's base URL.
const (
	PathManagement         = "/client/v4"
	PathEnrol              = "/weft/v1/enrol"                    // POST, no token: EnrolRequest -> EnrolResponse
	PathEnrolmentKeys      = "/weft/v1/enrolment_keys"           // POST with an API token: NewEnrolmentKey -> EnrolmentKey
	PathAgentSelf          = "/weft/v1/agent"                    // GET, DELETE (unregister) with a device token: -> AgentSelf
	PathAgentKey           = "/weft/v1/agent/key"                // POST with a device token: AgentKey -> AgentSelf
	PathAgentDevices       = "/weft/v1/agent/devices"            // GET with a device token: -> []AgentDevice, those of the same user
	PathAgentSync          = "/weft/v1/agent/sync"               // GET stream with a device token
	PathGateways           = "/weft/v1/gateways"                 // POST with an API token: NewGateway -> NewGatewayResult
	PathGatewaySelf        = "/weft/v1/gateway"                  // PUT with a gateway token: GatewayReport
	PathGatewaySync        = "/weft/v1/gateway/sync"             // GET stream with a gateway token
	PathGatewayCertificate = "/weft/v1/gateway/ssh_certificates" // POST with a gateway token: CertificateRequest -> Certificate
	PathConnectorSync      = "/weft/v1/connector/sync"           // GET stream with a connector token
	PathOpenAPI            = "/openapi.json"                     // GET, no token: the OpenAPI document, without an envelope
	PathHealth             = "/weft/v1/health"                   // GET, no token: {"status":"ok"}
)
