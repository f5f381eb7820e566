// Package localapi is the wire format between warp-svc and warp-cli: HTTP/1.1 with JSON
// over a Unix socket (Windows: a named pipe). Plain types only: the command line links
// nothing of the data path.
//
// Every answer carries schema_version. Failures are an Error object with a documented HTTP
// status. Streams are newline-delimited JSON: a snapshot, then deltas. POST /v1/dial
// upgrades the connection (HTTP 101, "Upgrade: weft-stream") to a raw byte stream.
package localapi

import "time"

// SchemaVersion is the version of every object here. It changes only with a
// field's removal or change of meaning; new fields may appear.
const SchemaVersion = 1

// Paths of the local API.
const (
	PathVersion      = "/v1/version"      // GET -> Version
	PathStatus       = "/v1/status"       // GET -> Status
	PathRegistration = "/v1/registration" // GET -> Registration; POST NewRegistration -> Registration; DELETE -> Done
	PathConnect      = "/v1/connect"      // POST Connect -> Status (waits until connected, or says why not)
	PathDisconnect   = "/v1/disconnect"   // POST Disconnect -> Status
	PathVNET         = "/v1/vnet"         // GET -> VNETList; POST SelectVNET -> VNETList
	PathTargets      = "/v1/targets"      // GET ?attribute=k=v&username=&hostname=&protocol=&port=&vnet=&id=&ip= (repeatable) -> TargetList
	PathResolve      = "/v1/resolve"      // GET ?name=&vnet=&port= -> Resolution
	PathDial         = "/v1/dial"         // POST Dial -> 101 and a raw stream
	PathEvents       = "/v1/events"       // GET ?targets=none (lists without their rows) -> stream of Event
	UpgradeProtocol  = "weft-stream"
)

// State of the agent.
type State string

// The states. Unregistered -> Disconnected -> Connecting -> Connected.
const (
	Unregistered State = "unregistered"
	Disconnected State = "disconnected"
	Connecting   State = "connecting"
	Connected    State = "connected"
)

// Reason is a stable code that says why the agent is in its state.
type Reason string

// The reasons.
const (
	ReasonNone               Reason = ""
	ReasonNeverRegistered    Reason = "never_registered"
	ReasonRevoked            Reason = "revoked" // control refused the device's credential
	ReasonManual             Reason = "manual"  // the user disconnected
	ReasonStarting           Reason = "starting"
	ReasonControlUnreachable Reason = "control_unreachable" // and there is no cached state to connect with
	ReasonGatewayUnreachable Reason = "gateway_unreachable" // no answer through the tunnel
	ReasonGatewayRestarted   Reason = "gateway_restarted"
	ReasonNetworkChanged     Reason = "network_changed"
	ReasonNoGateway          Reason = "no_gateway" // control named none
	ReasonHealthy            Reason = "healthy"
	ReasonKeyStore           Reason = "key_store" // the private key cannot be read
)

// Version of the agent.
type Version struct {
	SchemaVersion int    `json:"schema_version"`
	Version       string `json:"version"`
	OS            string `json:"os"`
	Arch          string `json:"arch"`
}

// Status of the agent.
type Status struct {
	SchemaVersion int       `json:"schema_version"`
	State         State     `json:"state"`
	Reason        Reason    `json:"reason"`
	Detail        string    `json:"detail"` // a sentence for people; may be empty
	Since         time.Time `json:"since"`
	Email         string    `json:"email"`
	Gateway       string    `json:"gateway"` // name of the gateway in use; empty when none
	Endpoint      string    `json:"endpoint"`
	LatencyMS     float64   `json:"latency_ms"` // last answer through the tunnel; 0: none yet
	VNET          *VNET     `json:"vnet"`       // the selected one; null before the first state
	ProxyAddress  string    `json:"proxy_address"`
	// StateRevision and StateAgeSeconds tell how current the target list is; ControlConnected whether it is being kept current.
	StateRevision    uint64  `json:"state_revision"`
	StateAgeSeconds  float64 `json:"state_age_seconds"`
	ControlConnected bool    `json:"control_connected"`
	KeyStore         string  `json:"key_store"` // "keyring", "file" or ""
	// Profile is there when the user has more than one.
	Profile string `json:"profile,omitempty"`
	// ResumeAt is when a timed pause ends; null: there is none.
	ResumeAt *time.Time `json:"resume_at"`
	// Notices are what happened lately that the user may want to know (gateway restart, fallbacks), oldest first, at most 10.
	Notices []Notice `json:"notices"`
}

// Notice is one event worth telling.
type Notice struct {
	Time    time.Time `json:"time"`
	Code    string    `json:"code"`
	Message string    `json:"message"`
}

// NewRegistration asks to register with an enrolment string.
type NewRegistration struct {
	Enrolment string `json:"enrolment"`
}

// Registration is this device as the control plane knows it.
type Registration struct {
	SchemaVersion int       `json:"schema_version"`
	AccountID     string    `json:"account_id"`
	DeviceID      string    `json:"device_id"`
	Email         string    `json:"email"`
	ControlURL    string    `json:"control_url"`
	PublicKey     string    `json:"public_key"`
	KeyStore      string    `json:"key_store"`
	RegisteredAt  time.Time `json:"registered_at"`
}

