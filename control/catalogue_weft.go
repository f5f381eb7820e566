package control

import (
	"weft/api"
	"weft/control/openapi"
)

// health is the answer of the health endpoint.
type healthStatus struct {
	Status string `json:"status"`
}

func weftCatalogue() catalogue {
	since := []openapi.Parameter{{Name: "since", Type: "integer", What: "the revision that the receiver has; deltas follow from it while it is remembered"}}
	return catalogue{
		"GET " + api.PathHealth:   {what: "Say that the control plane answers", out: healthStatus{}},
		"GET " + api.PathOpenAPI:  {what: "This document", out: map[string]any{}, bare: true},
		"POST " + api.PathExplain: {what: "Say in full why a user may or may not reach a target", in: api.ExplainRequest{}, out: api.Explain{}},

		"GET " + api.PathImpact: {
			what: "Say who would lose or gain what by a change, without making it", out: api.Impact{},
			query: []openapi.Parameter{
				{Name: "change", Required: true, Enum: api.Changes},
				{Name: "id", Required: true, What: "of what is changed"},
				{Name: "to", What: "the new name, or the tunnel that a route is to lead to"},
				{Name: "application", What: "of a policy"},
				{Name: "cascade", Type: "boolean", What: "delete the routes of a tunnel with it"},
			},
		},

		"POST " + api.PathEnrolmentKeys:          {what: "Create an enrolment string for a user", in: api.NewEnrolmentKey{}, out: api.EnrolmentKey{}},
		"POST " + api.PathGateways:               {what: "Create a gateway and its token", in: api.NewGateway{}, out: api.NewGatewayResult{}},
		"GET " + api.PathSSHCAs:                  {what: "List the SSH authorities: of logins and of host keys", out: api.SSHCAs{}},
		"POST " + api.PathSSHHostCAs:             {what: "Create the host CA that signs from now on", out: api.SSHHostCA{}},
		"DELETE " + api.PathSSHHostCAs + "/{id}": {what: "Delete a host CA", out: deletedID{}, query: kinds("boolean", "force")},

		"POST " + api.PathEnrol:        {what: "Register a device by an enrolment key", in: api.EnrolRequest{}, out: api.EnrolResponse{}},
		"GET " + api.PathAgentSelf:     {what: "Read one's own registration", out: api.AgentSelf{}},
		"DELETE " + api.PathAgentSelf:  {what: "Delete one's own registration"},
		"POST " + api.PathAgentKey:     {what: "Offer or confirm another WireGuard key", in: api.AgentKey{}, out: api.AgentSelf{}},
		"GET " + api.PathAgentDevices:  {what: "List the devices of one's user", out: api.AgentDevice{}, list: openapi.Whole},
		"GET " + api.PathAgentGateways: {what: "Say which gateways control hears", out: api.AgentGatewayStatus{}, list: openapi.Whole},
		"GET " + api.PathAgentSync:     {what: "Follow what concerns the device", out: api.Event{}, query: since},

		"PUT " + api.PathGatewaySelf:             {what: "Report a gateway's keys and endpoints", in: api.GatewayReport{}},
		"GET " + api.PathGatewaySync:             {what: "Follow what concerns a gateway", out: api.Event{}, query: since},
		"POST " + api.PathGatewayCertificate:     {what: "Have one SSH login certified", in: api.CertificateRequest{}, out: api.Certificate{}},
		"POST " + api.PathGatewayHostCertificate: {what: "Have a host key certified", in: api.HostCertificateRequest{}, out: api.HostCertificate{}},
		"GET " + api.PathGatewayQuestions:        {what: "Follow the questions to a gateway", out: api.GatewayQuestion{}},
		"POST " + api.PathGatewayAnswers:         {what: "Answer a question", in: api.GatewayReply{}},
		"GET " + api.PathConnectorSync:           {what: "Follow what concerns a connector", out: api.Event{}, query: since},
	}
}
