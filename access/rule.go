package access

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"weft/internal/kind"
)

// Rule is one selector: on the wire a one-key object such as
// {"email":{"email":"a@b.c"}}. Rules are values: immutable, comparable, and
// written back as they were read. The zero Rule is not valid and never matches.
//
// A selector that Weft does not evaluate is kept, so that one rule from a newer
// version does not make a whole snapshot unreadable. It never matches, and in an
// exclude list it denies, because nobody can tell that it does not match. On
// writes Validate refuses it, and ValidateShared only one that is not Foreign.
type Rule struct {
	sel selector
	// fields are the values as written, in the order of the selector's spec;
	// idp is the identity provider that the rule is limited to, "" for any.
	fields [2]string
	idp    string
	// key and raw are the wire form of a selector that is not evaluated.
	key, raw string
}

// selector says what a rule looks at.
type selector uint8

// The selectors, those first that take the least work: rule sets try them in this order.
const (
	selNone selector = iota // not evaluated
	selEveryone
	selEmail
	selEmailDomain
	selServiceToken
	selAnyServiceToken
	selLoginMethod
	selGeo
	selIP
	selEmailList
	selIPList
	selAuthMethod
	selDevicePosture
	selAzureAD
	selOkta
	selGSuite
	selGitHub
	selSAML
	selOIDC
	selGroup
	selCount
)

// spec is the wire form of a selector.
type spec struct {
	key    string
	fields []field
	idp    bool // takes identity_provider_id
}

// field is one member of a rule's object.
type field struct {
	name     string
	optional bool
	check    func(string) string // says what a value must be, "" when it is that
}

const fieldIdP = "identity_provider_id"

// specs describe the selectors; the rest of the package reads this table. The
// names are those of the public API (Access policies, rule objects).
var specs = [selCount]spec{
	selEmail:           {key: "email", fields: []field{{name: "email", check: checkEmail}}},
	selEmailDomain:     {key: "email_domain", fields: []field{{name: "domain", check: checkDomain}}},
	selEveryone:        {key: "everyone"},
	selIP:              {key: "ip", fields: []field{{name: "ip", check: checkIP}}},
	selGeo:             {key: "geo", fields: []field{{name: "country_code", check: checkCountry}}},
	selSAML:            {key: "saml", fields: []field{{name: "attribute_name", check: checkText}, {name: "attribute_value", check: checkText}}, idp: true},
	selOIDC:            {key: "oidc", fields: []field{{name: "claim_name", check: checkText}, {name: "claim_value", check: checkText}}, idp: true},
	selAuthMethod:      {key: "auth_method", fields: []field{{name: "auth_method", check: checkText}}},
	selLoginMethod:     {key: "login_method", fields: []field{{name: "id", check: checkText}}},
	selDevicePosture:   {key: "device_posture", fields: []field{{name: "integration_uid", check: checkText}}},
	selAzureAD:         {key: "azureAD", fields: []field{{name: "id", check: checkText}}, idp: true},
	selGitHub:          {key: "github-organization", fields: []field{{name: "name", check: checkText}, {name: "team", check: checkText, optional: true}}, idp: true},
	selGSuite:          {key: "gsuite", fields: []field{{name: "email", check: checkEmail}}, idp: true},
	selOkta:            {key: "okta", fields: []field{{name: "name", check: checkText}}, idp: true},
	selServiceToken:    {key: "service_token", fields: []field{{name: "token_id", check: checkText}}},
	selAnyServiceToken: {key: "any_valid_service_token"},
	selEmailList:       {key: "email_list", fields: []field{{name: "id", check: checkText}}},
	selIPList:          {key: "ip_list", fields: []field{{name: "id", check: checkText}}},
	selGroup:           {key: "group", fields: []field{{name: "id", check: checkText}}},
}

// foreign are selectors of the public API that Weft knows and does not evaluate,
// because they ask for what only other kinds of applications have (a client
// certificate, an HTTP request to a service of the customer's, a browser's
// sign-in), with what to do instead.
var foreign = map[string]string{
	"auth_context":              "use auth_method, or an Entra group",
	"certificate":               "use device_posture",
	"cloudflare_account_member": "use email or email_domain",
	"common_name":               "use device_posture",
	"external_evaluation":       "use an identity provider's group or claim",
	"linked_app_token":          "use service_token",
	"user_risk_score":           "use an identity provider's group or claim",
}

// Limits of what one rule may hold.
const (
	MaxRuleBytes      = 8192 // of a rule on the wire
	maxFieldBytes     = 1024
	maxEmailBytes     = 254 // RFC 5321 section 4.5.3.1.3, less the angle brackets
	maxDomainBytes    = 253
	maxSelectorLetter = 64
)

// EmailRule matches one address, without regard to (ASCII) case.
func EmailRule(email string) Rule { return Rule{sel: selEmail, fields: [2]string{email}} }

