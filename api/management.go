package api

import (
	"encoding/json"
	"time"

	"weft/access"
)

// Target is a target of the management API, in answers. Hostname, addresses and times keep the spelling in which
// they were first written, which clients compare byte by byte.
type Target struct {
	ID         string            `json:"id"`
	Hostname   string            `json:"hostname"`
	IP         TargetIP          `json:"ip"`
	Tags       map[string]string `json:"tags,omitempty"`
	CreatedAt  string            `json:"created_at"`
	ModifiedAt string            `json:"modified_at"`
}

// TargetIP holds the addresses of a target, at least one.
type TargetIP struct {
	IPv4 *TargetAddress `json:"ipv4,omitempty"`
	IPv6 *TargetAddress `json:"ipv6,omitempty"`
}

// TargetAddress is an address in a virtual network; an empty network means the account's default.
type TargetAddress struct {
	Addr string `json:"ip_addr" openapi:"required"`
	VNET string `json:"virtual_network_id"`
}

// TargetWrite creates or replaces a target.
type TargetWrite struct {
	Hostname string            `json:"hostname" openapi:"required,maxlen=253"`
	IP       TargetIP          `json:"ip" openapi:"required"`
	Tags     map[string]string `json:"tags,omitempty"`
}

// TargetIDs names the targets to delete.
type TargetIDs struct {
	TargetIDs []string `json:"target_ids" openapi:"required"`
}

// VirtualNetwork is a VNET.
type VirtualNetwork struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	Comment   string  `json:"comment"`
	Default   bool    `json:"is_default_network"`
	CreatedAt string  `json:"created_at"`
	DeletedAt *string `json:"deleted_at"`
}

// VirtualNetworkWrite creates or, where fields are nil, partly changes a VNET. Both spellings of the default are known.
type VirtualNetworkWrite struct {
	Name             *string `json:"name,omitempty"`
	Comment          *string `json:"comment,omitempty"`
	IsDefaultNetwork *bool   `json:"is_default_network,omitempty"`
	IsDefault        *bool   `json:"is_default,omitempty"`
}

// Route sends a prefix of a VNET to a tunnel. Lists and look-ups add the names.
type Route struct {
	ID         string  `json:"id"`
	Network    string  `json:"network"`
	TunnelID   string  `json:"tunnel_id"`
	VNET       string  `json:"virtual_network_id"`
	Comment    string  `json:"comment"`
	CreatedAt  string  `json:"created_at"`
	DeletedAt  *string `json:"deleted_at"`
	TunnelName string  `json:"tunnel_name,omitempty"`
	TunnelType string  `json:"tun_type,omitempty"`
	VNETName   string  `json:"virtual_network_name,omitempty"`
}

// RouteWrite creates or, where fields are nil, partly changes a route.
type RouteWrite struct {
	Network  *string `json:"network,omitempty"`
	TunnelID *string `json:"tunnel_id,omitempty"`
	VNET     *string `json:"virtual_network_id,omitempty"`
	Comment  *string `json:"comment,omitempty"`
}

// Tunnel is a tunnel; its secret is never part of it.
type Tunnel struct {
	ID             string         `json:"id"`
	AccountTag     string         `json:"account_tag"`
	Name           string         `json:"name"`
	CreatedAt      string         `json:"created_at"`
	DeletedAt      *string        `json:"deleted_at"`
	Connections    []TunnelConn   `json:"connections"`
	ConnsActiveAt  *string        `json:"conns_active_at"`
	ConnsInactive  *string        `json:"conns_inactive_at"`
	TunnelType     string         `json:"tun_type"`
	Status         string         `json:"status"`
	RemoteConfig   bool           `json:"remote_config"`
	ConfigSource   string         `json:"config_src"`
	Metadata       map[string]any `json:"metadata"`
	ConnectorToken string         `json:"token,omitempty"` // only in the answer to its creation
}

// TunnelWrite creates a tunnel. Secret is base64 of at least 32 bytes; empty: the server makes one.
type TunnelWrite struct {
	Name         string `json:"name"`
	Secret       Secret `json:"tunnel_secret,omitempty"`
	ConfigSource string `json:"config_src,omitempty"`
}

// ApplicationType is the only type of application that this control plane knows.
const ApplicationType = "infrastructure"

// Application is an infrastructure application, in answers: exactly the keys by which clients recognise one.
type Application struct {
	ID       string     `json:"id"`
	Type     string     `json:"type"`
	Name     string     `json:"name"`
	AUD      string     `json:"aud"`
	Criteria []Criteria `json:"target_criteria"`
	Policies []Policy   `json:"policies"`
}

