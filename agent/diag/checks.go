package diag

import "weft/agent/localapi"

// Checks are all checks of the agent, in the order of cause and effect.
func Checks() []Check {
	var all []Check
	for _, part := range [][]Check{machineChecks(), registrationChecks(), controlChecks(), gatewayChecks(), surroundingChecks(), historyChecks()} {
		all = append(all, part...)
	}
	return all
}

func machineChecks() []Check {
	return []Check{
		{
			Code: "file_descriptors", Title: "The agent may open more files and connections", Severity: localapi.SeverityError, run: checkFiles,
			Remedy: "raise the limit of open files of the agent (LimitNOFILE= of its unit, or ulimit -n), or find the program that opens so many connections",
		},
		{
			Code: "state_dir_not_writable", Title: "The state directory can be written", Severity: localapi.SeverityError, run: checkStateDir,
			Remedy: "free space there, and give the directory back to the agent's user",
		},
		{
			Code: "disk_full", Title: "There is disk space", Severity: localapi.SeverityWarning, run: checkDisk,
			Remedy: "free space where the state directory is",
		},
		{
			Code: "memory_low", Title: "There is memory", Severity: localapi.SeverityWarning, run: checkMemory,
			Remedy: "end programs that need much memory",
		},
		{
			Code: "no_network", Title: "This machine is in a network", Severity: localapi.SeverityError, run: checkNetwork,
			Remedy: "connect to a network",
		},
	}
}

func registrationChecks() []Check {
	return []Check{
		{
			Code: "not_registered", Title: "This device is registered", Severity: localapi.SeverityError, run: checkRegistered,
			Remedy: "run: warp-cli registration new ENROLMENT",
		},
		{
			Code: "key_store", Title: "The device's key can be read", Severity: localapi.SeverityError, run: checkKeyStore, Needs: []string{"not_registered"},
			Remedy: "unlock the keyring; if there is none any more, run: warp-cli registration delete && WEFT_KEYSTORE=file for the agent, and register again",
		},
		{
			Code: "registration_revoked", Title: "The registration is in force", Severity: localapi.SeverityError, run: checkRevoked, Needs: []string{"not_registered"},
			Remedy: "ask your administrator for a new enrolment string, then run: warp-cli registration delete && warp-cli registration new ENROLMENT",
		},
	}
}

func controlChecks() []Check {
	return []Check{
		{
			Code: "env_proxy", Title: "A proxy that the environment asks for can be used", Severity: localapi.SeverityError, run: checkEnvProxy, Needs: []string{"not_registered"},
			Remedy: "correct HTTPS_PROXY and NO_PROXY in the agent's environment",
		},
		{
			Code: "captive_portal", Title: "This network lets traffic through", Severity: localapi.SeverityError, run: checkPortal, Needs: []string{"not_registered"},
			Remedy: "open a browser and log in to the network",
		},
		{
			Code: "control_dns", Title: "The control plane's name can be resolved", Severity: localapi.SeverityError, run: checkControlDNS, Needs: []string{"not_registered", "env_proxy"},
			Remedy: "check this machine's name servers; the name is that of the enrolment string",
		},
		{
			Code: "control_unreachable", Title: "The control plane takes connections", Severity: localapi.SeverityError, run: checkControlTCP, Needs: []string{"control_dns"},
			Remedy: "check that a firewall lets TCP to it through; then ask your administrator whether it runs",
		},
		{
			Code: "control_tls", Title: "The control plane speaks TLS", Severity: localapi.SeverityError, run: checkControlTLS, Needs: []string{"control_unreachable"},
			Remedy: "something between breaks the connection, or the control plane does not run there: ask your administrator",
		},
		{
			Code: "clock_skew", Title: "This machine's clock is right", Severity: localapi.SeverityError, run: checkClock, Needs: []string{"control_tls"},
			Remedy: "set the clock, and switch on its synchronisation",
		},
		{
			Code: "tls_interception", Title: "Nobody reads along on the way to the control plane", Severity: localapi.SeverityError, run: checkInterception, Needs: []string{"control_tls"},
			Remedy: "have the control plane's host excepted from TLS inspection",
		},
		{
			Code: "control_certificate", Title: "The control plane's certificate is the registration's", Severity: localapi.SeverityError, run: checkCertificate, Needs: []string{"clock_skew", "tls_interception"},
			Remedy: "ask your administrator whether the control plane's authority was changed; if so, register again with a fresh enrolment string",
		},
		{
			Code: "control_answer", Title: "The control plane answers", Severity: localapi.SeverityError, run: checkControlHTTP, Needs: []string{"control_certificate"},
			Remedy: "ask your administrator to look at the control plane",
		},
		{
			Code: "control_not_followed", Title: "The agent follows the control plane", Severity: localapi.SeverityWarning, run: checkControlStream, Needs: []string{"control_answer", "key_store", "registration_revoked"},
			Remedy: "wait half a minute and look again; then look at the agent's log",
		},
		{
			Code: "state_stale", Title: "The list of targets is current", Severity: localapi.SeverityWarning, run: checkStale, Needs: []string{"not_registered", "registration_revoked", "key_store"},
			Remedy: "restore the way to the control plane: the checks above say what is wrong with it",
		},
	}
}