// Done is the answer of an action with nothing to tell.
type Done struct {
	SchemaVersion int  `json:"schema_version"`
	Success       bool `json:"success"`
}

// Connect asks for the tunnel; WaitSeconds bounds how long the answer may take (0: 30).
type Connect struct {
	WaitSeconds int `json:"wait_seconds"`
}

// VNET is a virtual network as the user sees it.
type VNET struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Comment  string `json:"comment"`
	Default  bool   `json:"default"`
	Selected bool   `json:"selected"`
}

// VNETList answers PathVNET.
type VNETList struct {
	SchemaVersion int    `json:"schema_version"`
	VNETs         []VNET `json:"vnets"` // sorted by name
}

// SelectVNET selects a VNET for new connections, by ID or name.
type SelectVNET struct {
	VNET string `json:"vnet"`
}

// Target is a row of the target list.
type Target struct {
	ID         string            `json:"id"`
	Hostname   string            `json:"hostname"`
	Protocol   string            `json:"protocol"`
	Port       uint16            `json:"port"`
	Attributes map[string]string `json:"attributes"` // "hostname" and the tags
	Addresses  []Address         `json:"addresses"`  // IPv4 first
	Usernames  []string          `json:"usernames"`
}

// Address is one address of a target.
type Address struct {
	IP       string `json:"ip"`
	VNETID   string `json:"vnet_id"`
	VNETName string `json:"vnet_name"`
}

// TargetList answers PathTargets.
type TargetList struct {
	SchemaVersion int      `json:"schema_version"`
	Revision      uint64   `json:"revision"`
	AgeSeconds    float64  `json:"age_seconds"`
	Stale         bool     `json:"stale"` // control is not being heard right now
	Targets       []Target `json:"targets"`
}

// Resolution says where a name leads.
type Resolution struct {
	SchemaVersion int      `json:"schema_version"`
	TargetID      string   `json:"target_id"` // empty: an address that is no target of yours
	Hostname      string   `json:"hostname"`
	IP            string   `json:"ip"`
	VNETID        string   `json:"vnet_id"`
	VNETName      string   `json:"vnet_name"`
	Usernames     []string `json:"usernames"`
	Ports         []uint16 `json:"ports"`
	// HostKeyAlias is the name that the gateway's host certificate has for SSH at the port that was asked for; empty: there is none.
	HostKeyAlias string `json:"host_key_alias"`
}

// Dial asks for a TCP stream to a target.
type Dial struct {
	// Name is a hostname, hostname.vnet, target ID or IP address.
	Name string `json:"name"`
	Port uint16 `json:"port"`
	// VNET (name or ID) overrides the selected one; empty: none asked.
	VNET string `json:"vnet"`
}

// Event is a line of the event stream: first a "status" and a "targets" snapshot, then one per change.
type Event struct {
	SchemaVersion int         `json:"schema_version"`
	Type          string      `json:"type"` // "status", "targets", "vnets", "notice"
	Time          time.Time   `json:"time"`
	Status        *Status     `json:"status,omitempty"`
	Targets       *TargetList `json:"targets,omitempty"`
	VNETs         *VNETList   `json:"vnets,omitempty"`
	Notice        *Notice     `json:"notice,omitempty"`
}

// Error is the body of every failure. Code is a kind of internal/kind or one of the codes below.
type Error struct {
	SchemaVersion int    `json:"schema_version"`
	Code          string `json:"code"`
	Message       string `json:"message"`
	// Hint is what to do next, usually a command.
	Hint string `json:"hint"`
	// Command is there when the caller lacked the right: the command line that has it.
	Command string `json:"command,omitempty"`
}

// Codes beside those of internal/kind.
const (
	CodeNotRegistered     = "not_registered"
	CodeNotConnected      = "not_connected"
	CodeAmbiguous         = "ambiguous"
	CodeUnknownVNET       = "unknown_vnet"
	CodeUnknownTarget     = "unknown_target"
	CodeRefused           = "refused"     // the target refused the connection
	CodeProhibited        = "prohibited"  // policy does not allow it
	CodeUnreachable       = "unreachable" // no way to the target
	CodeTimeout           = "timeout"
	CodeEnrolmentInvalid  = "enrolment_invalid" // malformed
	CodeEnrolmentRefused  = "enrolment_refused" // expired, used up or unknown
	CodeAlreadyRegistered = "already_registered"
	CodePermission        = "permission" // the caller may not do this
	CodeRevoked           = "revoked"
)

// HTTPStatus maps a code to the status of its answer.
func HTTPStatus(code string) int {
	switch code {
	case "invalid", CodeAmbiguous, CodeEnrolmentInvalid:
		return 400
	case CodePermission, CodeProhibited, "denied", "unauthenticated", CodeEnrolmentRefused, CodeRevoked:
		return 403
	case CodeUnknownVNET, CodeUnknownTarget, CodeUnknownProfile, "not_found":
		return 404
	case CodeNotRegistered, CodeNotConnected, CodeAlreadyRegistered, "conflict":
		return 409
	case "limit":
		return 429
	case CodeRefused, CodeUnreachable:
		return 502
	case "unavailable":
		return 503
	case CodeTimeout:
		return 504
	default:
		return 500
	}
}
