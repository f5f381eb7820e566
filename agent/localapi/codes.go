package localapi

// StatusCode is a code in a status: what it means and what to do. docs/status-codes.md is made from StatusCodes.
type StatusCode struct {
	Kind    string // "state", "reason", "notice" or "check"
	Code    string
	Meaning string
	Remedy  string // what to do next
}

const nothingToDo = "nothing"

// StatusCodes is every state, reason, notice and connectivity check.
var StatusCodes = []StatusCode{
	{"state", string(Unregistered), "this device has no registration", "`warp-cli registration new`"},
	{"state", string(Disconnected), "there is no tunnel, and none is being made; the reason says why", "see the reason; `warp-cli connect`"},
	{"state", string(Connecting), "a tunnel is wanted, and the gateway has not answered through it yet", "`warp-cli wait --for connected`; see the reason"},
	{"state", string(Connected), "the gateway has answered through the tunnel", nothingToDo},

	{"reason", string(ReasonNeverRegistered), "no enrolment string was ever given, or the registration was deleted", "`warp-cli registration new`"},
	{"reason", string(ReasonRevoked), "the control plane refuses this device's credential", "ask for a fresh enrolment string, then `warp-cli registration delete` and `warp-cli registration new`"},
	{"reason", string(ReasonManual), "the user disconnected; during a pause `resume_at` says until when", "`warp-cli connect`"},
	{"reason", string(ReasonStarting), "the tunnel is being made", "wait; if it lasts: `warp-cli debug connectivity-check`"},
	{"reason", string(ReasonControlUnreachable), "the control plane does not answer, and nothing is known from before", "check the network and the control plane's address: `warp-cli registration show`"},
	{"reason", string(ReasonGatewayUnreachable), "nothing comes back through the tunnel", "let UDP to the endpoint pass, or set one that passes: `warp-cli tunnel endpoint set HOST:PORT`"},
	{"reason", string(ReasonGatewayRestarted), "the gateway has restarted and lost its sessions; the agent shakes hands again", "wait"},
	{"reason", string(ReasonNetworkChanged), "this machine is on another network, or was asleep; the agent shakes hands again", "wait"},
	{"reason", string(ReasonNoGateway), "the control plane names no gateway, or gave this device no addresses", "tell your administrator"},
	{"reason", string(ReasonHealthy), "traffic flows", nothingToDo},
	{"reason", string(ReasonKeyStore), "the device's private key cannot be read", "unlock the keyring; the agent tries again by itself"},

	{"notice", "cached_state", "the tunnel was made from the state on disk: the control plane has not answered since the start", "wait; `warp-cli status` says how old it is"},
	{"notice", "control_not_told", "this device was removed here, and the control plane did not hear of it", "ask your administrator to revoke the device"},
	{"notice", "gateway_draining", "the gateway takes no new connections, because it is being stopped or drained; the agent goes to another one when those that are open have ended", "end what is open, or wait"},
	{"notice", "gateway_restarted", "the gateway restarted; how many connections were lost stands in the message", "open them again"},
	{"notice", "key_store_file", "the private key is in a file, because there is no usable keyring", "only the agent's user can read it; set up a keyring if that is not enough"},
	{"notice", "managed_enrolment", "the registration that the administrator's file asks for failed", "mend the file, then `warp-cli mdm refresh`"},
	{"notice", "network_changed", "this machine changed its network, and is connected again", nothingToDo},
	{"notice", "outage", "the gateway did not answer for a while", "if it comes often: `warp-cli tunnel stats` shows loss"},
	{"notice", "proxy_busy", "another program has the proxy's port, so there is no proxy", "`warp-cli proxy port N`"},
	{"notice", "revoked", "the control plane refused this device", "as for the reason `revoked`"},
	{"notice", "settings", "the settings that you made cannot be read, so the proxy is off", "set them anew: `warp-cli mode proxy`"},
	{"notice", "state_file", "the state cannot be written, so a restart without the control plane would know nothing", "make room in the state directory"},
	{"notice", "vnet_gone", "the selected virtual network is no longer available; the message names the one that is selected now", "`warp-cli vnet`"},
	{"notice", "wake", "this machine was asleep, and is connected again", nothingToDo},

	{"check", "registration", "this device is registered", "`warp-cli registration new`"},
	{"check", "control", "the control plane answers and accepts this device", "check the network and `warp-cli registration show`"},
	{"check", "gateway", "the gateway answers through the tunnel", "as for the reason `gateway_unreachable`"},
	{"check", "proxy", "the proxy listens, if the mode is proxy", "`warp-cli proxy port N`"},
}
