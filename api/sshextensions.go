package api

import "weft/access"

// SSHExtensions are the extensions of user certificates (OpenSSH PROTOCOL.certkeys) that a decision about a login allows: a
// terminal always, the rest by its policy. Gateways ask for these and control gives no others.
func SSHExtensions(d access.Decision) []string {
	if !d.Allow {
		return nil
	}
	return []string{"permit-pty"}
}
