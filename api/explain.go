package api

import (
	"net/netip"

	"weft/vnet"
)

// An agent asks its gateway what becomes of one flow by a TCP connection from its control slot to the gateway's probe
// address and port: one line with a FlowQuestion, one line with a FlowAnswer, the end. Control asks the same of every
// gateway for an administrator, by the stream at PathGatewayQuestions.

// Limits of the exchange.
const (
	MaxQuestionBytes = 2 << 10
	MaxAnswerBytes   = 64 << 10
)

// FlowQuestion asks what becomes of a TCP flow.
type FlowQuestion struct {
	VNET        vnet.ID        `json:"vnet"`
	Destination netip.AddrPort `json:"destination"`
	// Login is the UNIX user of an SSH login; empty: the flow alone.
	Login string `json:"login"`
}

// FlowAnswer is what a gateway found, step by step, in the order in which it goes about a flow.
type FlowAnswer struct {
	Version  int        `json:"version"`
	Revision uint64     `json:"revision"` // of the state that decided
	Steps    []FlowStep `json:"steps"`
}

// FlowAnswerVersion is the version of FlowAnswer; a receiver takes no other.
const FlowAnswerVersion = 1

// The states of a step.
const (
	StepOK         = "ok"
	StepFailed     = "failed"
	StepNotReached = "not_reached" // a step before it failed
	StepUnknown    = "unknown"     // nothing is known, or nothing may be told
)

// The steps of an explanation.
const (
	StepName     = "name"
	StepTarget   = "target"
	StepVNET     = "vnet"
	StepRoute    = "route"
	StepDevice   = "device"
	StepIdentity = "identity"
	StepPolicy   = "policy"
	StepLogin    = "login"
	StepConnect  = "connector"
	StepTCP      = "tcp"
	StepHostKey  = "ssh_host_key"
	StepSSHLogin = "ssh_login"
)

// FlowStep is one step of a flow's way.
type FlowStep struct {
	Step     string `json:"step"`
	State    string `json:"state"`
	Code     string `json:"code"` // why it failed; empty otherwise
	Evidence string `json:"evidence"`
	// RuleID and RuleName name the policy that decided, when the receiver may know it.
	RuleID   string `json:"rule_id"`
	RuleName string `json:"rule_name"`
}

// GatewayQuestion is a line of the stream at PathGatewayQuestions.
type GatewayQuestion struct {
	ID       string `json:"id"` // empty: a heartbeat
	DeviceID string `json:"device_id"`
	FlowQuestion
	// Sessions or Kill is set when the question is not about a flow.
	Sessions *SessionsQuestion `json:"sessions,omitempty"`
	Kill     *KillQuestion     `json:"kill,omitempty"`
}

// GatewayReply answers a GatewayQuestion.
type GatewayReply struct {
	ID string `json:"id"`
	FlowAnswer
	Sessions *SessionsAnswer `json:"sessions,omitempty"`
	Kill     *KillAnswer     `json:"kill,omitempty"`
	// Answer tells two answers to one question apart, More that further parts of this one follow.
	Answer string `json:"answer,omitempty"`
	More   bool   `json:"more,omitempty"`
}

// ExplainRequest asks why a user may or may not reach a target.
type ExplainRequest struct {
	Email string `json:"email"`
	// Device is the name or ID of one of the user's devices; empty: the one that was seen last.
	Device string `json:"device,omitempty"`
	// Target is a hostname, a target ID or an IP address.
	Target string `json:"target"`
	Port   int    `json:"port"`
	Login  string `json:"login,omitempty"`
	// VNET is a name or ID; empty: that of the target.
	VNET string `json:"virtual_network,omitempty"`
	// Offline leaves the gateways alone.
	Offline bool `json:"offline,omitempty"`
}

// Explain is the whole answer, for administrators.
type Explain struct {
	SchemaVersion int                  `json:"schema_version"`
	Revision      uint64               `json:"revision"`
	Allowed       bool                 `json:"allowed"`
	Code          string               `json:"code"` // of the first step that failed; empty: none did
	Steps         []ExplainStep        `json:"steps"`
	Applications  []ExplainApplication `json:"applications"`
	Gateways      []ExplainGateway     `json:"gateways"`
}

// ExplainSchemaVersion is the version of Explain.
const ExplainSchemaVersion = 1

// ExplainStep is a FlowStep with its remedy.
type ExplainStep struct {
	FlowStep
	Remedy string `json:"remedy"`
}

// ExplainApplication says whether an application has a say, and how each of its policies answered.
type ExplainApplication struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Covers   bool            `json:"covers"`
	Reason   string          `json:"reason"` // why it does not cover the target there; empty when it does
	Policies []ExplainPolicy `json:"policies"`
}

// ExplainPolicy is how one policy answered.
type ExplainPolicy struct {
	ID     string        `json:"id"`
	Name   string        `json:"name"`
	Reason string        `json:"reason"` // allowed, login_not_permitted, require_missing, excluded or no_policy
	Logins []string      `json:"logins"`
	Rules  []ExplainRule `json:"rules"`
}

// ExplainRule is how one rule answered.
type ExplainRule struct {
	List   string `json:"list"`   // include, require or exclude
	Rule   string `json:"rule"`   // its wire form
	Answer string `json:"answer"` // yes, no or unknown
	// Name is that of the rule group or list that the rule refers to.
	Name string `json:"name,omitempty"`
}

// ExplainGateway is what one gateway knows.
type ExplainGateway struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Connected bool       `json:"connected"` // it follows control
	Answered  bool       `json:"answered"`
	Revision  uint64     `json:"revision"`
	Steps     []FlowStep `json:"steps"`
}

// AgentGatewayStatus is what a device may know about the gateways: whether control hears them.
type AgentGatewayStatus struct {
	ID        string `json:"id"`
	Connected bool   `json:"connected"`
}

// Paths of explanations.
const (
	PathExplain          = "/weft/v1/explain"           // POST with an API token: ExplainRequest -> Explain
	PathGatewayQuestions = "/weft/v1/gateway/questions" // GET stream with a gateway token: GatewayQuestion per line
	PathGatewayAnswers   = "/weft/v1/gateway/answers"   // POST with a gateway token: GatewayReply
	PathAgentGateways    = "/weft/v1/agent/gateways"    // GET with a device token: []AgentGatewayStatus
)
