// Package access decides who may reach what. [Evaluate] is the only authority:
// the gateway calls it for every flow and every SSH login, control calls it to
// build a user's target list and to explain a denial. The package is pure: no
// network, files, clock, goroutines or logging; what a decision needs is in its
// arguments.
//
// # How a value flows
//
// Control keeps targets, applications and rule groups, and checks each write with
// Validate, [CheckPorts], [CheckGroups] and [targets.Index.CheckFree]. [Compile]
// turns all of them into a [Snapshot], which is immutable and indexed. A [Query]
// names an identity, a device, and a destination in a virtual network; Evaluate
// answers it with a [Decision], which points into the snapshot.
//
// # Order of evaluation
//
// The first step that fails decides, with the reason given.
//
//  1. There is a snapshot (no_snapshot).
//  2. The identity is known: it has a user or a service token
//     (identity_unknown), and is not revoked (identity_revoked).
//  3. The device is known: it has an ID (device_unknown), and is not revoked
//     (device_revoked). It may use the query's virtual network
//     (vnet_not_permitted).
//  4. The destination's address, in the query's VNET, belongs to a target
//     (no_target). An IPv4-mapped address and one with a zone belong to none.
//     Before what follows, network rules have their say (below; network_blocked).
//  5. An application covers the target at the port: one of its criteria has the
//     port and selects the target: by attributes, of each of which the target has
//     one of the values, or by any of include, all of require and none of exclude
//     entries of attributes; and the port's protocol runs over the transport (no_application).
//     Criteria are compared with what targets are called now, so a new target
//     with a hostname is covered at once, and a renamed one no longer.
//  6. One policy of one of these applications grants.
//
// A policy grants when, in this order,
//
//   - any include rule matches, else it has no say (no_policy when none has one),
//   - no exclude rule matches (excluded),
//   - all require rules match (require_missing),
//   - and it permits the login (login_not_permitted).
//
// Applications are evaluated in the order of their IDs, the policies of one by
// precedence, lowest first, and then as listed. There is no policy that denies,
// so the order does not change whether access is granted; it chooses whom the
// decision names: the first policy that grants it. When none does, the decision
// names the policy that came closest, in the order login_not_permitted,
// require_missing, excluded, and the first of those. [Explain] tells what every
// policy said, and by which rule.
//
// # Network rules
//
// A [NetworkRule] blocks or lets pass by address, port, user and posture (package
// netexpr). The rules are gone through by precedence, lowest first, and the first
// that matches ends it: one that blocks denies (network_blocked), one that allows
// goes on to the applications, as does a flow that no rule matches. A rule never
// grants: whoever passes must still be granted by a policy. So a rule that allows
// "access.target" puts the applications before the rules behind it, as the seed's
// page has it. What a rule asks and nobody knows fails closed: it does not allow,
// and it blocks; so does a rule that cannot be evaluated or has an unknown action.
//
// # Logins
//
// SSH is terminated at the gateway, so its policies say as which UNIX users:
// connection_rules.ssh.usernames, and with allow_email_alias the part of the
// identity's e-mail before the "@", in lower case ([EmailAlias]). When several
// policies match, the users that they grant are united, and each is attributed
// to its policies ([Grants]). Users are compared exactly. A policy without
// connection rules grants no user, and so no access to SSH: a query without a
// login asks whether the flow may be opened, and for SSH that needs one user at
// least. Every other protocol is relayed: it needs no connection rules, and a
// query with a login is denied.
//
// An alias is a UNIX user like another: whoever can choose an e-mail address in
// an included domain can choose "root". Include addresses or groups, or verify
// addresses, where that matters. An e-mail whose local part cannot be a UNIX user
// ([ValidateLogin]) and an identity without e-mail have no alias.
//
// A login is governed by one policy: the first, in the order above, that grants that UNIX user to the identity, which
// is the one that the decision names. Its [SSHRules] say which forwardings the login may use and how long it may
// last. What other policies would allow is not added: who may log in as "deploy" by one policy with forwarding and by another
// without has what the first of them says. Order policies by precedence where that matters.
//
// # Rules
//
// On the wire a rule is an object with one key ([Rule]); each kind matches
//
//   - email, email_domain: the identity's address, or what follows its "@"; an
//     address with two "@" has no domain. A domain does not include its subdomains
//   - everyone: every identity
//   - azureAD (ID), okta (name), gsuite (e-mail), github-organization (name, and
//     team if given): a membership; saml, oidc: a value of an attribute or claim.
//     With identity_provider_id only if that provider vouched for the user,
//     without it whichever did
//   - login_method: the identity provider; auth_method: one of its "amr" (RFC 8176)
//   - service_token, any_valid_service_token: the token behind the device
//   - ip (an address or a prefix), geo (a country code): where the device
//     connects from
//   - email_list, ip_list: an item of a [List] of type EMAIL or IP, compared as by
//     email and ip; an empty list has nobody
//   - device_posture: a posture check that the device passes
//   - group: whoever the rule group matches, by its include, require and exclude;
//     groups may refer to groups ([MaxGroupDepth]), not in a circle
//
// E-mail addresses, domains, country codes and GitHub names are compared without
// regard to ASCII case; all else exactly.
//
// Accounts share groups and reusable policies with applications that are reached
// by a browser, whose selectors (certificate, common_name, external_evaluation,
// auth_context, linked_app_token, user_risk_score, cloudflare_account_member) ask
// for what a flow through a tunnel does not have. Groups and reusable policies hold
// them as they were written, so that one configuration serves both; here they are
// never evaluated. A policy of an infrastructure application cannot hold them.
//
// # Unknown is not no
//
// A rule can be impossible to evaluate: its selector is one that this version
// does not know or evaluate, its group or list is gone or the list of another
// type, the device's address or country is not known. Such a rule is unknown, and unknown never grants: it does not include,
// it does not meet a requirement, and where it would exclude, it does. Within
// rule groups it follows Kleene's logic, so that a group with an unknown require
// rule and no include rule that matches is simply no match.
//
// # Cost
//
// Compile resolves criteria once, so a decision is two map accesses to find what
// covers the destination, and then work in the number of things that the subject
// is (its e-mail, domain, groups, passed checks), not of rules, policies or
// targets. Whether a subject is on a list is looked up once for each decision,
// however long the list, and a list that changes is compiled alone. The allow path
// allocates nothing.
package access