// Criteria selects targets: by target_attributes, or by any of include, all of require and none of exclude. What was
// not sent is not in the answer, and an empty list that was sent is.
type Criteria struct {
	Attributes map[string][]string `json:"target_attributes,omitzero"`
	Include    []CriteriaEntry     `json:"include,omitzero"`
	Require    []CriteriaEntry     `json:"require,omitzero"`
	Exclude    []CriteriaEntry     `json:"exclude,omitzero"`
	Port       int                 `json:"port" openapi:"required,min=1,max=65535"`
	Protocol   string              `json:"protocol" openapi:"required"`
}

// CriteriaEntry is one of a list of criteria: a target has one value of each attribute and of each tag.
type CriteriaEntry struct {
	Attributes map[string][]string `json:"target_attributes,omitzero"`
	Tags       map[string][]string `json:"tags,omitzero"`
}

// ApplicationWrite creates or replaces an application. Nil Policies leave the policies alone, none removes them.
type ApplicationWrite struct {
	Name     string         `json:"name" openapi:"required"`
	Type     string         `json:"type" openapi:"required,enum=infrastructure"`
	Criteria []Criteria     `json:"target_criteria" openapi:"required"`
	Policies *[]PolicyWrite `json:"policies,omitempty" openapi:"orstring"`
}

