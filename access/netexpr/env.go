package netexpr

import "net/netip"

// Flow is what is known of the flow that is judged, and of who opens it. A zero
// address, a zero port and an empty string mean that the fact is not known; the
// slices that stand beside a flag are known when the flag says so, even if empty.
type Flow struct {
	// AccessTarget says that the destination is a target of an infrastructure application.
	AccessTarget bool
	// Destination as the client dialled it; Source is the device's public address and port.
	Destination, Source netip.AddrPort
	// InternalSource is the device's address in the tunnel.
	InternalSource netip.Addr
	// SourceCountry is an ISO 3166-1 alpha-2 code.
	SourceCountry string
	// Protocol is "tcp", "udp" or "icmp".
	Protocol string
	VNET     string

	// IdentityKnown says that a user stands behind the device; without one every
	// comparison with identity fields is Unknown.
	IdentityKnown bool
	Email, Name   string
	Groups        []Group
	SAML          map[string][]string

	// PostureKnown says that posture checks have been made.
	PostureKnown               bool
	PassedChecks, FailedChecks []string

	// OSName and OSVersion are the device's system, in the words of device profiles.
	OSName, OSVersion string
}

// Group is a membership of the user: any of the names by which the identity provider calls it.
type Group struct {
	ID, Name, Email string
	// Team is the team within a GitHub organization (Name).
	Team string
}
