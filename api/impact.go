package api

// PathImpact is where a change can be asked about before it is made: GET with an API token, ?change=target.rename&id=ID&to=NAME
// and the like -> Impact. Nothing is changed.
const PathImpact = "/weft/v1/impact"

// The changes that can be asked about. Those with a "to" take a new name, or the tunnel that a route is to lead to.
const (
	ChangeTargetRename      = "target.rename"
	ChangeTargetDelete      = "target.delete"
	ChangeNetworkRename     = "virtual_network.rename"
	ChangeNetworkDelete     = "virtual_network.delete"
	ChangeRouteMove         = "route.move"
	ChangeRouteDelete       = "route.delete"
	ChangeTunnelRename      = "tunnel.rename"
	ChangeTunnelDelete      = "tunnel.delete"
	ChangeApplicationDelete = "application.delete"
	ChangePolicyDelete      = "policy.delete"
)

// Changes are all of them.
var Changes = []string{
	ChangeTargetRename, ChangeTargetDelete, ChangeNetworkRename, ChangeNetworkDelete, ChangeRouteMove, ChangeRouteDelete,
	ChangeTunnelRename, ChangeTunnelDelete, ChangeApplicationDelete, ChangePolicyDelete,
}

// Impact is what a change does to who may reach what: the target lists of all users before and after it, as the one
// function that decides makes them, less what no route leads to.
type Impact struct {
	// Change is what was asked about, or the actions of the audit events.
	Change string `json:"change"`
	// Revision is that of the state to which the change was compared.
	Revision uint64 `json:"revision"`
	// Complete is false when there was too much to compare; Note then says what was left out, and the counts are of the rest.
	Complete bool   `json:"complete"`
	Note     string `json:"note,omitempty"`
	// UsersLosing and UsersGaining count users.
	UsersLosing  int        `json:"users_losing"`
	UsersGaining int        `json:"users_gaining"`
	Lost         ImpactRows `json:"lost"`
	Gained       ImpactRows `json:"gained"`
	// Rerouted counts the addresses of targets that another tunnel leads to afterwards.
	Rerouted int `json:"rerouted"`
}

// ImpactRows are the first of what is lost or gained.
type ImpactRows struct {
	Count int         `json:"count"`
	Rows  []ImpactRow `json:"rows"`
}

// ImpactRow is one user's access to one target at one port, for SSH as one UNIX user.
type ImpactRow struct {
	Email    string `json:"email"`
	TargetID string `json:"target_id"`
	Hostname string `json:"hostname"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
	Login    string `json:"login,omitempty"`
}
