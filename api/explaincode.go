package api

// The codes of a step that failed. They are stable.
const (
	CodeTargetUnknown       = "target_unknown"
	CodeNameAmbiguous       = "name_ambiguous"
	CodeTargetInOtherVNET   = "target_in_other_vnet"
	CodePortNotGranted      = "port_not_granted"
	CodeProtocolNotTCP      = "protocol_not_tcp"
	CodeVNETUnknown         = "vnet_unknown"
	CodeVNETNotPermitted    = "vnet_not_permitted"
	CodeNoRoute             = "no_route"
	CodeNotRegistered       = "not_registered"
	CodeRegistrationRevoked = "registration_revoked"
	CodeKeyStore            = "key_store"
	CodeNotConnected        = "not_connected"
	CodeControlUnreachable  = "control_unreachable"
	CodeNoGateway           = "no_gateway"
	CodeGatewaySilent       = "gateway_silent"
	CodeNoTunnelAddress     = "no_tunnel_address"
	CodeUserUnknown         = "user_unknown"
	CodeUserRevoked         = "user_revoked"
	CodeDeviceUnknown       = "device_unknown"
	CodeDeviceRevoked       = "device_revoked"
	CodeNotPermitted        = "not_permitted"
	CodeNetworkRule         = "network_rule"
	CodeNoApplication       = "no_application"
	CodeOtherProtocol       = "other_protocol"
	CodeNoPolicy            = "no_policy"
	CodeRequireMissing      = "require_missing"
	CodeExcluded            = "excluded"
	CodeStateStale          = "state_stale"
	CodeGatewayStale        = "gateway_stale"
	CodeForbidden           = "destination_forbidden"
	CodeLoginNotGranted     = "login_not_granted"
	CodeLoginElsewhere      = "login_granted_elsewhere"
	CodeGatewayDraining     = "gateway_draining"
	CodeConnectorMissing    = "connector_missing"
	CodeConnectorDown       = "connector_down"
	CodeNotRoutedByPeer     = "connector_not_routed"
	CodeConnectorLimit      = "connector_limit"
	CodeTargetRefused       = "target_refused"
	CodeTargetTimeout       = "target_timeout"
	CodeTargetUnreachable   = "target_unreachable"
	CodeSessionLimit        = "session_limit"
	CodeExplainLimit        = "explain_limit"
	CodeAuditUnavailable    = "audit_unavailable"
	CodeNotSSH              = "not_ssh"
	CodeHostKeyChanged      = "host_key_changed"
	CodeNoSSHCA             = "no_ssh_ca"
	CodeNotSigned           = "certificate_not_signed"
	CodeSSHLoginRefused     = "ssh_login_refused"
)

// ExplainCode is a code with what it means and what to do about it.
type ExplainCode struct {
	Code string
	// User and Admin are the remedies of the two sides; an empty User means that only administrators see the code.
	User, Admin string
}

