package api

// DeviceProfile is the settings of the devices that match, or of all others. It answers with every member; those that the
// agents of this control plane do not honour are kept for clients that compare them.
type DeviceProfile struct {
	PolicyID            string `json:"policy_id"`
	Default             bool   `json:"default"`
	Name                string `json:"name"`
	Description         string `json:"description"`
	Match               string `json:"match,omitempty"`
	Precedence          int64  `json:"precedence,omitempty"`
	Enabled             bool   `json:"enabled"`
	AllowModeSwitch     bool   `json:"allow_mode_switch"`
	AllowUpdates        bool   `json:"allow_updates"`
	AllowedToLeave      bool   `json:"allowed_to_leave"`
	AutoConnect         int64  `json:"auto_connect"`
	CaptivePortal       int64  `json:"captive_portal"`
	DisableAutoFallback bool   `json:"disable_auto_fallback"`
	ExcludeOfficeIPs    bool   `json:"exclude_office_ips"`
	GatewayUniqueID     string `json:"gateway_unique_id"`
	// Absent unless they were written: a client that wrote none would want to take a default away.
	LANAllowMinutes            *int64           `json:"lan_allow_minutes,omitempty"`
	LANAllowSubnetSize         *int64           `json:"lan_allow_subnet_size,omitempty"`
	RegisterInterfaceIPWithDNS bool             `json:"register_interface_ip_with_dns"`
	SCCMVPNBoundarySupport     bool             `json:"sccm_vpn_boundary_support"`
	ServiceMode                ServiceMode      `json:"service_mode_v2"`
	SupportURL                 string           `json:"support_url"`
	SwitchLocked               bool             `json:"switch_locked"`
	TunnelProtocol             string           `json:"tunnel_protocol"`
	Exclude                    []SplitTunnel    `json:"exclude"`
	Include                    []SplitTunnel    `json:"include"`
	FallbackDomains            []FallbackDomain `json:"fallback_domains"`
	DNSSearchSuffixes          []SearchSuffix   `json:"dns_search_suffixes"`
	TargetTests                []struct{}       `json:"target_tests"` // always empty
	// UpdatedAt is not in the object that clients know; lists of registrations show it.
	UpdatedAt string `json:"-"`
	// Networks limits the virtual networks of the devices; nil: all.
	Networks *ProfileNetworks `json:"virtual_networks,omitempty"`
}

// ServiceMode is how the client works.
type ServiceMode struct {
	Mode string `json:"mode"`
	Port int64  `json:"port,omitempty"`
}

// ProfileNetworks are the virtual networks of a profile. None allowed means all.
type ProfileNetworks struct {
	Allowed []string `json:"allowed"`
	Default string   `json:"default,omitempty"`
}

// SplitTunnel is an address or a host that goes through the tunnel, or does not.
type SplitTunnel struct {
	Address     string `json:"address,omitempty"`
	Host        string `json:"host,omitempty"`
	Description string `json:"description,omitempty"`
}

// SearchSuffix is what a client's system appends to short names.
type SearchSuffix struct {
	Suffix      string `json:"suffix"`
	Description string `json:"description,omitempty"`
}

// FallbackDomain is a domain that other servers resolve.
type FallbackDomain struct {
	Suffix      string   `json:"suffix"`
	Description string   `json:"description,omitempty"`
	DNSServer   []string `json:"dns_server,omitempty"`
}

// DeviceSettings are the settings of all devices of the account. They are kept for clients that compare them: a gateway
// here carries TCP and UDP whatever they say.
type DeviceSettings struct {
	DisableForTime int64 `json:"disable_for_time"`
	// Absent unless they were written: a client that wrote none would want to take a default away.
	ExternalEmergencySignalEnabled     *bool  `json:"external_emergency_signal_enabled,omitempty"`
	ExternalEmergencySignalFingerprint string `json:"external_emergency_signal_fingerprint,omitempty"`
	ExternalEmergencySignalInterval    string `json:"external_emergency_signal_interval,omitempty"`
	ExternalEmergencySignalURL         string `json:"external_emergency_signal_url,omitempty"`
	GatewayProxyEnabled                bool   `json:"gateway_proxy_enabled"`
	GatewayUDPProxyEnabled             bool   `json:"gateway_udp_proxy_enabled"`
	RootCertificateInstallationEnabled bool   `json:"root_certificate_installation_enabled"`
	UseZTVirtualIP                     bool   `json:"use_zt_virtual_ip"`
}
