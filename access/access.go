package access

import (
	"net/netip"

	"weft/access/netexpr"
	"weft/targets"
	"weft/vnet"
)

// Identity is the user (or service token) behind a device, as the identity
// provider last described it.
type Identity struct {
	UserID string
	Email  string // as given; compared in lower case
	Name   string
	// IdP is the ID of the identity provider that vouched for the user.
	IdP string
	// Groups are the memberships that the provider reported.
	Groups []Group
	// AuthMethods are the values of "amr" (RFC 8176).
	AuthMethods []string
	// Attributes are SAML attributes and OIDC claims: name to values.
	SAML map[string][]string
	OIDC map[string][]string
	// ServiceToken is the ID of the token when no user is behind the device.
	ServiceToken string
	Revoked      bool
}

// Group is a membership: any of the names by which a provider calls it.
type Group = netexpr.Group

// Device is an enrolled agent.
type Device struct {
	ID string
	// PassedChecks are the IDs of the posture rules that it passes, FailedChecks of those that it
	// does not; both nil: it was not asked.
	PassedChecks, FailedChecks []string
	// SourceIP is the public address it connects from, Country its ISO 3166-1 alpha-2 code; zero: unknown.
	SourceIP netip.Addr
	Country  string
	// Networks are the virtual networks that it may use; nil: all.
	Networks []vnet.ID
	Revoked  bool
}

// SSHRules says which UNIX users a policy grants.
type SSHRules struct {
	Usernames       []string
	AllowEmailAlias bool
}

// Policy grants access to the targets of its application: any include rule,
// all require rules, no exclude rule.
type Policy struct {
	ID, Name   string
	Decision   string // "allow" is the only one for infrastructure
	Precedence int
	Include    []Rule
	Require    []Rule
	Exclude    []Rule
	SSH        *SSHRules // nil: no connection rules
}

// Application is an infrastructure application.
type Application struct {
	ID, Name, AUD string
	Criteria      []targets.Criteria
	Policies      []Policy
}

// RuleGroup is a named set of rules that policies refer to.
type RuleGroup struct {
	ID, Name string
	Include  []Rule
	Require  []Rule
	Exclude  []Rule
}

// Input is everything a snapshot is compiled from.
type Input struct {
	Revision     uint64
	Networks     []vnet.Network
	Targets      []targets.Target
	Applications []Application
	Groups       []RuleGroup
	NetworkRules []NetworkRule
	Lists        []List
}

// Query is one question to Evaluate.
type Query struct {
	Identity    *Identity
	Device      *Device
	VNET        vnet.ID
	Destination netip.AddrPort
	Transport   targets.Transport
	// Login is the UNIX user of an SSH login; "" asks whether the flow may be opened at all.
	Login string
}

// Reason is a stable code for why a decision fell as it did.
type Reason string

// The reasons.
const (
	Allowed           Reason = "allowed"
	NoSnapshot        Reason = "no_snapshot"         // nothing compiled, or it is too old
	IdentityUnknown   Reason = "identity_unknown"    // no identity behind the device
	IdentityRevoked   Reason = "identity_revoked"    //
	DeviceUnknown     Reason = "device_unknown"      //
	DeviceRevoked     Reason = "device_revoked"      //
	VNETNotPermitted  Reason = "vnet_not_permitted"  // the device may not use the virtual network
	NoTarget          Reason = "no_target"           // no target at that address in that VNET
	NoApplication     Reason = "no_application"      // no application covers the target at that port and transport
	NoPolicy          Reason = "no_policy"           // no policy's include rules match
	RequireMissing    Reason = "require_missing"     // included, but a require rule fails
	Excluded          Reason = "excluded"            // included, but an exclude rule matches
	LoginNotPermitted Reason = "login_not_permitted" // allowed, but not as this UNIX user
	NetworkBlocked    Reason = "network_blocked"     // a network rule blocks the flow
)

// Decision is the answer. It holds no allocation of its own on the allow path.
type Decision struct {
	Allow  bool
	Reason Reason
	// Target, Application and Policy are what matched, as far as it got; they point into the snapshot.
	Target      *targets.Target
	Application *Application
	Policy      *Policy
	// NetworkRule is the first network rule that applies, nil for none.
	NetworkRule *NetworkRule
	Protocol    targets.Protocol
	Revision    uint64
}

// Grant is a UNIX user that a query's identity may log in as, with every policy that grants it.
type Grant struct {
	Username string
	Policies []*Policy
}
