package localapi

import "time"

// Paths of the settings.
const (
	PathSettings      = "/v1/settings"       // GET -> SettingList; POST SetSetting -> SettingList
	PathSettingsReset = "/v1/settings/reset" // POST ResetSettings -> SettingList
	PathMDM           = "/v1/mdm"            // GET -> ManagedConfig; POST SetManagedConfig -> ManagedConfig
	PathMDMRefresh    = "/v1/mdm/refresh"    // POST -> ManagedConfig
)

// Names of the settings.
const (
	SettingMode        = "operation_mode"  // ModeProxy or ModeTunnelOnly
	SettingProxyPort   = "proxy_port"      // of SOCKS5 and HTTP CONNECT
	SettingAutoConnect = "auto_connect"    // minutes after which a disconnected agent connects again; 0: never
	SettingProtocol    = "tunnel_protocol" // "wireguard"
	SettingEndpoint    = "tunnel_endpoint" // HOST:PORT instead of what control says; empty: what control says
	SettingLocked      = "switch_locked"   // "true": the user may not disconnect; managed only
	SettingSupportURL  = "support_url"     // managed only
	SettingOrg         = "organization"    // managed only
)

// The values of operation_mode.
const (
	ModeProxy      = "proxy"       // SOCKS5 and HTTP CONNECT listen
	ModeTunnelOnly = "tunnel_only" // only the local API and forwards reach targets
)

// Origins of a setting, the later ones win.
const (
	OriginDefault = "default"
	OriginFlag    = "command_line" // of warp-svc
	OriginUser    = "user"
	OriginMDM     = "mdm"
)

// Setting is one setting; its value is text whatever it means.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Origin  string `json:"origin"`
	// Locked settings can be changed by the administrator only.
	Locked      bool   `json:"locked"`
	Description string `json:"description"`
}

// SettingList answers PathSettings, by name.
type SettingList struct {
	SchemaVersion int       `json:"schema_version"`
	Settings      []Setting `json:"settings"`
}

// SetSetting changes one setting.
type SetSetting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ResetSettings gives settings their defaults; no name means all.
type ResetSettings struct {
	Names []string `json:"names"`
}

// Disconnect takes the tunnel down; ForSeconds other than 0 brings it back after that time.
type Disconnect struct {
	ForSeconds int `json:"for_seconds"`
}

// ManagedConfig is the administrator's settings file as the agent read it.
type ManagedConfig struct {
	SchemaVersion int `json:"schema_version"`
	// Path is the file in force; "" when there is none.
	Path     string    `json:"path"`
	Searched []string  `json:"searched"` // where it is looked for, first match wins
	LoadedAt time.Time `json:"loaded_at"`
	// Settings are by key; secrets are redacted.
	Settings []ManagedSetting `json:"settings"`
	// Ignored keys are known from other clients and mean nothing here.
	Ignored []string `json:"ignored"`
}

// ManagedSetting is one key of the file.
type ManagedSetting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// SetManagedConfig replaces the file. Content is JSON or a plist <dict>.
type SetManagedConfig struct {
	Content string `json:"content"`
}
