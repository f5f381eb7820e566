package api

import (
	"net/netip"
	"time"

	"weft/targets"
	"weft/vnet"
)

// Live sessions are asked of the gateways, which know them; control keeps none. Whoever asks is told which gateways did
// not answer.

// Paths of live sessions.
const (
	PathSessions      = "/weft/v1/sessions"       // GET with an API token: -> Sessions; DELETE /{id}: SessionKill -> SessionKilled
	PathSessionsWatch = "/weft/v1/sessions/watch" // GET stream with an API token: SessionsEvent per line
)

// Limits of lists of sessions.
const (
	DefaultSessions    = 1000
	MaxSessions        = 5000
	MaxKillReasonBytes = 300
	// MaxSessionParts bounds the parts of one gateway's answer, of about MaxSessionPartBytes each.
	MaxSessionParts     = 64
	MaxSessionPartBytes = 256 << 10
)

// SessionsSchemaVersion is the version of Sessions and SessionsEvent.
const SessionsSchemaVersion = 1

// The states of a Session.
const (
	SessionConnecting = "connecting" // its target has not answered yet
	SessionOpen       = "open"
)

// Session is a live flow of a gateway. An SSH session without a Login is one whose login was not allowed yet.
type Session struct {
	ID            string            `json:"id"`
	GatewayID     string            `json:"gateway_id"`
	GatewayName   string            `json:"gateway_name"`
	State         string            `json:"state"`
	Email         string            `json:"email"`
	UserID        string            `json:"user_id"`
	DeviceID      string            `json:"device_id"`
	DeviceName    string            `json:"device_name"`
	TargetID      targets.ID        `json:"target_id"`
	Hostname      string            `json:"hostname"`
	VNETID        vnet.ID           `json:"vnet_id"`
	VNETName      string            `json:"vnet_name"`
	Source        netip.AddrPort    `json:"source"` // the tunnel address
	Destination   netip.AddrPort    `json:"destination"`
	Protocol      targets.Protocol  `json:"protocol"`
	Transport     targets.Transport `json:"transport"`
	Login         string            `json:"login"`
	Recorded      bool              `json:"recorded"`
	ApplicationID string            `json:"application_id"`
	PolicyID      string            `json:"policy_id"`
	PolicyName    string            `json:"policy_name"`
	StartedAt     time.Time         `json:"started_at"`
	BytesUp       int64             `json:"bytes_up"` // from the client
	BytesDown     int64             `json:"bytes_down"`
}

// SessionFilter chooses sessions; empty fields choose all.
type SessionFilter struct {
	User     string `json:"user,omitempty"`     // e-mail address or ID
	Target   string `json:"target,omitempty"`   // hostname, ID or address
	Device   string `json:"device,omitempty"`   // name or ID
	Protocol string `json:"protocol,omitempty"` // SSH, TCP, ...
	Login    string `json:"login,omitempty"`    // UNIX user
}

// SessionGateway says what became of the question to one gateway.
type SessionGateway struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Connected bool   `json:"connected"` // it follows control
	Answered  bool   `json:"answered"`
	Draining  bool   `json:"draining"` // it takes no new sessions
	// Total counts the sessions that the filter chooses; more than were listed when the limit was reached.
	Total int `json:"total"`
	// Busy counts the sessions that a drain waits for, whatever the filter: all but those of UDP.
	Busy int `json:"busy"`
}

// Sessions are the live sessions of all gateways that answered, the newest first.
type Sessions struct {
	SchemaVersion int `json:"schema_version"`
	// Complete is false when a gateway did not answer, or the limit left sessions out.
	Complete bool             `json:"complete"`
	Sessions []Session        `json:"sessions"`
	Gateways []SessionGateway `json:"gateways"`
}

// The types of a SessionsEvent.
const (
	SessionsSnapshot  = "snapshot"
	SessionsDelta     = "delta"
	SessionsHeartbeat = "heartbeat"
)

// SessionsEvent is a line of the stream at PathSessionsWatch: first a snapshot, then what changes, and a heartbeat while
// nothing does.
type SessionsEvent struct {
	SchemaVersion int    `json:"schema_version"`
	Type          string `json:"type"`
	// Put are sessions that began or changed, Ended those that are over.
	Put   []Session      `json:"put,omitempty"`
	Ended []SessionEnded `json:"ended,omitempty"`
	// Gateways are those whose entry changed; of a snapshot all.
	Gateways []SessionGateway `json:"gateways,omitempty"`
}

// SessionEnded is a session that is over; its bytes are final.
type SessionEnded struct {
	Session
	// Reason is that of the audit event flow_close; "gone": the gateway knows it no more, such as after a restart.
	Reason string `json:"reason"`
}

// SessionGone is the reason of a session whose end nobody saw.
const SessionGone = "gone"

// SessionKill ends a session; only that one, its user may connect again.
type SessionKill struct {
	// Reason is shown to the user of an SSH session and is on record; empty: only that an administrator ended it.
	Reason string `json:"reason"`
}

// SessionKilled is the answer.
type SessionKilled struct {
	Session Session `json:"session"`
	// Already is set when the session had been killed before.
	Already bool `json:"already"`
}

// SessionsQuestion asks a gateway for its sessions, or, with the epoch and sequence number of an answer, for what changed.
type SessionsQuestion struct {
	SessionFilter
	Limit int    `json:"limit"`
	Epoch string `json:"epoch,omitempty"`
	Since uint64 `json:"since,omitempty"`
}

// SessionsAnswer is the gateway's answer, or a part of one.
type SessionsAnswer struct {
	Epoch    string `json:"epoch"`
	Sequence uint64 `json:"sequence"`
	// Full says that Sessions are all there are; otherwise they are what began or changed.
	Full     bool           `json:"full"`
	Total    int            `json:"total"`
	Draining bool           `json:"draining"`
	Busy     int            `json:"busy"`
	Sessions []Session      `json:"sessions,omitempty"`
	Ended    []SessionEnded `json:"ended,omitempty"`
}

// KillQuestion asks a gateway to end a session.
type KillQuestion struct {
	SessionID string `json:"session_id"`
	Reason    string `json:"reason"`
	By        string `json:"by"` // who, for the gateway's record
}

// KillAnswer says whether the gateway has, or had, the session.
type KillAnswer struct {
	Found   bool    `json:"found"`
	Already bool    `json:"already"`         // it had been killed before
	Ended   string  `json:"ended,omitempty"` // it had ended by itself, for this reason
	Session Session `json:"session"`
}
