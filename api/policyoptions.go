package api

// PolicyOptions are what a reusable policy says for applications that people open in a browser. Weft has none of those: the
// options are kept and come back as they were written, and a policy with one that asks for more than a session's length is not
// taken into an infrastructure application, where nothing would enforce it.
type PolicyOptions struct {
	// SessionDuration is how long a login to a browser application is good, such as "24h"; infrastructure applications take
	// the identity of the device, which has no such end.
	SessionDuration  *string         `json:"session_duration,omitempty"`
	ApprovalRequired *bool           `json:"approval_required,omitempty"`
	ApprovalGroups   []ApprovalGroup `json:"approval_groups,omitempty"`
	IsolationNeeded  *bool           `json:"isolation_required,omitempty"`
	PurposeNeeded    *bool           `json:"purpose_justification_required,omitempty"`
	PurposePrompt    *string         `json:"purpose_justification_prompt,omitempty"`
	MFA              *MFAOptions     `json:"mfa_config,omitempty"`
}

// ApprovalGroup is a group of people of whom some must approve.
type ApprovalGroup struct {
	ApprovalsNeeded float64  `json:"approvals_needed"`
	EmailAddresses  []string `json:"email_addresses,omitempty"`
	EmailListID     string   `json:"email_list_uuid,omitempty"`
}

// MFAOptions ask for another factor.
type MFAOptions struct {
	AllowedAuthenticators []string `json:"allowed_authenticators,omitempty"`
	Disabled              *bool    `json:"mfa_disabled,omitempty"`
	SessionDuration       *string  `json:"session_duration,omitempty"`
}

// RDPRules are what a reusable policy says for RDP in a browser; kept like PolicyOptions.
type RDPRules struct {
	LocalToRemote []string `json:"allowed_clipboard_local_to_remote_formats,omitempty"`
	RemoteToLocal []string `json:"allowed_clipboard_remote_to_local_formats,omitempty"`
}

// ReusablePolicyWrite creates or replaces a reusable policy.
type ReusablePolicyWrite struct {
	PolicyWrite
	PolicyOptions
}
