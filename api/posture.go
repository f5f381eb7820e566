package api

import (
	"encoding/json"

	"weft/access/posture"
)

// PathAgentPosture is where a device says what it found: PUT with a device token: PostureReport -> PostureAnswer.
const PathAgentPosture = "/weft/v1/agent/posture"

// What devices report, and are asked; see package posture.
type (
	DeviceFacts        = posture.Facts
	PostureCheck       = posture.Check
	PostureObservation = posture.Observation
	PostureDisk        = posture.Disk
)

// PostureReport is what a device says of itself. A check that is not in it is failed.
type PostureReport struct {
	Facts DeviceFacts `json:"facts"`
	// Observations are by the ID of the check.
	Observations map[string]PostureObservation `json:"observations"`
}

// PostureAnswer tells a device how it did: rule ID to why it failed, "" for those that it passed.
type PostureAnswer struct {
	Results map[string]string `json:"results"`
}

// PostureRule is a device posture rule. Schedule, expiration, match and input come back as they were sent.
type PostureRule struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Type        string          `json:"type"`
	Description string          `json:"description"`
	Schedule    string          `json:"schedule,omitempty"`
	Expiration  string          `json:"expiration,omitempty"`
	Match       []PostureMatch  `json:"match,omitzero"`
	Input       json.RawMessage `json:"input,omitempty"`
}

// PostureMatch names a platform that a posture rule is for.
type PostureMatch struct {
	Platform string `json:"platform"`
}

// PostureRuleWrite creates or replaces a posture rule.
type PostureRuleWrite struct {
	Name        string          `json:"name"`
	Type        string          `json:"type"`
	Description string          `json:"description,omitempty"`
	Schedule    string          `json:"schedule,omitempty"`
	Expiration  string          `json:"expiration,omitempty"`
	Match       []PostureMatch  `json:"match,omitempty"`
	Input       json.RawMessage `json:"input,omitempty"`
}

// PostureIntegration is a connection to another posture provider. It is kept and not asked. Secrets never come back.
type PostureIntegration struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Type     string            `json:"type"`
	Interval string            `json:"interval"`
	Config   map[string]string `json:"config"`
}

// PostureIntegrationWrite creates or, where fields are nil, partly changes an integration.
type PostureIntegrationWrite struct {
	Name     *string           `json:"name,omitempty"`
	Type     *string           `json:"type,omitempty"`
	Interval *string           `json:"interval,omitempty"`
	Config   map[string]string `json:"config,omitempty"`
}
