package localapi

// PathExplain is POST ExplainRequest -> Explanation. It may take as long as a dial and a login.
const PathExplain = "/v1/explain"

// ExplainRequest asks what becomes of a connection.
type ExplainRequest struct {
	// Name is a hostname, hostname.vnet, target ID or IP address.
	Name string `json:"name"`
	Port uint16 `json:"port"`
	// Login is the UNIX user of an SSH login; empty: none.
	Login string `json:"login"`
	// VNET (name or ID) overrides the selected one; empty: none asked.
	VNET string `json:"vnet"`
	// Offline asks nobody: the answer is from what the agent knows.
	Offline bool `json:"offline"`
}

// The states of an ExplainStep.
const (
	StepOK         = "ok"
	StepFailed     = "failed"
	StepNotReached = "not_reached"
	StepUnknown    = "unknown"
)

// ExplainStep is one step on the way to a target.
type ExplainStep struct {
	Step     string `json:"step"`
	State    string `json:"state"`
	Code     string `json:"code"` // why it failed; empty otherwise
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy"`
	// RuleID and RuleName are the policy that decided, when it concerns the user.
	RuleID   string `json:"rule_id"`
	RuleName string `json:"rule_name"`
}

// Explanation is the way to a target, step by step. After the first failure nothing is reached.
type Explanation struct {
	SchemaVersion int    `json:"schema_version"`
	Target        string `json:"target"` // as it was asked for
	Login         string `json:"login"`
	// Code is that of the step that failed; empty: none did.
	Code string `json:"code"`
	// Live says that the gateway was asked; otherwise what only it knows is unknown.
	Live            bool          `json:"live"`
	StateAgeSeconds float64       `json:"state_age_seconds"`
	Stale           bool          `json:"stale"` // control is not being heard right now
	Steps           []ExplainStep `json:"steps"`
}
