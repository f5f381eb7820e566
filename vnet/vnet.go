// Package vnet knows virtual networks: their IDs and names, the routing table
// of each, and the arithmetic of tunnel addresses, by which the source address
// of a flow names its device, its virtual network and its mode. It is pure: no
// network, files, clock, goroutines or logging.
package vnet

import "net/netip"

// ID is the UUID of a virtual network (VNET).
type ID string

// TunnelID is the UUID of a tunnel: a set of equal connector replicas.
type TunnelID string

// Network is one virtual network. Names are unique in an account without
// regard to case.
type Network struct {
	ID      ID
	Name    string
	Comment string
	Default bool
}

// Route sends a prefix of one VNET to a tunnel.
type Route struct {
	ID      string
	Prefix  netip.Prefix
	VNET    ID
	Tunnel  TunnelID
	Comment string
}

// Mode says which kind of client end an address belongs to.
type Mode uint8

// The modes: flows that the agent's own stack opens, and flows of an OS TUN.
const (
	ModeNetstack Mode = 0
	ModeTUN      Mode = 1
)

// Slot is a device's number for one of its VNETs, 0 to 31.
type Slot uint8

// ControlSlot is the slot from which a device talks to its gateway itself
// (the liveness probe); it belongs to no VNET.
const ControlSlot Slot = 0

// Block is the tunnel address space of one device: an IPv4 /26 and an IPv6 /64.
type Block struct{ V4, V6 netip.Prefix }

// Pool is the tunnel address space of a gateway group.
type Pool struct{ V4, V6 netip.Prefix }
