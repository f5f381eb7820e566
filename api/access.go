package api

// ReusablePolicy is a policy that applications share, with how many do.
type ReusablePolicy struct {
	Policy
	PolicyOptions
	AppCount int `json:"app_count"`
}

// ServiceToken is a pair of a client ID and a secret by which a machine enrols without a user. The secret is part of it only in
// the answer that made it.
type ServiceToken struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	ClientID     string `json:"client_id"`
	ClientSecret Secret `json:"client_secret,omitempty"`
	// SecretVersion counts the secrets; the former one is good until PreviousExpiresAt.
	SecretVersion     int64   `json:"client_secret_version"`
	PreviousExpiresAt *string `json:"previous_client_secret_expires_at,omitempty"`
	// Duration is how long the token is good from its creation or last refresh, as it was written: "8760h", "forever".
	Duration   string  `json:"duration"`
	ExpiresAt  *string `json:"expires_at"` // null: never
	Enabled    bool    `json:"enabled"`
	LastSeenAt *string `json:"last_seen_at,omitempty"`
	CreatedAt  string  `json:"created_at"`
	UpdatedAt  string  `json:"updated_at"`
}

// ServiceTokenWrite creates or changes a service token; what is nil stays, or is the default. The version after the present one
// asks for a new secret.
type ServiceTokenWrite struct {
	Name              *string `json:"name"`
	Duration          *string `json:"duration"`
	Enabled           *bool   `json:"enabled"`
	SecretVersion     *int64  `json:"client_secret_version"`
	PreviousExpiresAt *string `json:"previous_client_secret_expires_at" openapi:"format=date-time"`
}

// IdentityProvider is an identity provider. Its client_secret does not come back, its api_token only to who may write it, and as
// RedactedSecret to others; written so, or with client_secret left out, they stay what they are. What is said of SCIM is kept
// and does nothing: users come from enrolments.
type IdentityProvider struct {
	ID         string         `json:"id"`
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Config     map[string]any `json:"config"`
	SCIMConfig map[string]any `json:"scim_config,omitempty"`
	CreatedAt  string         `json:"created_at"`
	UpdatedAt  string         `json:"updated_at"`
	// ForWriters is Config as it is shown to who may write it.
	ForWriters map[string]any `json:"-"`
}

// RedactedSecret stands for a secret that is kept and not shown.
const RedactedSecret = "**********************************"

// IdentityProviderWrite creates or replaces an identity provider.
type IdentityProviderWrite struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Config     map[string]any `json:"config"`
	SCIMConfig map[string]any `json:"scim_config"`
}

// Organization is what holds for the whole account. Durations are kept as they were written.
type Organization struct {
	Name                     string            `json:"name"`
	AuthDomain               string            `json:"auth_domain"`
	LoginDesign              map[string]string `json:"login_design,omitempty"`
	CustomPages              map[string]string `json:"custom_pages,omitempty"`
	IsUIReadOnly             *bool             `json:"is_ui_read_only,omitempty"`
	UIReadOnlyReason         string            `json:"ui_read_only_toggle_reason,omitempty"`
	AutoRedirectToIdentity   *bool             `json:"auto_redirect_to_identity,omitempty"`
	AllowAuthenticateViaWARP *bool             `json:"allow_authenticate_via_warp,omitempty"`
	// What is said about zones is kept and means nothing here: an account has none.
	DenyUnmatchedRequests   *bool    `json:"deny_unmatched_requests,omitempty"`
	DenyUnmatchedExempt     []string `json:"deny_unmatched_requests_exempted_zone_names,omitempty"`
	SessionDuration         string   `json:"session_duration,omitempty"`
	WARPAuthSessionDuration string   `json:"warp_auth_session_duration,omitempty"`
	UserSeatExpiration      string   `json:"user_seat_expiration_inactive_time,omitempty"`
	CreatedAt               string   `json:"created_at"`
	UpdatedAt               string   `json:"updated_at"`
}

