// Package faults is the table of causes that explain and diag must name: each is injected into the whole of Weft by a test of
// this package, and must be the first thing that is found. docs/troubleshooting.md is made from it.
package faults

import (
	"fmt"
	"strings"

	"weft/agent/diag"
	"weft/api"
)

// Tool is what names a cause.
type Tool string

// The tools.
const (
	UserExplain  Tool = "warp-cli explain"
	AdminExplain Tool = "weft explain"
	Diag         Tool = "warp-cli diag"
)

// Cause is one row.
type Cause struct {
	Name string
	How  string // how the test injects it
	Tool Tool
	Code string // that must be the first that is found
}

// Table is all causes.
func Table() []Cause {
	return []Cause{
		{"the agent does not run", "no process at the socket", Diag, "agent_not_running"},
		{"the socket may not be used", "another user's file permissions", Diag, "socket_permission"},
		{"the proxy's port is taken, so the agent does not start", "another program listens at 127.0.0.1:40000", Diag, "proxy_port_taken"},
		{"agent and command line are of different versions", "warp-cli of another version", Diag, "version_mismatch"},
		{"the device is not registered", "a fresh state directory", Diag, "not_registered"},
		{"the registration was revoked", "the API's revoke", Diag, "registration_revoked"},
		{"the key store is dead", "a keyring that never answers", Diag, "key_store"},
		{"the state directory cannot be written", "it is moved away", Diag, "state_dir_not_writable"},
		{"the disk is full", "the system reports 1 MiB free", Diag, "disk_full"},
		{"file descriptors are exhausted", "the system reports all but one as open", Diag, "file_descriptors"},
		{"memory is short", "the system reports 8 MiB free", Diag, "memory_low"},
		{"the clock is wrong", "a clock that is ten minutes ahead", Diag, "clock_skew"},
		{"the control plane's name cannot be resolved", "a resolver that knows no name", Diag, "control_dns"},
		{"the control plane is down", "nobody listens at its port", Diag, "control_unreachable"},
		{"something else is at the control plane's port", "a server that closes every connection", Diag, "control_tls"},
		{"the control plane's authority changed", "a new control plane at the same address", Diag, "control_certificate"},
		{"a middlebox reads TLS", "a certificate of an authority that the machine trusts", Diag, "tls_interception"},
		{"the environment names a proxy that is gone", "HTTPS_PROXY at a closed port", Diag, "env_proxy"},
		{"a captive portal", "port 80 of every host answers with a redirect", Diag, "captive_portal"},
		{"no gateway was started", "an account without a gateway", Diag, "no_gateway"},
		{"the gateway's name cannot be resolved", "a gateway that is advertised by an unknown name", Diag, "gateway_dns"},
		{"the gateway is down", "it is stopped", Diag, "gateway_down"},
		{"the gateway's host has nothing at the port", "the port is closed", Diag, "gateway_down"},
		{"another WireGuard server is at the gateway's endpoint", "the port leads to a server with another key", Diag, "gateway_key_mismatch"},
		{"UDP is blocked", "the network drops every datagram", Diag, "udp_blocked"},
		{"the network loses packets", "every second datagram of some size is lost on the way to the gateway", Diag, "packet_loss"},
		{"the network is slow", "it delays each datagram by 280 ms", Diag, "high_latency"},
		{"an MTU black hole", "the network drops datagrams of more than 1000 bytes", Diag, "mtu_black_hole"},
		{"the gateway restarted", "it is stopped and started", Diag, "gateway_restarted"},
		{"a target has an address of the local network", "an interface in the target's prefix", Diag, "lan_overlap"},
		{"another tunnel uses the tunnel's addresses", "an interface in the device's block", Diag, "tunnel_overlap"},
		{"another tunnel is up", "an interface wg0", Diag, "other_tunnel"},
		{"a name server has a target's address", "the system's resolver is the target", Diag, "resolver_conflict"},
		{"the user disconnected", "warp-cli disconnect", Diag, "not_connected"},

		{"the device is not registered", "a fresh state directory", UserExplain, api.CodeNotRegistered},
		{"the registration was revoked", "the API's revoke", UserExplain, api.CodeRegistrationRevoked},
		{"the user disconnected", "warp-cli disconnect", UserExplain, api.CodeNotConnected},
		{"control is down and nothing is known of before", "a start without state and network", UserExplain, api.CodeControlUnreachable},
		{"no gateway was started", "an account without a gateway", UserExplain, api.CodeNoGateway},
		{"the gateway does not answer", "the network drops every datagram", UserExplain, api.CodeGatewaySilent},
		{"the target does not exist", "an unknown name", UserExplain, api.CodeTargetUnknown},
		{"the target is not the user's", "no policy includes the user", UserExplain, api.CodeTargetUnknown},
		{"the name is ambiguous", "two targets of one name", UserExplain, api.CodeNameAmbiguous},
		{"the virtual network does not exist", "--vnet with an unknown name", UserExplain, api.CodeVNETUnknown},
		{"the target moved to another virtual network", "its address is moved", UserExplain, api.CodeTargetInOtherVNET},
		{"the port is not granted", "another port", UserExplain, api.CodePortNotGranted},
		{"the application is for another protocol", "criteria for UDP", UserExplain, api.CodeProtocolNotTCP},
		{"there is no route", "it is deleted", UserExplain, api.CodeNoRoute},
		{"this device's list is stale", "control cut off, then the target removed", UserExplain, api.CodeStateStale},
		{"the login is not granted", "an unknown UNIX user", UserExplain, api.CodeLoginNotGranted},
		{"the login is granted on another target only", "the UNIX user of web-2", UserExplain, api.CodeLoginElsewhere},
		{"the route leads to a tunnel without a connector", "a new tunnel", UserExplain, api.CodeConnectorMissing},
		{"the connector is down", "it is stopped", UserExplain, api.CodeConnectorDown},
		{"a limit of sessions is reached", "a limit of one, and one flow open", UserExplain, api.CodeSessionLimit},
		{"the gateway's audit log cannot be written", "a pipe that nobody reads", UserExplain, api.CodeAuditUnavailable},
		{"the target is off", "SYNs that nobody answers", UserExplain, api.CodeTargetTimeout},
		{"the port of the target is closed", "nobody listens", UserExplain, api.CodeTargetRefused},
		{"no SSH server is at the port", "a server that says hello", UserExplain, api.CodeNotSSH},
		{"the host key changed", "another key after the first login", UserExplain, api.CodeHostKeyChanged},
		{"the account has no SSH CA", "it is deleted", UserExplain, api.CodeNoSSHCA},
		{"control does not sign", "control is stopped", UserExplain, api.CodeNotSigned},
		{"sshd does not trust the CA", "no TrustedUserCAKeys", UserExplain, api.CodeSSHLoginRefused},

		{"the user is not known", "another address", AdminExplain, api.CodeUserUnknown},
		{"the user was revoked", "the API's revoke_user", AdminExplain, api.CodeUserRevoked},
		{"the device was revoked", "the API's revoke", AdminExplain, api.CodeDeviceRevoked},
		{"the device is not known", "--device with an unknown name", AdminExplain, api.CodeDeviceUnknown},
		{"the target does not exist", "an unknown name", AdminExplain, api.CodeTargetUnknown},
		{"the virtual network is not permitted to the device", "more networks than a device has slots", AdminExplain, api.CodeVNETNotPermitted},
		{"the target moved to another virtual network", "its address is moved", AdminExplain, api.CodeTargetInOtherVNET},
		{"there is no route", "it is deleted", AdminExplain, api.CodeNoRoute},
		{"no application covers the port", "another port", AdminExplain, api.CodeNoApplication},
		{"the application is for another protocol", "criteria for UDP", AdminExplain, api.CodeOtherProtocol},
		{"no policy includes the user", "an include rule for somebody else", AdminExplain, api.CodeNoPolicy},
		{"a require rule is not met", "a rule that asks for a group", AdminExplain, api.CodeRequireMissing},
		{"an exclude rule matches", "a rule for the user", AdminExplain, api.CodeExcluded},
		{"the login is not granted", "an unknown UNIX user", AdminExplain, api.CodeLoginNotGranted},
		{"the connector is down", "it is stopped", AdminExplain, api.CodeConnectorDown},
		{"no gateway is in contact with control", "it is stopped", AdminExplain, api.CodeNoGateway},
		{"sshd does not trust the CA", "no TrustedUserCAKeys", AdminExplain, api.CodeSSHLoginRefused},
	}
}

