package agent

import (
	"slices"
	"strings"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
	"weft/targets"
)

// SSHHost says what an OpenSSH client needs to know of a name. It works from the last state that
// is known, connected or not: whether a name is a target's does not depend on the tunnel.
func (a *Agent) SSHHost(name string, port uint16) (localapi.SSHHost, error) {
	v := a.view.Load()
	if v == nil {
		return localapi.SSHHost{}, a.notConnected()
	}
	if name == "" {
		return localapi.SSHHost{}, fault.New(string(kind.Invalid), "a name is needed")
	}
	h := localapi.SSHHost{
		SchemaVersion: localapi.SchemaVersion, VNETs: []string{},
		CertAuthorities: append([]string{}, v.state.Self.SSHHostCAs...),
	}
	for _, n := range v.networks {
		h.VNETs = append(h.VNETs, n.Name)
	}
	slices.Sort(h.VNETs)
	found, network, err := v.lookup(a.selected.Load(), "", name)
	switch code := faultCode(err); {
	case code == localapi.CodeAmbiguous:
		h.Known, h.Ambiguous = true, true
		return h, nil
	case err != nil:
		return h, nil // no target's name, or none that leads anywhere
	case found.Target.ID == "":
		// An address; it is known only as one at which the gateway speaks SSH, whose key needs no name.
		if v.terminates(found, port) {
			h.Known, h.Terminated, h.VNETID, h.VNETName = true, true, string(network.ID), network.Name
		}
		return h, nil
	}
	h.Known = true
	h.TargetID, h.Hostname = string(found.Target.ID), found.Target.Hostname
	h.VNETID, h.VNETName = string(network.ID), network.Name
	h.Qualified = strings.EqualFold(name, found.Target.Hostname+"."+network.Name) && !targets.EqualHostname(name, found.Target.Hostname)
	h.Terminated = v.terminates(found, port)
	return h, nil
}

func faultCode(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

// terminates reports whether SSH at d is the gateway's own; port 0 means at any of the ports.
func (v *view) terminates(d targets.Destination, port uint16) bool {
	at := targets.Address{Addr: d.Addr, VNET: d.VNET}
	return slices.ContainsFunc(v.entries, func(e targets.Entry) bool {
		return e.Protocol.Terminated() && (port == 0 || e.Port == port) && isAt(&e.Target, at)
	})
}
