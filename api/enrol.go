package api

import "time"

// NewEnrolmentKey asks for a key by which a device can register for a user.
type NewEnrolmentKey struct {
	// Email is whose key it is; empty with ServiceToken.
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
	// Groups are memberships that the administrator vouches for.
	Groups []string `json:"groups,omitempty"`
	// TTLSeconds until the key expires; 0 means 24 hours.
	TTLSeconds int `json:"ttl_seconds,omitempty"`
	// MaxUses; 0 means 1 (one-shot).
	MaxUses int `json:"max_uses,omitempty"`
	// ServiceToken asks for the enrolment string of a service token instead of a new key, and nothing else may be given then.
	ServiceToken *ServiceTokenPair `json:"service_token,omitempty"`
}

// ServiceTokenPair is what a service token is used by.
type ServiceTokenPair struct {
	ClientID     string `json:"client_id"`
	ClientSecret Secret `json:"client_secret"`
}

// EnrolmentKey is shown once.
type EnrolmentKey struct {
	ID string `json:"id"`
	// Enrolment is the whole enrolment string: control URL, CA fingerprint and secret (see EnrolmentString).
	Enrolment string    `json:"enrolment"`
	Email     string    `json:"email"`
	MaxUses   int       `json:"max_uses"`   // 0: any number
	ExpiresAt time.Time `json:"expires_at"` // zero: never
}

// EnrolRequest registers a device.
type EnrolRequest struct {
	Key        string `json:"key"`
	DeviceName string `json:"device_name"`
	OS         string `json:"os"`
	Version    string `json:"version"`
	PublicKey  string `json:"public_key"` // WireGuard, base64
}

// EnrolResponse is what the agent keeps.
type EnrolResponse struct {
	AccountID      string `json:"account_id"`
	DeviceID       string `json:"device_id"`
	RegistrationID string `json:"registration_id"`
	// Token authenticates the device from now on; the control plane keeps only its hash.
	Token string `json:"token"`
	Email string `json:"email"`
	// CAPEM is the certificate authority to trust for this control plane; empty: the system's.
	CAPEM string `json:"ca_pem,omitempty"`
}

// AgentSelf is what a device may know about its own registration.
type AgentSelf struct {
	AccountID string    `json:"account_id"`
	DeviceID  string    `json:"device_id"`
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	PublicKey string    `json:"public_key"`
	CreatedAt time.Time `json:"created_at"`
}

// AgentKey changes the WireGuard key of a device, in two steps, so that at no time none works. First the new key is
// offered: gateways shake hands with it, and carry nothing for it. When a handshake has succeeded the device confirms
// it: from then on it is the device's key, and the old one is forgotten. An offer replaces an earlier one; to confirm
// what is already the key changes nothing.
type AgentKey struct {
	PublicKey string `json:"public_key"` // WireGuard, base64
	Confirm   bool   `json:"confirm"`
}

// AgentDevice is a device of the user whose device asks.
type AgentDevice struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	OS         string    `json:"os"`
	Version    string    `json:"version"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	Revoked    bool      `json:"revoked"`
}