func gatewayChecks() []Check {
	wanted := []string{"no_gateway", "not_connected"}
	heard := []string{"probe_silent"}
	return []Check{
		{
			Code: "not_connected", Title: "The agent is to be connected", Severity: localapi.SeverityWarning, run: checkWanted, Needs: []string{"not_registered", "registration_revoked", "key_store"},
			Remedy: "run: warp-cli connect",
		},
		{
			Code: "no_gateway", Title: "The control plane names a gateway", Severity: localapi.SeverityError, run: checkGatewayNamed, Needs: []string{"not_registered", "registration_revoked", "key_store"},
			Remedy: "ask your administrator to start a gateway",
		},
		{
			Code: "gateway_dns", Title: "The gateway's endpoint can be resolved", Severity: localapi.SeverityError, run: checkGatewayDNS, Needs: wanted,
			Remedy: "check this machine's name servers, and the gateway's --advertise with your administrator",
		},
		{
			Code: "gateway_down", Title: "The gateway runs", Severity: localapi.SeverityError, run: checkGatewayDown, Needs: []string{"gateway_dns"},
			Remedy: "ask your administrator to start the gateway; the agent connects by itself",
		},
		{
			Code: "gateway_key_mismatch", Title: "The gateway has the key that the control plane named", Severity: localapi.SeverityError, run: checkGatewayKey, Needs: []string{"gateway_down"},
			Remedy: "ask your administrator what answers at the gateway's WireGuard endpoint: another server, or a port that is forwarded elsewhere",
		},
		{
			Code: "udp_blocked", Title: "UDP to the gateway comes through", Severity: localapi.SeverityError, run: checkUDP, Needs: []string{"gateway_key_mismatch"},
			Remedy: "have the firewall of this network let UDP to the gateway through, or use another network",
		},
		{
			Code: "probe_silent", Title: "The gateway answers through the tunnel", Severity: localapi.SeverityError, run: checkProbe, Needs: []string{"udp_blocked"},
			Remedy: "wait half a minute and look again; then ask your administrator whether the gateway knows this device",
		},
		{
			Code: "packet_loss", Title: "Little is lost on the way", Severity: localapi.SeverityWarning, run: checkLoss, Needs: heard,
			Remedy: "use another network, or look for what fills this one",
		},
		{
			Code: "high_latency", Title: "The way is short", Severity: localapi.SeverityWarning, run: checkLatency, Needs: heard,
			Remedy: "use another network, or a gateway that is nearer",
		},
		{
			Code: "mtu_black_hole", Title: "Large datagrams come through", Severity: localapi.SeverityError, run: checkMTU, Needs: []string{"probe_silent", "packet_loss"},
			Remedy: "set the MTU of this machine's network to 1400 or less, or have the path let datagrams of 1312 bytes through",
		},
		{
			Code: "keepalive", Title: "The tunnel is kept alive", Severity: localapi.SeverityWarning, run: checkKeepalive, Needs: heard,
			Remedy: "run: warp-cli disconnect && warp-cli connect",
		},
		{
			Code: "vnet_not_selected", Title: "A virtual network is selected", Severity: localapi.SeverityWarning, run: checkSelected, Needs: []string{"no_gateway"},
			Remedy: "run: warp-cli vnet list, then: warp-cli vnet NAME",
		},
	}
}

func surroundingChecks() []Check {
	return []Check{
		{
			Code: "proxy_not_listening", Title: "The local proxy takes connections", Severity: localapi.SeverityError, run: checkProxyListens,
			Remedy: "start the agent again; if the port is another program's, use --proxy-listen 127.0.0.1:PORT",
		},
		{
			Code: "lan_overlap", Title: "No target has an address of a network that this machine is in", Severity: localapi.SeverityWarning, run: checkLAN,
			Remedy: "reach these targets by the proxy, warp-cli nc or warp-cli ssh only: other programs reach the machine in the local network",
		},
		{
			Code: "tunnel_overlap", Title: "No other interface has addresses of the tunnel", Severity: localapi.SeverityWarning, run: checkTunnelOverlap,
			Remedy: "end the other tunnel, or have your administrator move the pool of tunnel addresses",
		},
		{
			Code: "resolver_conflict", Title: "The name servers are outside the tunnel", Severity: localapi.SeverityWarning, run: checkResolvers,
			Remedy: "give this machine a name server that is reached without the tunnel",
		},
		{
			Code: "other_tunnel", Title: "No other tunnel is up", Severity: localapi.SeverityInfo, run: checkOtherTunnels,
			Remedy: "if the gateway is not reached, end the other tunnel and try again",
		},
		{
			Code: "ipv6", Title: "IPv6", Severity: localapi.SeverityInfo, run: checkIPv6,
			Remedy: "nothing needs to be done",
		},
	}
}

func historyChecks() []Check {
	return []Check{
		{
			Code: "flow_limit", Title: "No connection was refused because of a limit", Severity: localapi.SeverityWarning, run: checkFlows,
			Remedy: "find the program that opens so many connections and does not close them",
		},
		{
			Code: "gateway_restarted", Title: "The gateway did not restart lately", Severity: localapi.SeverityInfo, run: checkNotice("gateway_restarted", "not lately"),
			Remedy: "nothing needs to be done: open connections were lost, new ones work",
		},
		{
			Code: "sleep_gap", Title: "This machine did not sleep lately", Severity: localapi.SeverityInfo, run: checkNotice("wake", "not lately"),
			Remedy: "nothing needs to be done: the agent has connected again",
		},
		{
			Code: "log_errors", Title: "The agent logged no errors lately", Severity: localapi.SeverityWarning, run: checkErrors,
			Remedy: "look at the agent's log, or make a bundle of it: warp-cli diag --bundle FILE",
		},
	}
}
