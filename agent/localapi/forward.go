package localapi

import "time"

// PathForwards are the local ports and sockets that lead to a target for as long as the agent runs.
const PathForwards = "/v1/forwards" // GET -> ForwardList; POST NewForward -> Forward; DELETE ?name= -> Done

// The states of a forward.
const (
	ForwardListening    = "listening"
	ForwardDisconnected = "disconnected" // listens; connections are refused at once
	ForwardTargetGone   = "target_gone"  // listens; the target is no longer in the list
	ForwardBusy         = "busy"         // another program has the port or socket; tried again every few seconds
	ForwardFailed       = "failed"       // cannot listen for another reason
)

// NewForward asks for a forward.
type NewForward struct {
	// Name tells it apart; empty: made from the target.
	Name string `json:"name"`
	// Listen is PORT, ADDRESS:PORT or unix:PATH; port 0 takes a free one and keeps it.
	Listen string `json:"listen"`
	// Target is a hostname, HOSTNAME.VNET, target ID or IP address.
	Target string `json:"target"`
	// Port of the target; 0: its only one.
	Port uint16 `json:"port"`
	// VNET (name or ID); empty: the selected one as it is now. A forward stays in its network.
	VNET string `json:"vnet"`
	// Network is "tcp", "udp", or empty: what the target speaks there.
	Network string `json:"network"`
	// AllowRemote permits an address that is not loopback; AllUsers serves every account of this machine.
	AllowRemote bool `json:"allow_remote"`
	AllUsers    bool `json:"all_users"`
}

// Forward is one forward.
type Forward struct {
	SchemaVersion int       `json:"schema_version"`
	Name          string    `json:"name"`
	Network       string    `json:"network"` // "tcp", "udp", "unix"
	Listen        string    `json:"listen"`  // ADDRESS:PORT or a path
	Target        string    `json:"target"`
	Port          uint16    `json:"port"`
	VNETID        string    `json:"vnet_id"`
	VNETName      string    `json:"vnet_name"`
	State         string    `json:"state"`
	Detail        string    `json:"detail"` // a sentence for people; may be empty
	AllowRemote   bool      `json:"allow_remote"`
	AllUsers      bool      `json:"all_users"`
	CreatedAt     time.Time `json:"created_at"`
	// Open are connections now (UDP: clients), Accepted ever since the agent started, Refused those that got nowhere.
	Open     int64  `json:"open"`
	Accepted uint64 `json:"accepted"`
	Refused  uint64 `json:"refused"`
	// Sent and Received count the bytes of connections that have ended, to and from the target; Drops datagrams.
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
	Drops    uint64 `json:"drops"`
}

// ForwardList answers PathForwards.
type ForwardList struct {
	SchemaVersion int       `json:"schema_version"`
	Forwards      []Forward `json:"forwards"` // by name
}
