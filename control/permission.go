package control

import (
	"slices"
	"strings"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// area is a part of the API that a permission group opens, to read or also to write.
type area string

// The areas. Their names with " Read" and " Write" are the permission groups, those of the public API where it has them.
const (
	areaZeroTrust area = "Zero Trust"
	areaApps      area = "Access: Apps and Policies"
	areaSSH       area = "Access: SSH Auditing"
	areaTunnel    area = "Cloudflare Tunnel"
	areaTokens    area = "Access: Service Tokens" // whoever has it can enrol a device
	areaIdentity  area = "Access: Organizations, Identity Providers, and Groups"
	areaAccount   area = "Account Settings"    // the audit log
	areaWeft      area = "Weft Administration" // enrolment keys, gateways: whoever has it can become anybody
	// areaOwn is what every token may look at: itself.
	areaOwn area = "own"
)

// PermissionAll is the permission group that opens everything.
const PermissionAll = "All"

// Permissions are the names of all permission groups.
func Permissions() []string {
	names := []string{PermissionAll}
	for _, a := range []area{areaZeroTrust, areaApps, areaTokens, areaIdentity, areaSSH, areaTunnel, areaAccount, areaWeft} {
		names = append(names, a.read(), a.write())
	}
	return names
}

func (a area) read() string  { return string(a) + " Read" }
func (a area) write() string { return string(a) + " Write" }

// areas are the parts of the management API, by the beginning of what follows the account; the first that fits counts.
var areas = []struct {
	path string
	area area
}{
	{"/tokens/verify", areaOwn},
	{"/infrastructure/", areaZeroTrust},
	{"/gateway/", areaZeroTrust},
	{"/devices", areaZeroTrust},
	{"/access/users", areaZeroTrust},
	{"/access/organizations", areaZeroTrust},
	{"/access/logs/", areaZeroTrust},
	{"/audit_logs", areaAccount},
	{"/logs/audit", areaAccount},
	{"/access/gateway_ca", areaSSH},
	{"/access/apps/ca", areaSSH},
	{"/access/apps/{id}/ca", areaSSH},
	{"/access/service_tokens", areaTokens},
	{"/access/identity_providers", areaIdentity},
	{"/access/", areaApps},
	{"/teamnet/", areaTunnel},
	{"/cfd_tunnel", areaTunnel},
	{"/tunnels", areaTunnel},
}

// areaOf finds the area of a pattern of managementEndpoints; "" for one that no area names.
func areaOf(pattern string) area {
	_, path, _ := strings.Cut(pattern, " ")
	switch strings.TrimPrefix(path, api.PathManagement) {
	case "/user/tokens/verify", "/user", "/accounts", "/accounts/{account}", "/memberships":
		return areaOwn
	}
	rest, ok := strings.CutPrefix(path, api.PathManagement+"/accounts/{account}")
	if !ok {
		return ""
	}
	for _, a := range areas {
		if strings.HasPrefix(rest, a.path) {
			return a.area
		}
	}
	return ""
}

// permit reports whether a token may use an endpoint: to read takes Read or Write of its area, all else Write.
func permit(t *store.Token, e *endpoint) error {
	a, needs := e.area, []string{PermissionAll}
	switch {
	case a == areaOwn:
		return nil
	case a == "":
	case e.reads:
		needs = append(needs, a.read(), a.write())
	default:
		needs = append(needs, a.write())
	}
	if slices.ContainsFunc(needs, func(p string) bool { return slices.Contains(t.Permissions, p) }) {
		return nil
	}
	return kind.New(kind.Denied, "the API token %q lacks the permission %q", t.Name, needs[min(1, len(needs)-1)]).
		WithHint("an administrator makes one that has it: weft token create --permission %q", needs[min(1, len(needs)-1)])
}

// mayWrite reports whether a token may change what is in an area.
func mayWrite(t *store.Token, a area) bool {
	return slices.Contains(t.Permissions, PermissionAll) || slices.Contains(t.Permissions, a.write())
}

// permissionsNamed are the permission groups that names mean, each once; a name that opens nothing is refused. The public
// API calls what writes also "Edit", and the one of the SSH CA by its area alone.
func permissionsNamed(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		full := n
		if n == string(areaSSH) {
			full = areaSSH.write()
		}
		if a, edits := strings.CutSuffix(n, " Edit"); edits {
			full = area(a).write()
		}
		if !slices.Contains(Permissions(), full) {
			return nil, kind.Field("/permissions", "there is no permission group %q", n).WithHint("they are: %s", strings.Join(Permissions(), ", "))
		}
		if !slices.Contains(out, full) {
			out = append(out, full)
		}
	}
	return out, nil
}