// Everyone matches every identity, that of a service token included.
func Everyone() Rule { return Rule{sel: selEveryone} }

// GroupRule matches whoever the rule group with this ID matches.
func GroupRule(id string) Rule { return Rule{sel: selGroup, fields: [2]string{id}} }

// Selector returns the key of the wire form, such as "email"; "" for the zero Rule.
func (r Rule) Selector() string {
	if r.sel == selNone {
		return r.key
	}
	return specs[r.sel].key
}

// GroupID returns the ID of the rule group that r refers to, if it does.
func (r Rule) GroupID() (id string, ok bool) { return r.fields[0], r.sel == selGroup }

// PostureID returns the ID of the posture rule that r asks for, if it does.
func (r Rule) PostureID() (id string, ok bool) { return r.fields[0], r.sel == selDevicePosture }

// Equal reports whether both are written alike.
func (r Rule) Equal(o Rule) bool { return r == o }

// Validate refuses, with a kind.Invalid error, a selector that Weft does not
// evaluate and a value that could never match. Pointers are relative to the rule.
func (r Rule) Validate() error {
	if r.sel == selNone {
		return r.refusal()
	}
	s := &specs[r.sel]
	for i, f := range s.fields {
		v := r.fields[i]
		if v == "" && f.optional {
			continue
		}
		if must := f.check(v); must != "" {
			return kind.Field("/"+s.key+"/"+f.name, "%s of selector %s must be %s", f.name, s.key, must)
		}
	}
	if r.idp != "" {
		if must := checkText(r.idp); must != "" {
			return kind.Field("/"+s.key+"/"+fieldIdP, "%s of selector %s must be %s", fieldIdP, s.key, must)
		}
	}
	return nil
}

// Foreign reports whether r has a selector of the public API that Weft does not
// evaluate, as access groups and reusable policies may hold it for other kinds of
// applications.
func (r Rule) Foreign() bool {
	_, known := foreign[r.key]
	return r.sel == selNone && known
}

// ValidateShared is Validate for the rules of what an account shares between kinds
// of applications, access groups and reusable policies: it takes foreign
// selectors, of whose value it checks no more than that it is an object. An
// unknown selector is refused here too, since it may be a typing error.
func (r Rule) ValidateShared() error {
	if !r.Foreign() {
		return r.Validate()
	}
	if !strings.HasPrefix(r.raw, "{") {
		return kind.Field("/"+r.key, "the value of selector %s must be an object", r.key)
	}
	return nil
}

// refusal is the error of a selector that is not evaluated.
func (r Rule) refusal() error {
	if r.key == "" {
		return kind.New(kind.Invalid, "a rule without a selector")
	}
	at := "/" + r.key
	if instead, known := foreign[r.key]; known {
		return kind.Field(at, "selector %q is not supported; it would never match", r.key).WithHint("%s", instead)
	}
	return kind.Field(at, "selector %q is unknown", r.key)
}

// checkText accepts what can be compared exactly: 1 to 1024 bytes of valid UTF-8
// without control characters.
func checkText(s string) string {
	if s == "" || len(s) > maxFieldBytes || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "1 to 1024 bytes of text without control characters"
	}
	return ""
}

// checkEmail accepts an address with something on both sides of its one '@'.
func checkEmail(s string) string {
	_, domain, ok := splitEmail(s)
	if !ok || len(s) > maxEmailBytes || checkText(s) != "" || strings.ContainsFunc(s, unicode.IsSpace) || checkDomain(domain) != "" {
		return "an e-mail address of at most 254 bytes"
	}
	return ""
}

// checkDomain accepts the part of an e-mail address behind the '@'.
func checkDomain(s string) string {
	if s == "" || len(s) > maxDomainBytes || checkText(s) != "" || strings.ContainsFunc(s, unicode.IsSpace) ||
		strings.ContainsAny(s, "@*") || s[0] == '.' || s[len(s)-1] == '.' {
		return "a domain such as example.com, without '@' or wildcard"
	}
	return ""
}

// checkIP accepts an address or a prefix without host bits.
func checkIP(s string) string {
	if _, ok := parseIP(s); !ok {
		return "an IP address, or a prefix without host bits such as 10.0.0.0/8"
	}
	return ""
}

// parseIP reads the value of an ip rule; a single address is a full-length prefix.
func parseIP(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), a.Zone() == "" && !a.Is4In6()
	}
	p, err := netip.ParsePrefix(s)
	return p, err == nil && p == p.Masked() && !p.Addr().Is4In6()
}

// checkCountry accepts ISO 3166-1 alpha-2 codes and the likes of "T1" (Tor).
func checkCountry(s string) string {
	if len(s) != 2 || !asciiLetter(s[0]) || !asciiLetter(s[1]) && (s[1] < '0' || s[1] > '9') {
		return "a country code of two letters (ISO 3166-1 alpha-2)"
	}
	return ""
}
