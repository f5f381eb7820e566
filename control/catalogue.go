package control

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"weft/access"
	"weft/api"
	"weft/control/openapi"
	"weft/internal/buildinfo"
)

// entry says of an endpoint what its handler does not: what it is for, what goes in and what comes out. There is one for
// every route, which a test holds, and what it says of bodies holds for every answer of every test (see controltest).
type entry struct {
	what string
	// in and out are values of the body's and the result's type; nil: there is none.
	in, out any
	// bodyOptional says that the request may come without its body.
	bodyOptional bool
	list         string // of package openapi
	query        []openapi.Parameter
	note         string
	bare         bool
	// media is the type of a bare answer that is not JSON.
	media string
	// refused says that the endpoint is there to refuse, in words, what would otherwise seem to have been done.
	refused bool
}

type catalogue map[string]entry

// fullCatalogue is the table of everything that is served; "~" in it stands for the account's path.
func fullCatalogue() catalogue {
	all := catalogue{}
	for _, part := range []catalogue{targetCatalogue(), networkCatalogue(), applicationCatalogue(), deviceCatalogue(), ruleCatalogue(), accessCatalogue(), sshCatalogue(), sessionCatalogue(), weftCatalogue(), postureCatalogue(), profileCatalogue(), accountCatalogue()} {
		for pattern, e := range part {
			all[strings.Replace(pattern, "~", api.PathManagement+"/accounts/{account}", 1)] = e
		}
	}
	return all
}

// deletedID is the result of deletions that only name what is gone.
type deletedID struct {
	ID string `json:"id"`
}

// entriesOf are the entries of an ordinary resource at a path: in is what is written, out what comes back, gone the result of
// a deletion.
func entriesOf(path, noun, list string, in, out, gone any, update string, filters ...openapi.Parameter) catalogue {
	return catalogue{
		"GET " + path:                 {what: "List the " + noun + "s", out: out, list: list, query: filters},
		"POST " + path:                {what: "Create " + withArticle(noun), in: in, out: out},
		"GET " + path + "/{id}":       {what: "Read " + withArticle(noun), out: out},
		update + " " + path + "/{id}": {what: map[string]string{"PUT": "Replace ", "PATCH": "Change "}[update] + withArticle(noun), in: in, out: out},
		"DELETE " + path + "/{id}":    {what: "Delete " + withArticle(noun), out: gone},
	}
}

// withArticle is a noun with its article.
func withArticle(noun string) string {
	if strings.ContainsAny(noun[:1], "aeio") {
		return "an " + noun
	}
	return "a " + noun
}

// with adds entries, replacing those of the same pattern.
func (c catalogue) with(more catalogue) catalogue {
	maps.Copy(c, more)
	return c
}

// text are parameters of the query that are strings.
func text(names ...string) (out []openapi.Parameter) {
	for _, n := range names {
		out = append(out, openapi.Parameter{Name: n})
	}
	return out
}

// kinds are parameters of one type.
func kinds(kind string, names ...string) (out []openapi.Parameter) {
	for _, n := range names {
		out = append(out, openapi.Parameter{Name: n, Type: kind})
	}
	return out
}

func params(lists ...[]openapi.Parameter) []openapi.Parameter { return slices.Concat(lists...) }

// schemaRules are what reflection cannot see of the wire types.
func schemaRules() openapi.Rules {
	return openapi.Rules{
		Override: map[reflect.Type]openapi.Schema{
			reflect.TypeFor[access.Rule](): {
				"type": "object", "minProperties": 1, "maxProperties": 1,
				"description":          "one selector with its value, such as {\"email\":{\"email\":\"a@b.c\"}} or {\"everyone\":{}}",
				"additionalProperties": openapi.Schema{"type": "object"},
			},
		},
		Ignored: ignoredKeys(),
		Partial: map[reflect.Type]bool{reflect.TypeFor[api.AccessEvent](): true}, // ?fields= names some
	}
}

// ignoredKeys are what clients send besides, by the type of the body.
func ignoredKeys() map[reflect.Type][]string {
	return map[reflect.Type][]string{
		reflect.TypeFor[api.TargetWrite]():             targetNoise,
		reflect.TypeFor[api.VirtualNetworkWrite]():     networkNoise,
		reflect.TypeFor[api.RouteWrite]():              routeNoise,
		reflect.TypeFor[tunnelInput]():                 tunnelNoise,
		reflect.TypeFor[api.ApplicationWrite]():        append([]string{"allowed_idps", "mfa_config"}, applicationNoise...),
		reflect.TypeFor[api.PolicyWrite]():             slices.Concat(policyNoise, restrictions),
		reflect.TypeFor[api.ReusablePolicyWrite]():     reusableNoise,
		reflect.TypeFor[api.NetworkRuleWrite]():        networkRuleNoise,
		reflect.TypeFor[api.ListWrite]():               listNoise,
		reflect.TypeFor[api.ListPatch]():               listNoise,
		reflect.TypeFor[api.RuleGroupWrite]():          append([]string{"is_default"}, ruleGroupNoise...),
		reflect.TypeFor[api.RevokeUser]():              {"user_uid", "devices", "warp_session_reauth"},
		reflect.TypeFor[api.ServiceTokenWrite]():       serviceTokenNoise,
		reflect.TypeFor[api.UserWrite]():               userNoise,
		reflect.TypeFor[api.OrganizationWrite]():       append(slices.Clone(organizationNoise), unenforced...),
		reflect.TypeFor[tunnelConfigurationInput]():    {"account_id", "tunnel_id", "source", "version", "created_at"},
		reflect.TypeFor[api.IdentityProviderWrite]():   identityProviderNoise,
		reflect.TypeFor[api.PostureRuleWrite]():        postureNoise,
		reflect.TypeFor[api.PostureIntegrationWrite](): postureNoise,
		reflect.TypeFor[api.DeviceProfile]():           profileNoise,
	}
}

