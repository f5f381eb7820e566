// Package targets knows targets: what a valid one is, how criteria select
// them, how a list is filtered and how a name becomes an address in a VNET. It
// is pure.
package targets

import (
	"net/netip"
	"time"

	"weft/vnet"
)

// ID is the UUIDv7 of a target.
type ID string

// Address is an IP address in a virtual network.
type Address struct {
	Addr netip.Addr
	VNET vnet.ID
}

// Target is one machine. Hostname is a label, not a DNS name; it keeps the case
// in which it was written and is compared without it.
type Target struct {
	ID         ID
	Hostname   string
	IPv4, IPv6 *Address // at least one
	Tags       map[string]string
	CreatedAt  time.Time
	ModifiedAt time.Time
}

// Protocol is what a target speaks on a port.
type Protocol string

// The protocols. SSH is terminated at the gateway; the others are relayed.
const (
	SSH        Protocol = "SSH"
	TCP        Protocol = "TCP"
	UDP        Protocol = "UDP"
	RDP        Protocol = "RDP"
	VNC        Protocol = "VNC"
	HTTP       Protocol = "HTTP"
	HTTPS      Protocol = "HTTPS"
	Postgres   Protocol = "POSTGRES"
	MySQL      Protocol = "MYSQL"
	Redis      Protocol = "REDIS"
	MongoDB    Protocol = "MONGODB"
	Kubernetes Protocol = "KUBERNETES"
)

// Transport is the IP protocol of a flow.
type Transport string

// The transports.
const (
	TransportTCP Transport = "tcp"
	TransportUDP Transport = "udp"
)

// Selector is a set of attributes: every one must have one of its values ("hostname" is compared
// without case, tags exactly). One without attributes, or an attribute without values, selects nothing.
type Selector map[string][]string

// Criteria selects targets for an application, in one of two forms: by Attributes alone, or by
// any of Include, all of Require and none of Exclude. Access is through Port with Protocol.
// Criteria in both forms at once select nothing.
type Criteria struct {
	Attributes Selector
	Include    []Selector
	Require    []Selector
	Exclude    []Selector
	Port       uint16
	Protocol   Protocol
}

// Entry is one line of a user's target list: a target at one port.
type Entry struct {
	Target    Target
	Protocol  Protocol
	Port      uint16
	Usernames []string // sorted; empty for relayed protocols
}

// Filter selects entries: AND across its fields, OR within one; an empty
// field selects everything.
type Filter struct {
	Attributes map[string][]string // "hostname", a tag, "protocol" or "port"
	Usernames  []string
	Hostnames  []Glob
	Protocols  []Protocol
	Ports      []uint16
	VNETs      []vnet.ID
	IDs        []ID
	Prefixes   []netip.Prefix // of one of the addresses, in any VNET
}
