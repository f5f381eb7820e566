package api

// Paths of the recording of SSH sessions, below the control plane's base URL.
const (
	PathRecordingSettings     = "/weft/v1/recording_settings"              // GET with an API token: -> RecordingSettings; PUT: RecordingSetting, the account's
	PathRecordingApplications = "/weft/v1/recording_settings/applications" // GET, PUT, DELETE /{id}: RecordingSetting
)

// The fail modes of recordings.
const (
	RecordingFailStop  = "stop"  // no session without a recording
	RecordingFailAlarm = "alarm" // it goes on, and an alarm is raised
)

// RecordingSetting says whether SSH sessions are recorded. What it leaves open is decided by what stands behind it: for an
// application the gateway's own flags for it, then the account's setting, then the gateway's flags.
type RecordingSetting struct {
	Enabled *bool `json:"enabled"` // null: left open
	// FailMode is what becomes of a session that cannot be recorded; "": left open.
	FailMode string `json:"fail_mode"`
}

// RecordingSettings are all settings.
type RecordingSettings struct {
	Account      RecordingSetting       `json:"account"`
	Applications []RecordingApplication `json:"applications"`
}

// RecordingApplication is the setting of one application.
type RecordingApplication struct {
	ApplicationID string `json:"application_id"`
	RecordingSetting
	UpdatedAt string `json:"updated_at"`
}

// RecordingAccount is the key of the account's own setting in GatewayState.Recording; the others are applications' IDs.
const RecordingAccount = "account"

// AuditSSHSettings say for whom SSH session logs are encrypted (the public API's audit_ssh_settings).
type AuditSSHSettings struct {
	// PublicKey is the one of ssh-log-cli: 32 bytes of X25519 in base64; "": none.
	PublicKey string `json:"public_key"`
	SeedID    string `json:"seed_id,omitempty"`
	CreatedAt string `json:"created_at,omitempty"`
	UpdatedAt string `json:"updated_at,omitempty"`
}

// AuditSSHWrite sets the key.
type AuditSSHWrite struct {
	PublicKey *string `json:"public_key"`
}
