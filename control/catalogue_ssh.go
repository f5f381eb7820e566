package control

import (
	"weft/api"
	"weft/control/openapi"
)

// sshCatalogue describes the authorities of SSH and their revocation list.
func sshCatalogue() catalogue {
	force := kinds("boolean", "force")
	return catalogue{
		"POST " + api.PathSSHUserCAs:                    {what: "Create a user CA: the first signs at once, another is published beside it", in: api.NewSSHUserCA{}, out: api.SSHUserCA{}},
		"POST " + api.PathSSHUserCAs + "/{id}/activate": {what: "Have a published user CA sign from now on", out: api.SSHUserCA{}},
		"DELETE " + api.PathSSHUserCAs + "/{id}":        {what: "Retire a user CA", out: deletedID{}, query: force},
		"POST " + api.PathSSHProbe:                      {what: "Certificates to see whether a server trusts the user CAs", in: api.SSHProbeRequest{}, out: api.SSHProbe{}},
		"GET " + api.PathSSHTargetCAs:                   {what: "List the authorities of targets' host keys", out: api.SSHTargetCA{}, list: openapi.Whole},
		"POST " + api.PathSSHTargetCAs:                  {what: "Take the host certificates of an authority", in: api.NewSSHTargetCA{}, out: api.SSHTargetCA{}},
		"DELETE " + api.PathSSHTargetCAs + "/{id}":      {what: "Take an authority's host certificates no longer", out: deletedID{}},
		"GET " + api.PathSSHKRL:                         {what: "The key revocation list, in the binary form of OpenSSH (PROTOCOL.krl)", bare: true, media: "application/octet-stream"},
		"POST " + api.PathSSHRevoke:                     {what: "Revoke certificates of a session, or one by its serial number", in: api.RevokeCertificates{}, out: api.RevokedCertificates{}},
		"POST " + api.PathGatewaySSHRevoke:              {what: "Revoke certificates that this gateway asked for", in: api.RevokeCertificates{}, out: api.RevokedCertificates{}},
	}
}

// auditSSHBody is what audit_ssh_settings are written with; clients send back what they read, of which the key alone counts.
type auditSSHBody struct {
	PublicKey string `json:"public_key"`
	SeedID    any    `json:"seed_id,omitempty"`
	CreatedAt any    `json:"created_at,omitempty"`
	UpdatedAt any    `json:"updated_at,omitempty"`
}

// sessionCatalogue describes live sessions, the draining of gateways and what is recorded.
func sessionCatalogue() catalogue {
	filters := append(text("user", "target", "device", "protocol", "login", "gateway"), kinds("integer", "limit")...)
	one := api.PathRecordingApplications + "/{id}"
	return catalogue{
		"GET " + api.PathSessions:                 {what: "List the live sessions of all gateways", out: api.Sessions{}, query: filters},
		"GET " + api.PathSessionsWatch:            {what: "Follow the live sessions of all gateways", out: api.SessionsEvent{}, query: filters},
		"DELETE " + api.PathSessions + "/{id}":    {what: "End a live session, with a reason that its user is shown", in: api.SessionKill{}, out: api.SessionKilled{}, bodyOptional: true},
		"GET " + api.PathGateways:                 {what: "List the gateways", out: api.GatewayInfo{}, list: openapi.Whole},
		"PUT " + api.PathGateways + "/{id}/drain": {what: "Have a gateway take no new sessions, or take them again", in: api.GatewayDrain{}, out: api.GatewayInfo{}},

		"GET " + api.PathRecordingSettings: {what: "Read what is recorded", out: api.RecordingSettings{}},
		"PUT " + api.PathRecordingSettings: {what: "Say what is recorded unless an application has a setting of its own", in: api.RecordingSetting{}, out: api.RecordingSetting{}},
		"GET " + one:                       {what: "Read what is recorded of an application", out: api.RecordingApplication{}},
		"PUT " + one:                       {what: "Say what is recorded of an application", in: api.RecordingSetting{}, out: api.RecordingApplication{}},
		"DELETE " + one: {what: "Leave what is recorded of an application to the account", out: struct {
			ID string `json:"application_id"`
		}{}},

		"GET ~/gateway/audit_ssh_settings":              {what: "Read for whom SSH session logs are encrypted", out: api.AuditSSHSettings{}},
		"PUT ~/gateway/audit_ssh_settings":              {what: "Say for whom SSH session logs are encrypted", in: auditSSHBody{}, out: api.AuditSSHSettings{}},
		"POST ~/gateway/audit_ssh_settings/rotate_seed": {what: "Have another host CA sign from now on", out: api.AuditSSHSettings{}},
	}
}