// remedies of the checks that warp-cli makes itself; they must stand in its table (a test compares).
func remedy(c Cause, own map[string]string) string {
	if c.Tool != Diag {
		return api.ExplainRemedy(c.Code, c.Tool == AdminExplain)
	}
	for _, check := range diag.Checks() {
		if check.Code == c.Code {
			return check.Remedy
		}
	}
	return own[c.Code]
}

// Markdown is docs/troubleshooting.md; own are the remedies of the checks that warp-cli makes without an agent.
func Markdown(own map[string]string) string {
	var b strings.Builder
	b.WriteString(`# Troubleshooting

<!-- Made from the tables in integration/faults, api/explaincode.go and agent/diag; ` + "`go test ./integration/faults -run TestMarkdown -update`" + ` writes it. -->

Two commands on the device, one for the administrator:

- ` + "`warp-cli explain web-1:22 --as root`" + ` walks the way to one target and stops at what is in the way.
- ` + "`warp-cli diag`" + ` looks at the agent, the machine and the way to the gateway. ` + "`--bundle FILE`" + ` adds a file for whoever helps you,
  without keys, tokens and passwords; with ` + "`--anonymize`" + ` without e-mail addresses, host names and addresses too. It is sent nowhere.
- ` + "`weft explain --email USER web-1:22 --as root`" + ` tells administrators everything: each application, policy and rule, and what the
  gateways find. What it has them do is on their audit log, as lines of type ` + "`explain`" + `.

A target that a user may not reach, and one that does not exist, look the same to that user. With ` + "`weft control --explain-almost`" + ` a
policy that includes the user, and still does not let them in, is named to them.

## Faults that are injected in tests

Each of these is injected into the whole of Weft, and must be the first thing that the tool names.

| Cause | How the test injects it | Tool | Code | What to do |
|---|---|---|---|---|
`)
	for _, c := range Table() {
		fmt.Fprintf(&b, "| %s | %s | `%s` | `%s` | %s |\n", c.Name, c.How, c.Tool, c.Code, cell(remedy(c, own)))
	}
	b.WriteString("\n## All checks of `warp-cli diag`\n\nIn the order of cause and effect; a check is skipped when one that it needs failed.\n\n| Code | What is right | Severity | Needs |\n|---|---|---|---|\n")
	for _, c := range diag.Checks() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Code, c.Title, c.Severity, strings.Join(c.Needs, ", "))
	}
	b.WriteString("\n## All codes of explain\n\n| Code | For the user | For the administrator |\n|---|---|---|\n")
	for _, c := range api.ExplainCodes() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.Code, cell(c.User), cell(c.Admin))
	}
	return b.String()
}

// cell writes text into a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