// Policy is a policy of an application.
type Policy struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Decision string `json:"decision"`
	// Precedence is the policy's place in its application; a reusable policy by itself has none.
	Precedence int              `json:"precedence,omitempty"`
	Include    []access.Rule    `json:"include"`
	Exclude    []access.Rule    `json:"exclude"`
	Require    []access.Rule    `json:"require"`
	Connection *ConnectionRules `json:"connection_rules,omitempty"`
	// Reusable says that the application only refers to it; it is changed at /access/policies.
	Reusable  bool   `json:"reusable,omitempty"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
}

// PolicyWrite creates or replaces a policy. Precedence 0 asks for the next free one.
type PolicyWrite struct {
	ID         string           `json:"id,omitempty"`
	Name       string           `json:"name"`
	Decision   string           `json:"decision"`
	Precedence int              `json:"precedence,omitempty"`
	Include    []access.Rule    `json:"include"`
	Exclude    []access.Rule    `json:"exclude,omitempty"`
	Require    []access.Rule    `json:"require,omitempty"`
	Connection *ConnectionRules `json:"connection_rules,omitempty"`
}

// ConnectionRules says how a granted connection may be used.
type ConnectionRules struct {
	SSH *SSHRules `json:"ssh,omitempty"`
	// RDP only reusable policies have.
	RDP *RDPRules `json:"rdp,omitempty"`
}

// SSHRules are the UNIX users that a policy grants, and what else it allows a login. What is not set is left out, so
// that a client that does not know it sees what it wrote.
type SSHRules struct {
	Usernames        []string          `json:"usernames"`
	AllowEmailAlias  bool              `json:"allow_email_alias"`
	LocalForwarding  *LocalForwarding  `json:"local_forwarding,omitempty"`
	RemoteForwarding *RemoteForwarding `json:"remote_forwarding,omitempty"`
	AgentForwarding  bool              `json:"agent_forwarding,omitempty"`
	X11Forwarding    bool              `json:"x11_forwarding,omitempty"`
	// As written, such as "8h" and "15m"; "": no limit.
	MaxSessionDuration string `json:"max_session_duration,omitempty"`
	IdleTimeout        string `json:"idle_timeout,omitempty"`
}

// LocalForwarding is what a login may reach from the target; see access.LocalForwarding.
type LocalForwarding struct {
	Destinations []string `json:"destinations"`
}

// RemoteForwarding is what a login may have the target listen on; see access.RemoteForwarding.
type RemoteForwarding struct {
	Listen []string `json:"listen"`
}

// GatewayCA is the certificate authority of upstream SSH logins.
type GatewayCA struct {
	ID        string `json:"id"`
	PublicKey string `json:"public_key"` // authorized_keys form
}

// ApplicationCA is the authority of upstream SSH logins as an application shows it: that of the account.
type ApplicationCA struct {
	ID        string `json:"id"`
	AUD       string `json:"aud"`
	PublicKey string `json:"public_key"` // authorized_keys form
}

// DeviceUser is the user of a device.
type DeviceUser struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Name  string `json:"name"`
}

// Device is an enrolled device in the older of the two forms.
type Device struct {
	ID           string     `json:"id"`
	Name         string     `json:"name"`
	DeviceType   string     `json:"device_type"`
	Version      string     `json:"version"`
	User         DeviceUser `json:"user"`
	Created      string     `json:"created"`
	Updated      string     `json:"updated"`
	LastSeen     string     `json:"last_seen"`
	RevokedAt    *string    `json:"revoked_at"`
	DeletedAt    *string    `json:"deleted_at"`
	IP           string     `json:"ip"`
	Key          string     `json:"key"`
	MACAddress   string     `json:"mac_address"`
	SerialNumber string     `json:"serial_number"`

	Deleted          bool   `json:"deleted"`
	GatewayDeviceID  string `json:"gateway_device_id"`
	KeyType          string `json:"key_type"`
	TunnelType       string `json:"tunnel_type"`
	Manufacturer     string `json:"manufacturer,omitempty"`
	Model            string `json:"model,omitempty"`
	OSVersion        string `json:"os_version,omitempty"`
	OSVersionExtra   string `json:"os_version_extra,omitempty"`
	OSDistroName     string `json:"os_distro_name,omitempty"`
	OSDistroRevision string `json:"os_distro_revision,omitempty"`
}

// Registration is one enrolment of a device.
type Registration struct {
	ID         string             `json:"id"`
	CreatedAt  string             `json:"created_at"`
	UpdatedAt  string             `json:"updated_at"`
	LastSeenAt string             `json:"last_seen_at"`
	RevokedAt  *string            `json:"revoked_at"`
	DeletedAt  *string            `json:"deleted_at"`
	Key        string             `json:"key"`
	KeyType    string             `json:"key_type"`
	TunnelType string             `json:"tunnel_type"`
	Device     RegistrationDevice `json:"device"`
	User       DeviceUser         `json:"user"`
	// Policy is the profile of the device, when it was asked for.
	Policy *DevicePolicyRef `json:"policy,omitempty"`
}

// DevicePolicyRef names the profile of a device.
type DevicePolicyRef struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Default   bool   `json:"default"`
	Deleted   bool   `json:"deleted"` // always false: a profile that is gone has no devices
	UpdatedAt string `json:"updated_at,omitempty"`
}

// LastSeenRegistration is what a list of devices includes of their registrations, when it was asked for.
type LastSeenRegistration struct {
	Policy *DevicePolicyRef `json:"policy"`
}

// RegistrationDevice is the device of a registration.
type RegistrationDevice struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	ClientVersion string `json:"client_version"`
}

// PhysicalDevice is a device with all its registrations.
type PhysicalDevice struct {
	ID                  string     `json:"id"`
	Name                string     `json:"name"`
	ActiveRegistrations int        `json:"active_registrations"`
	CreatedAt           string     `json:"created_at"`
	UpdatedAt           string     `json:"updated_at"`
	LastSeenAt          string     `json:"last_seen_at"`
	DeletedAt           *string    `json:"deleted_at"`
	ClientVersion       string     `json:"client_version"`
	DeviceType          string     `json:"device_type"`
	LastSeenUser        DeviceUser `json:"last_seen_user"`

	PublicIP             string                `json:"public_ip,omitempty"`
	SerialNumber         string                `json:"serial_number,omitempty"`
	Manufacturer         string                `json:"manufacturer,omitempty"`
	Model                string                `json:"model,omitempty"`
	OSVersion            string                `json:"os_version,omitempty"`
	OSVersionExtra       string                `json:"os_version_extra,omitempty"`
	LastSeenRegistration *LastSeenRegistration `json:"last_seen_registration,omitempty"`
}

// User is a user that has enrolled a device.
type User struct {
	ID                string  `json:"id"`
	UID               string  `json:"uid"`
	Email             string  `json:"email"`
	Name              string  `json:"name"`
	AccessSeat        bool    `json:"access_seat"`
	GatewaySeat       bool    `json:"gateway_seat"`
	SeatUID           string  `json:"seat_uid"`
	ActiveDeviceCount int     `json:"active_device_count"`
	CreatedAt         string  `json:"created_at"`
	UpdatedAt         string  `json:"updated_at"`
	RevokedAt         *string `json:"revoked_at"`
	// LastSuccessfulLogin is the last enrolment or SSH login on record.
	LastSuccessfulLogin *string `json:"last_successful_login,omitempty"`
}

// RevokeUser names the user to revoke.
type RevokeUser struct {
	Email string `json:"email" openapi:"required"`
}

// TokenStatus is the answer to a look at one's own token.
type TokenStatus struct {
	ID     string    `json:"id"`
	Status string    `json:"status"`
	Since  time.Time `json:"not_before"`
	// Until is when it expires; absent: never.
	Until *time.Time `json:"expires_on,omitempty"`
}

// TunnelConnection is a connector of a tunnel that is in contact, with its connections.
type TunnelConnection struct {
	ID            string       `json:"id"`
	Arch          string       `json:"arch"` // not known: empty
	ClientVersion string       `json:"version"`
	Features      []string     `json:"features"`
	OpenedAt      string       `json:"run_at"`
	OriginIP      string       `json:"origin_ip"`
	ConfigVersion int64        `json:"config_version"`
	Conns         []TunnelConn `json:"conns"`
}

// TunnelConn is the connection of a connector to the control plane, which is how control knows that it is there.
type TunnelConn struct {
	ID                 string `json:"id"`
	UUID               string `json:"uuid"`
	ClientID           string `json:"client_id"`
	ClientVersion      string `json:"client_version"`
	ColoName           string `json:"colo_name"`
	IsPendingReconnect bool   `json:"is_pending_reconnect"`
	OpenedAt           string `json:"opened_at"`
	OriginIP           string `json:"origin_ip"`
}

// TunnelConfiguration is what clients keep for a tunnel. Connectors here need none: it is kept and comes back as it was sent.
type TunnelConfiguration struct {
	AccountID string          `json:"account_id"`
	TunnelID  string          `json:"tunnel_id"`
	Config    json.RawMessage `json:"config"`
	Source    string          `json:"source"`
	Version   int64           `json:"version"`
	CreatedAt string          `json:"created_at"`
}

// NetworkRule is a gateway rule on layer 4, in answers. Precedence and the three expressions come back exactly as they
// were sent: the Terraform providers take any other spelling for a change.
type NetworkRule struct {
	ID            string         `json:"id"`
	Name          string         `json:"name"`
	Description   *string        `json:"description"` // null when none was written
	Precedence    int64          `json:"precedence"`
	Enabled       bool           `json:"enabled"`
	Action        string         `json:"action"`
	Filters       []string       `json:"filters"`
	Traffic       string         `json:"traffic"`
	Identity      string         `json:"identity"`
	DevicePosture string         `json:"device_posture"`
	RuleSettings  map[string]any `json:"rule_settings"`
	Schedule      *struct{}      `json:"schedule"`   // always null: schedules are not enforced, and refused
	Expiration    *struct{}      `json:"expiration"` // likewise
	Version       int64          `json:"version"`
	CreatedAt     string         `json:"created_at"`
	UpdatedAt     string         `json:"updated_at"`
	DeletedAt     *string        `json:"deleted_at"` // always null
}

// NetworkRuleWrite creates or replaces a rule; with PATCH, what is nil stays.
type NetworkRuleWrite struct {
	Name          *string        `json:"name,omitempty"`
	Description   *string        `json:"description,omitempty"`
	Precedence    *int64         `json:"precedence,omitempty"`
	Enabled       *bool          `json:"enabled,omitempty"`
	Action        *string        `json:"action,omitempty"`
	Filters       []string       `json:"filters,omitempty"`
	Traffic       *string        `json:"traffic,omitempty"`
	Identity      *string        `json:"identity,omitempty"`
	DevicePosture *string        `json:"device_posture,omitempty"`
	RuleSettings  map[string]any `json:"rule_settings,omitempty"`
	Schedule      map[string]any `json:"schedule,omitempty"`
	Expiration    map[string]any `json:"expiration,omitempty"`
}

// List is a list of values that network rules name. Items are left out of the list of lists.
type List struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Type        string     `json:"type"`
	Description string     `json:"description"`
	Count       int        `json:"count"`
	Items       []ListItem `json:"items,omitempty"`
	CreatedAt   string     `json:"created_at"`
	UpdatedAt   string     `json:"updated_at"`
}

// ListItem is one value of a list.
type ListItem struct {
	Value       string `json:"value"`
	Description string `json:"description,omitempty"`
	CreatedAt   string `json:"created_at,omitempty"`
}

// ListWrite creates or replaces a list; nil fields of a replacement stay. The type of a list does not change.
type ListWrite struct {
	Name        *string         `json:"name,omitempty"`
	Type        *string         `json:"type,omitempty"`
	Description *string         `json:"description,omitempty"`
	Items       []ListItemWrite `json:"items,omitempty"`
}

// ListItemWrite is a value to add. CreatedAt is what clients send back from an answer; it is not taken.
type ListItemWrite struct {
	Value       string `json:"value"`
	Description string `json:"description,omitempty"`
	CreatedAt   string `json:"created_at,omitempty"`
}

// ListPatch adds and removes values.
type ListPatch struct {
	Append []ListItemWrite `json:"append"`
	Remove []string        `json:"remove"`
}

// RuleGroup is a named set of rules that policies refer to.
type RuleGroup struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Include   []access.Rule `json:"include"`
	Exclude   []access.Rule `json:"exclude"`
	Require   []access.Rule `json:"require"`
	CreatedAt string        `json:"created_at"`
	UpdatedAt string        `json:"updated_at"`
}

// RuleGroupWrite creates or replaces a rule group.
type RuleGroupWrite struct {
	Name    string        `json:"name" openapi:"required"`
	Include []access.Rule `json:"include" openapi:"required"`
	Exclude []access.Rule `json:"exclude,omitempty"`
	Require []access.Rule `json:"require,omitempty"`
}