// OrganizationWrite replaces all; what is nil is not set any longer, but for name and domain, which stay.
type OrganizationWrite struct {
	Name                     *string           `json:"name"`
	AuthDomain               *string           `json:"auth_domain"`
	LoginDesign              map[string]string `json:"login_design"`
	CustomPages              map[string]string `json:"custom_pages"`
	IsUIReadOnly             *bool             `json:"is_ui_read_only"`
	UIReadOnlyReason         *string           `json:"ui_read_only_toggle_reason"`
	AutoRedirectToIdentity   *bool             `json:"auto_redirect_to_identity"`
	AllowAuthenticateViaWARP *bool             `json:"allow_authenticate_via_warp"`
	DenyUnmatchedRequests    *bool             `json:"deny_unmatched_requests"`
	DenyUnmatchedExempt      []string          `json:"deny_unmatched_requests_exempted_zone_names"`
	SessionDuration          *string           `json:"session_duration"`
	WARPAuthSessionDuration  *string           `json:"warp_auth_session_duration"`
	UserSeatExpiration       *string           `json:"user_seat_expiration_inactive_time"`
}

// UserWrite creates a user before the first enrolment, or replaces e-mail address and name.
type UserWrite struct {
	Email string `json:"email"`
	Name  string `json:"name"`
}

// AccessEvent is an enrolment or an SSH login, allowed or refused, as the control plane decided it.
type AccessEvent struct {
	Action     string `json:"action" openapi:"optional"` // "enrol" or "login"
	Allowed    bool   `json:"allowed" openapi:"optional"`
	AppDomain  string `json:"app_domain" openapi:"optional"` // the target's hostname; infrastructure applications have no domain
	AppUID     string `json:"app_uid" openapi:"optional"`
	AppName    string `json:"app_name" openapi:"optional"`
	Connection string `json:"connection" openapi:"optional"` // what vouched for the user: "enrolment_key", "service_token" or "device"
	CreatedAt  string `json:"created_at" openapi:"optional"`
	IPAddress  string `json:"ip_address" openapi:"optional"`
	RayID      string `json:"ray_id" openapi:"optional"` // of the request, as in X-Request-Id
	UserEmail  string `json:"user_email" openapi:"optional"`
	UserID     string `json:"user_id" openapi:"optional"`
	DeviceID   string `json:"device_id" openapi:"optional"`
	TargetID   string `json:"target_id" openapi:"optional"`
	Username   string `json:"username" openapi:"optional"` // UNIX user of a login
	Reason     string `json:"reason" openapi:"optional"`   // of a refusal
}

// UserSession is a registration of a user that is in force. It has no end of its own: expiration 0.
type UserSession struct {
	Name       string              `json:"name"` // of the device
	Expiration int64               `json:"expiration"`
	Metadata   UserSessionMetadata `json:"metadata"`
}

// UserSessionMetadata tells one session from another by its nonce, the ID of the registration.
type UserSessionMetadata struct {
	Apps     map[string]UserSessionApp `json:"apps"` // to which the device logged in, by ID
	Expires  int64                     `json:"expires"`
	IssuedAt int64                     `json:"iat"`
	Nonce    string                    `json:"nonce"`
	TTL      int64                     `json:"ttl"`
}

// UserSessionApp is an application in which a session was used.
type UserSessionApp struct {
	Hostname string `json:"hostname"`
	Name     string `json:"name"`
	Type     string `json:"type"`
	UID      string `json:"uid"`
}

// FailedLogin is a refusal on record; it is removed at its expiration.
type FailedLogin struct {
	Expiration int64               `json:"expiration"`
	Metadata   FailedLoginMetadata `json:"metadata"`
}

// FailedLoginMetadata says what was refused.
type FailedLoginMetadata struct {
	AppName   string `json:"app_name"`
	AUD       string `json:"aud"`
	Datetime  string `json:"datetime"`
	RayID     string `json:"ray_id"`
	UserEmail string `json:"user_email"`
	UserUUID  string `json:"user_uuid"`
	Reason    string `json:"reason"`
}