// ExplainCodes are all codes, in the order of the steps.
func ExplainCodes() []ExplainCode {
	return []ExplainCode{
		{CodeTargetUnknown, "check the spelling; what you may reach: warp-cli target list; if it should be there, ask your administrator", "check the name; the targets are in the API under infrastructure/targets"},
		{CodeNameAmbiguous, "write HOSTNAME.VNET, add --vnet, or use the target ID; see: warp-cli target list", "name the target by its ID, or add --vnet"},
		{CodeTargetInOtherVNET, "leave --vnet out, or name the network that the evidence names", "name the virtual network in which the target is, or move the target back"},
		{CodePortNotGranted, "use one of the ports that the evidence lists, or ask your administrator", ""},
		{CodeProtocolNotTCP, "this port is for UDP: use a program that speaks UDP through SOCKS5", ""},
		{CodeVNETUnknown, "the virtual networks that you may use: warp-cli vnet list", "check the name of the virtual network"},
		{CodeVNETNotPermitted, "the virtual networks that you may use: warp-cli vnet list", "the device has no slot for the network: delete networks that nobody uses, or enrol the device again"},
		{CodeNoRoute, "ask your administrator to route the address to a tunnel", "add a route of this virtual network that covers the address"},
		{CodeNotRegistered, "run: warp-cli registration new ENROLMENT", ""},
		{CodeRegistrationRevoked, "ask your administrator for a new enrolment string, then run: warp-cli registration delete && warp-cli registration new ENROLMENT", ""},
		{CodeKeyStore, "unlock the keyring; the agent tries again by itself", ""},
		{CodeNotConnected, "run: warp-cli connect", ""},
		{CodeControlUnreachable, "run: warp-cli diag", ""},
		{CodeNoGateway, "ask your administrator to start a gateway", "start a gateway, and look at its log"},
		{CodeGatewaySilent, "run: warp-cli diag", ""},
		{CodeNoTunnelAddress, "run: warp-cli registration delete && warp-cli registration new ENROLMENT", ""},
		{CodeUserUnknown, "", "check the e-mail address; a user exists once a device was enrolled for it"},
		{CodeUserRevoked, "your access was revoked; ask your administrator", "enrol a device for the user again if the revocation was a mistake"},
		{CodeDeviceUnknown, "run: warp-cli registration delete && warp-cli registration new ENROLMENT", "check the device's name; a user without a device must enrol one"},
		{CodeDeviceRevoked, "ask your administrator for a new enrolment string", "unrevoke the registration, or have the device enrolled again"},
		{CodeNotPermitted, "ask your administrator for access", "run: weft explain"},
		{CodeNetworkRule, "your administrator blocks this for the reason that the evidence gives; ask there if it should not be", "change the network rule: it is in the API under gateway/rules"},
		{CodeNoApplication, "", "add target criteria that select this target at this port to an application"},
		{CodeOtherProtocol, "", "the application's criteria name a protocol that TCP does not carry: change it, or use UDP"},
		{CodeNoPolicy, "", "add an include rule that matches the user to a policy of the application"},
		{CodeRequireMissing, "you do not meet everything that the policy requires: sign in again, or ask your administrator", "have the user meet the require rule, or change it"},
		{CodeExcluded, "a rule excludes you: ask your administrator", "remove the exclude rule or the user from it"},
		{CodeStateStale, "this device's list is out of date: restore the way to the control plane (warp-cli diag)", ""},
		{CodeGatewayStale, "the gateway has no current policy; try again in a moment, then ask your administrator", "the gateway does not hear control: check its log and network"},
		{CodeForbidden, "addresses of this kind are never reachable through a gateway", "give the target another address"},
		{CodeLoginNotGranted, "log in as one of the UNIX users that the evidence lists, or ask your administrator", "add the UNIX user to the connection rules of a policy that includes the user"},
		{CodeLoginElsewhere, "you may use that UNIX user on the targets that the evidence lists, not on this one; ask your administrator", "add the UNIX user to a policy of an application that covers this target"},
		{CodeGatewayDraining, "wait until the connections that are open have ended: then the agent takes another gateway by itself; or run: warp-cli disconnect && warp-cli connect", "start or name another gateway, or let this one take connections again: weft gateway drain --off NAME"},
		{CodeConnectorMissing, "ask your administrator: the route leads to a tunnel without a connector", "start a connector with the tunnel's token: weft connector"},
		{CodeConnectorDown, "ask your administrator: the connector of this network is not connected", "start the connector of this tunnel again and look at its log"},
		{CodeNotRoutedByPeer, "try again in a moment; then ask your administrator", "the connector does not know the route yet: check that it hears control"},
		{CodeConnectorLimit, "try again later, or ask your administrator", "start another connector with the tunnel's token"},
		{CodeTargetRefused, "nothing listens on that port of the target: check that the service runs", "start the service on the target; check that it listens on that address"},
		{CodeTargetTimeout, "the target does not answer: check that it is on, and its firewall", "check that the target is on and that its firewall lets the connector in"},
		{CodeTargetUnreachable, "the connector has no way to the target: check that it is on", "check the target's address, and the connector's own routes"},
		{CodeSessionLimit, "close connections that you do not need, and try again", "raise the limit of sessions per device, or find the program that opens so many"},
		{CodeExplainLimit, "try again in a moment", "try again in a moment"},
		{CodeAuditUnavailable, "ask your administrator: the gateway cannot write its audit log", "free space for the gateway's audit log"},
		{CodeNotSSH, "what answers there is no SSH server: check the port", "run an SSH server at the port, or change the protocol of the criteria"},
		{CodeHostKeyChanged, "do not go on: somebody may be in between; ask your administrator whether the change is meant", "if the key was changed on purpose, accept it on the gateway: weft host-key accept"},
		{CodeNoSSHCA, "ask your administrator to create the SSH certificate authority", "create it: POST access/gateway_ca; give its public key to the targets"},
		{CodeNotSigned, "try again in a moment; then ask your administrator", "the gateway got no certificate from control: look at both logs"},
		{CodeSSHLoginRefused, "ask your administrator: the target's sshd does not accept the certificate", "set TrustedUserCAKeys in the target's sshd_config to the SSH CA's public key; check that the UNIX user exists and the clocks agree"},
	}
}

// ExplainRemedy is what to do about a code, for a user or an administrator.
func ExplainRemedy(code string, admin bool) string {
	for _, c := range ExplainCodes() {
		if c.Code != code {
			continue
		}
		if admin && c.Admin != "" || c.User == "" {
			return c.Admin
		}
		return c.User
	}
	return ""
}
