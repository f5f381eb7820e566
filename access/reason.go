package access

import "fmt"

// Message says in a sentence why, for the user; it names no rule, and no policy,
// application or target unless a policy includes the user.
func (d Decision) Message() string {
	switch d.Reason {
	case Allowed:
		return fmt.Sprintf("Access to %s is allowed by %s.", d.target(), d.policy("policy"))
	case NoSnapshot:
		return "The gateway has no current policy, so nobody is let in. Try again in a moment."
	case IdentityUnknown:
		return "No user is known behind this device. Register it again."
	case IdentityRevoked:
		return "Your access was revoked. Ask your administrator."
	case DeviceUnknown:
		return "This device is not enrolled. Register it again."
	case DeviceRevoked:
		return "This device was revoked. Ask your administrator, or register it again."
	case VNETNotPermitted:
		return "This device may not use that virtual network. Ask your administrator, or select another one."
	case NoTarget:
		return "No target has this address in this virtual network. Check the address and the selected virtual network."
	case NoApplication:
		return "No application gives access to this target at this port. Check the port, or ask your administrator."
	case NoPolicy:
		return "No policy lets you reach this target. Ask your administrator."
	case RequireMissing:
		return fmt.Sprintf("%s includes you, but you do not meet everything that it requires. Sign in again or ask your administrator.", d.policy("Policy"))
	case Excluded:
		return fmt.Sprintf("%s includes you, but something excludes you from it. Ask your administrator.", d.policy("Policy"))
	case LoginNotPermitted:
		return fmt.Sprintf("%s includes you, but you may not log in to %s as this UNIX user. Your target list shows the UNIX users that you may use, if any.", d.policy("Policy"), d.target())
	case NetworkBlocked:
		if d.NetworkRule != nil && d.NetworkRule.BlockReason != "" {
			return fmt.Sprintf("A network rule blocks this: %s", d.NetworkRule.BlockReason)
		}
		return "A network rule blocks this connection. Ask your administrator."
	}
	return "Access is denied."
}

func (d Decision) target() string {
	if d.Target == nil {
		return "the target"
	}
	return fmt.Sprintf("%q", d.Target.Hostname)
}

// policy names the policy behind the word for it, which begins as the sentence needs.
func (d Decision) policy(word string) string {
	switch {
	case d.Policy != nil:
	case word == "Policy":
		return "A policy"
	default:
		return "a policy"
	}
	return fmt.Sprintf("%s %q", word, d.Policy.Name)
}
