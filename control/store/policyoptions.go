package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/access"
	"weft/api"
	"weft/internal/kind"
)

// Limits of what a reusable policy says for applications that Weft does not have.
const (
	maxApprovalGroups  = 100
	maxApprovers       = 1000
	maxAuthenticators  = 20
	maxClipboardKinds  = 20
	maxOptionText      = 1024
	maxPolicyMFALength = 720 * time.Hour
)

// reusableDecisions are those that a policy may have; an infrastructure application takes policies that allow.
var reusableDecisions = []string{access.DecisionAllow, "deny", "bypass", "non_identity"}

// notAttachable says why an infrastructure application cannot have a policy: what it says would not be enforced, and leaving
// it out would let in more than was written. "" when it can.
func notAttachable(p *api.ReusablePolicy) string {
	is := func(b *bool) bool { return b != nil && *b }
	switch {
	case p.Decision != access.DecisionAllow:
		return fmt.Sprintf("its decision is %q, and that of an infrastructure application must be %q", p.Decision, access.DecisionAllow)
	case is(p.ApprovalRequired) || len(p.ApprovalGroups) > 0:
		return "it asks for approvals"
	case is(p.IsolationNeeded):
		return "it asks for an isolated browser"
	case is(p.PurposeNeeded):
		return "it asks for a justification"
	case p.MFA != nil && (len(p.MFA.AllowedAuthenticators) > 0 || p.MFA.SessionDuration != nil):
		return "it asks for another factor"
	case p.Connection != nil && p.Connection.RDP != nil:
		return "it has rules for RDP in a browser"
	}
	return ""
}

func checkPolicyOptions(p *api.ReusablePolicy) error {
	if !slices.Contains(reusableDecisions, p.Decision) {
		return kind.Field("/decision", "the decision of a policy must be one of %s", strings.Join(reusableDecisions, ", "))
	}
	if err := checkOptionDuration("/session_duration", p.SessionDuration, maxSessionDuration); err != nil {
		return err
	}
	if err := checkComment("/purpose_justification_prompt", deref(p.PurposePrompt)); err != nil {
		return err
	}
	if p.MFA != nil {
		if err := checkOptionDuration("/mfa_config/session_duration", p.MFA.SessionDuration, maxPolicyMFALength); err != nil {
			return err
		}
		if err := checkOptionTexts("/mfa_config/allowed_authenticators", p.MFA.AllowedAuthenticators, maxAuthenticators); err != nil {
			return err
		}
	}
	if p.Connection != nil && p.Connection.RDP != nil {
		for name, list := range map[string][]string{"local_to_remote": p.Connection.RDP.LocalToRemote, "remote_to_local": p.Connection.RDP.RemoteToLocal} {
			if err := checkOptionTexts("/connection_rules/rdp/allowed_clipboard_"+name+"_formats", list, maxClipboardKinds); err != nil {
				return err
			}
		}
	}
	return checkApprovalGroups(p.ApprovalGroups)
}

func checkApprovalGroups(groups []api.ApprovalGroup) error {
	if len(groups) > maxApprovalGroups {
		return kind.Field("/approval_groups", "a policy can have %d approval groups", maxApprovalGroups)
	}
	for i, g := range groups {
		at := "/approval_groups/" + strconv.Itoa(i)
		if g.ApprovalsNeeded < 0 || g.ApprovalsNeeded > maxApprovers || g.ApprovalsNeeded != float64(int(g.ApprovalsNeeded)) {
			return kind.Field(at+"/approvals_needed", "the number of approvals is 0 to %d", maxApprovers)
		}
		if err := checkOptionTexts(at+"/email_addresses", g.EmailAddresses, maxApprovers); err != nil {
			return err
		}
		if err := checkOptionTexts(at+"/email_list_uuid", []string{g.EmailListID}, 1); g.EmailListID != "" && err != nil {
			return err
		}
	}
	return nil
}

func checkOptionDuration(at string, d *string, most time.Duration) error {
	if d == nil {
		return nil
	}
	if v, err := time.ParseDuration(*d); err != nil || v < 0 || v > most {
		return kind.Field(at, "a duration is such as \"24h\", from 0s to %s", most)
	}
	return nil
}

func checkOptionTexts(at string, list []string, most int) error {
	if len(list) > most {
		return kind.Field(at, "at most %d can be named", most)
	}
	for i, s := range list {
		if s == "" || len(s) > maxOptionText {
			return kind.Field(at+"/"+strconv.Itoa(i), "the value must be 1 to %d bytes", maxOptionText)
		}
		if err := checkText(at+"/"+strconv.Itoa(i), s); err != nil {
			return err
		}
	}
	return nil
}
