package localapi

import "time"

// Paths of the flows.
const (
	PathFlows      = "/v1/flows"       // GET ?vnet=&target= (repeatable) -> FlowList
	PathFlowsClose = "/v1/flows/close" // POST CloseFlows -> FlowsClosed
)

// Flow is one open connection of the agent, TCP or UDP. Its VNET is fixed for its life.
type Flow struct {
	ID       string `json:"id"`
	Protocol string `json:"protocol"` // "tcp" or "udp"
	// Entrance is how the program reached the agent: "socks", "http", "dial", "forward" or "agent".
	Entrance string `json:"entrance"`
	// Program and PID name who opened it, where the system tells; else "" and 0.
	Program string `json:"program"`
	PID     int    `json:"pid"`
	// Client is the program's address towards a proxy; "" for the local API.
	Client        string    `json:"client"`
	TargetID      string    `json:"target_id"` // "": an address that was no target's
	Hostname      string    `json:"hostname"`
	IP            string    `json:"ip"`
	Port          uint16    `json:"port"`
	VNETID        string    `json:"vnet_id"`
	VNETName      string    `json:"vnet_name"`
	SourceIP      string    `json:"source_ip"` // the tunnel address that pins the flow to its VNET
	OpenedAt      time.Time `json:"opened_at"`
	AgeSeconds    float64   `json:"age_seconds"`
	SentBytes     uint64    `json:"sent_bytes"`
	ReceivedBytes uint64    `json:"received_bytes"`
}

// FlowList answers PathFlows, oldest first.
type FlowList struct {
	SchemaVersion int    `json:"schema_version"`
	Flows         []Flow `json:"flows"`
}

// CloseFlows says which flows to reset: one by its ID, or all, or all of a VNET (name or ID).
type CloseFlows struct {
	ID   string `json:"id"`
	All  bool   `json:"all"`
	VNET string `json:"vnet"`
}

// FlowsClosed says how many there were.
type FlowsClosed struct {
	SchemaVersion int `json:"schema_version"`
	Closed        int `json:"closed"`
}
