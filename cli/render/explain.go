package render

import (
	"fmt"
	"io"
	"strings"

	"weft/agent/localapi"
)

// stepNames are the steps in words, all as wide as the widest.
var stepNames = map[string]string{
	"name": "name", "target": "target", "vnet": "virtual network", "route": "route", "device": "device", "identity": "identity",
	"policy": "policy", "login": "login", "connector": "connector", "tcp": "TCP", "ssh_host_key": "SSH host key", "ssh_login": "SSH login",
}

const stepWidth = 15

// Explanation writes the way to a target, a line per step.
func Explanation(w io.Writer, st Style, e *localapi.Explanation) error {
	var b strings.Builder
	b.WriteString(Clean(e.Target))
	if e.Login != "" {
		b.WriteString(" as " + Clean(e.Login))
	}
	b.WriteString("\n\n")
	for i := range e.Steps {
		writeStep(&b, st, &e.Steps[i])
	}
	b.WriteByte('\n')
	if e.Stale {
		fmt.Fprintf(&b, "The control plane is not being heard; what is from the list is %s old.\n", Age(e.StateAgeSeconds))
	}
	if e.Code == "" {
		fmt.Fprintf(&b, "%s\n", st.Green(verdict(e)))
	} else {
		fmt.Fprintf(&b, "%s %s\n", st.Red("In the way:"), Clean(e.Code))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func verdict(e *localapi.Explanation) string {
	if !e.Live {
		return "Nothing that this device knows is in the way; the gateway was not asked."
	}
	return "Nothing is in the way."
}

func writeStep(b *strings.Builder, st Style, s *localapi.ExplainStep) {
	name := stepNames[s.Step]
	if name == "" {
		name = Clean(s.Step)
	}
	line := fmt.Sprintf("  %s  %-*s  %s", stateMark(st, s.State), stepWidth, name, Clean(s.Evidence))
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	if s.RuleName != "" || s.RuleID != "" {
		fmt.Fprintf(b, "%*spolicy %s (%s)\n", stepWidth+16, "", Clean(s.RuleName), Clean(s.RuleID))
	}
	if s.State == localapi.StepFailed {
		fmt.Fprintf(b, "%*scode: %s\n%*sremedy: %s\n", stepWidth+16, "", Clean(s.Code), stepWidth+16, "", Clean(s.Remedy))
	}
}

// stateMark is the state of a step, eleven characters wide.
func stateMark(st Style, state string) string {
	switch state {
	case localapi.StepOK:
		return st.Green("ok         ")
	case localapi.StepFailed:
		return st.Red("failed     ")
	case localapi.StepUnknown:
		return st.Yellow("unknown    ")
	case localapi.StepNotReached:
		return "not reached"
	default:
		return fmt.Sprintf("%-11s", Clean(state))
	}
}