// UserIdentity is a user behind a device, as policies see them.
type UserIdentity struct {
	AccountID          string                       `json:"account_id"`
	AuthStatus         string                       `json:"auth_status"`
	CommonName         string                       `json:"common_name"`
	DeviceID           string                       `json:"device_id"`
	DeviceSessions     map[string]UserDeviceSession `json:"device_sessions"`
	DevicePosture      map[string]any               `json:"devicePosture"`
	Email              string                       `json:"email"`
	Name               string                       `json:"name"`
	Groups             []string                     `json:"groups"`
	Geo                map[string]string            `json:"geo"`
	IssuedAt           int64                        `json:"iat"`
	IDP                map[string]string            `json:"idp"`
	IP                 string                       `json:"ip"`
	IsGateway          bool                         `json:"is_gateway"`
	IsWARP             bool                         `json:"is_warp"`
	IsActive           bool                         `json:"isActive"`
	ServiceTokenID     string                       `json:"service_token_id"`
	ServiceTokenStatus bool                         `json:"service_token_status"`
	UserUUID           string                       `json:"user_uuid"`
	Version            int                          `json:"version"`
}

// UserDeviceSession says when a device was last seen, in Unix seconds.
type UserDeviceSession struct {
	LastAuthenticated int64 `json:"last_authenticated"`
}

// AuditLog is a change by whoever could make it, in the older of the two forms.
type AuditLog struct {
	ID           string           `json:"id"`
	Action       AuditLogAction   `json:"action"`
	Actor        AuditLogActor    `json:"actor"`
	Interface    string           `json:"interface"`
	Metadata     map[string]any   `json:"metadata"`
	NewValue     string           `json:"newValue"`
	NewValueJSON map[string]any   `json:"newValueJson"`
	OldValue     string           `json:"oldValue"`
	OldValueJSON map[string]any   `json:"oldValueJson"`
	Owner        AuditLogOwner    `json:"owner"`
	Resource     AuditLogResource `json:"resource"`
	When         string           `json:"when"`
}

// AuditLogAction is what was done. What was refused is not in the log.
type AuditLogAction struct {
	Result bool   `json:"result"`
	Type   string `json:"type"`
}

// AuditLogActor is who did it.
type AuditLogActor struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	IP    string `json:"ip"`
	Type  string `json:"type"`
}

// AuditLogOwner is whose log it is.
type AuditLogOwner struct {
	ID string `json:"id"`
}

// AuditLogResource is what was changed.
type AuditLogResource struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// AuditEntry is a change in the newer form.
type AuditEntry struct {
	ID       string             `json:"id"`
	Account  AuditEntryAccount  `json:"account"`
	Action   AuditEntryAction   `json:"action"`
	Actor    AuditEntryActor    `json:"actor"`
	Resource AuditEntryResource `json:"resource"`
}

// AuditEntryAccount is whose log it is.
type AuditEntryAccount struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// AuditEntryAction is what was done: "create", "update" or "delete", with Weft's own name of it.
type AuditEntryAction struct {
	Description string `json:"description"`
	Result      string `json:"result"`
	Time        string `json:"time"`
	Type        string `json:"type"`
}

// AuditEntryActor is who did it, by what credential.
type AuditEntryActor struct {
	ID        string `json:"id"`
	Context   string `json:"context,omitempty"`
	Email     string `json:"email,omitempty"`
	IPAddress string `json:"ip_address,omitempty"`
	TokenID   string `json:"token_id,omitempty"`
	TokenName string `json:"token_name,omitempty"`
	Type      string `json:"type"`
}

// AuditEntryResource is what was changed, and how it is after.
type AuditEntryResource struct {
	ID       string `json:"id"`
	Product  string `json:"product"`
	Type     string `json:"type"`
	Scope    string `json:"scope"`
	Response any    `json:"response,omitempty"`
}

// CursorInfo is the result_info of a list that goes on at a cursor; an empty one ends it. It has the cursor in both of the places
// where clients look for one.
type CursorInfo struct {
	Count   int     `json:"count"`
	PerPage int     `json:"per_page"`
	Cursor  string  `json:"cursor"`
	Cursors Cursors `json:"cursors"`
}

// Cursors hold the cursor after a page.
type Cursors struct {
	After string `json:"after"`
}