// The security schemes: which kind of token an endpoint asks for.
const (
	schemeAPI       = "apiToken"
	schemeDevice    = "deviceToken"
	schemeGateway   = "gatewayToken"
	schemeConnector = "connectorToken"
)

func securitySchemes() map[string]any {
	bearer := func(what string) map[string]any {
		return map[string]any{"type": "http", "scheme": "bearer", "description": what}
	}
	return map[string]any{
		schemeAPI:       bearer("An API token (weft token create). X-Auth-Key and X-Auth-User-Service-Key carry it too."),
		schemeDevice:    bearer("The token of an enrolled device."),
		schemeGateway:   bearer("The token of a gateway."),
		schemeConnector: bearer("The token of a tunnel."),
	}
}

// operations are the rows of the table: what the router serves, with what the catalogue says of it, by path and method.
func (c *Control) operations() []openapi.Operation {
	entries := fullCatalogue()
	ops := make([]openapi.Operation, 0, len(c.router.served))
	for _, pattern := range slices.SortedFunc(maps.Keys(c.router.served), byPath) {
		ops = append(ops, operation(pattern, c.router.served[pattern], entries[pattern]))
	}
	return ops
}

// byPath sorts patterns by path, then by method in the order in which one thinks of them.
func byPath(a, b string) int {
	const order = "GET POST PUT PATCH DELETE"
	am, ap, _ := strings.Cut(a, " ")
	bm, bp, _ := strings.Cut(b, " ")
	if ap != bp {
		return strings.Compare(ap, bp)
	}
	return strings.Index(order, am) - strings.Index(order, bm)
}

func operation(pattern string, e *endpoint, x entry) openapi.Operation {
	method, path, _ := strings.Cut(pattern, " ")
	o := openapi.Operation{
		Method: method, Path: path, Summary: x.what, Description: x.note, Request: x.in, RequestOptional: x.bodyOptional,
		Result: x.out, List: x.list, Query: x.query, Stream: e.stream != nil && !x.bare, Bare: x.bare, Media: x.media, Stability: "stable",
	}
	switch {
	case e.area == areaOwn:
		o.Tag, o.Security = "Tokens", schemeAPI
	case e.role == "":
		o.Tag = "Open"
	case e.role != schemeAPI:
		o.Tag, o.Security, o.Stability = "Between Weft's programs", e.role, "internal"
	default:
		o.Tag, o.Security, o.Permission = string(e.area), schemeAPI, PermissionAll
		if e.area != "" && e.reads {
			o.Permission = e.area.read()
		} else if e.area != "" {
			o.Permission = e.area.write()
		}
	}
	if o.Tag == "" {
		o.Tag = PermissionAll
	}
	if path == api.PathEnrol {
		o.Stability = "internal"
	}
	return o
}

// OpenAPI is the description of the whole surface, as it is served.
func (c *Control) OpenAPI() ([]byte, error) { return c.description() }

func (c *Control) describe() ([]byte, error) {
	ops := c.operations()
	var tags []openapi.Tag
	for _, o := range ops {
		if !slices.ContainsFunc(tags, func(t openapi.Tag) bool { return t.Name == o.Tag }) {
			tags = append(tags, openapi.Tag{Name: o.Tag, Description: tagText[o.Tag]})
		}
	}
	return openapi.Build(openapi.Info{
		Title: "Weft", Version: buildinfo.Version(), Tags: tags,
		Description: "The management API under /client/v4 is wire-compatible with the public API that it is named after; " +
			"what that cannot say is under /weft/v1, in the same envelope. Unknown query parameters are ignored, unknown fields of a body are refused.",
	}, schemaRules(), securitySchemes(), ops)
}

var tagText = map[string]string{
	"Tokens":                  "What a token may know of itself.",
	"Open":                    "Without a credential.",
	"Between Weft's programs": "Agents, gateways and connectors; it may change with any version.",
	string(areaZeroTrust):     "Targets, devices, users, network rules, lists.",
	string(areaApps):          "Applications, policies, rule groups, identity.",
	string(areaSSH):           "The certificate authorities of SSH.",
	string(areaAccount):       "The audit log.",
	string(areaTokens):        "Credentials by which machines enrol without a user.",
	string(areaIdentity):      "Who vouches for users.",
	string(areaTunnel):        "Tunnels, virtual networks, routes.",
	string(areaWeft):          "Enrolment, gateways, explanations.",
	PermissionAll:             "What only a token for everything opens.",
}
