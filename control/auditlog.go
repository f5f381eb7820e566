package control

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// The kinds of actors that people stand behind, and of those the users of devices.
var userActors = []string{"device", "enrolment", "service_token"}

// listAuditLogs is the audit log in its older form.
func (c *Control) listAuditLogs(ctx context.Context, q *call) (answer, error) {
	f, err := auditFilter(q)
	if err != nil {
		return answer{}, err
	}
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	var events []store.AuditRecord
	var total int
	if q.query.Get("zone.name") == "" { // there are no zones
		err = c.store.View(ctx, func(r *store.Reader) (err error) {
			events, total, err = r.Audit(ctx, f, p)
			return err
		})
	}
	out := make([]api.AuditLog, len(events))
	for i := range events {
		out[i] = c.auditLog(&events[i])
	}
	return paged(out, total, p), err
}

func auditFilter(q *call) (f store.AuditFilter, err error) {
	if f.Since, err = q.queryDay("since"); err != nil {
		return f, err
	}
	if f.Before, err = q.queryDay("before"); err != nil {
		return f, err
	}
	if f.OldestFirst, err = q.queryDirection(); err != nil {
		return f, err
	}
	export, err := q.queryBool("export")
	if err == nil && deref(export) {
		err = kind.New(kind.Invalid, "the audit log is not exported as CSV; read its pages")
	}
	if err != nil {
		return f, err
	}
	hide, err := q.queryBool("hide_user_logs")
	if err != nil {
		return f, err
	}
	if deref(hide) {
		f.HideActors = userActors
	}
	if s := q.query.Get("actor.ip"); s != "" {
		if f.ActorIP, err = addrOrPrefix(s); err != nil {
			return f, badQuery("actor.ip", s, "an IP address or prefix")
		}
	}
	f.Is.ID, f.Is.Action, f.Is.ActorEmail = q.queryList("id"), q.queryList("action.type"), q.queryList("actor.email")
	return f, nil
}

func addrOrPrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return p.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return a.Unmap().WithZone("").Prefix(a.Unmap().BitLen())
}

// queryDay reads a time, or a day, which begins at midnight UTC.
func (q *call) queryDay(name string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, q.query.Get(name)); err == nil {
		return t, nil
	}
	return q.queryTime(name)
}

// maxListed bounds the values of one query parameter.
const maxListed = 100

// queryList is the values of a parameter that may stand more than once.
func (q *call) queryList(name string) []string {
	all := slices.DeleteFunc(slices.Clone(q.query[name]), func(s string) bool { return s == "" })
	return all[:min(len(all), maxListed)]
}

func (c *Control) auditLog(e *store.AuditRecord) api.AuditLog {
	l := api.AuditLog{
		ID: e.ID, Action: api.AuditLogAction{Result: true, Type: e.Action},
		Actor:     api.AuditLogActor{ID: e.Actor.ID, Email: e.ActorEmail, IP: e.Actor.IP, Type: actorType(e)},
		Interface: "API", Metadata: map[string]any{"actor_type": e.Actor.Type, "actor_name": e.ActorName, "revision": e.Revision},
		Owner: api.AuditLogOwner{ID: c.AccountID()}, Resource: api.AuditLogResource{ID: e.ObjectID, Type: e.ObjectType}, When: e.At,
	}
	if e.Impact != nil {
		l.Metadata["impact"] = e.Impact // of the change on who may reach what (api.Impact)
	}
	before, after := changeOf(e)
	l.OldValueJSON, l.NewValueJSON = asObject(before), asObject(after)
	l.OldValue, l.NewValue = string(before), string(after)
	return l
}

func actorType(e *store.AuditRecord) string {
	if e.Actor.Type == "token" || slices.Contains(userActors, e.Actor.Type) {
		return "user"
	}
	return "system"
}

// changeOf is how an object was before and after an event; empty: not at all.
func changeOf(e *store.AuditRecord) (before, after json.RawMessage) {
	var both struct{ Before, After json.RawMessage }
	if json.Unmarshal(e.Detail, &both) == nil && both.Before != nil && both.After != nil {
		return both.Before, both.After
	}
	if verbOf(e.Action) == "delete" {
		return e.Detail, nil
	}
	return nil, e.Detail
}

func asObject(raw json.RawMessage) map[string]any {
	m := map[string]any{}
	if len(raw) == 0 || json.Unmarshal(raw, &m) == nil && m != nil {
		return m
	}
	return map[string]any{"value": raw}
}

func verbOf(action string) string { return action[strings.LastIndexByte(action, '.')+1:] }

// The last words of actions by what the newer form calls them; all others are updates.
var (
	createVerbs = []string{"create", "enrol", "issue", "make"}
	deleteVerbs = []string{"delete"}
)

func actionType(action string) string {
	switch verb := verbOf(action); {
	case slices.Contains(createVerbs, verb):
		return "create"
	case slices.Contains(deleteVerbs, verb):
		return "delete"
	}
	return "update"
}

const defaultAuditLimit = 100

// listAuditEntries is the audit log in its newer form.
func (c *Control) listAuditEntries(ctx context.Context, q *call) (answer, error) {
	f, err := auditEntryFilter(q)
	if err != nil {
		return answer{}, err
	}
	limit, err := q.queryInt("per_page", defaultAuditLimit, 1, maxPerPage) // as other lists call it
	if err != nil {
		return answer{}, err
	}
	limit, err = q.queryLimit(limit)
	if err != nil {
		return answer{}, err
	}
	var events []store.AuditRecord
	if !c.elsewhere(q) {
		err = c.store.View(ctx, func(r *store.Reader) (err error) {
			events, _, err = r.Audit(ctx, f, store.Page{Number: 1, Size: limit})
			return err
		})
	}
	info := api.CursorInfo{Count: len(events), PerPage: limit}
	if len(events) == limit {
		info.Cursor = events[limit-1].ID
		info.Cursors.After = info.Cursor
	}
	out := make([]api.AuditEntry, len(events))
	for i := range events {
		out[i] = c.auditEntry(&events[i])
	}
	return answer{result: out, info: info}, err
}

// auditProduct is what all resources are of.
const auditProduct = "zero_trust"

// elsewhere reports whether a filter asks for what no event has.
func (c *Control) elsewhere(q *call) bool {
	for name, have := range map[string]string{
		"zone_id": "", "zone_name": "", "raw_cf_ray_id": "", "raw_method": "", "raw_status_code": "", "raw_uri": "",
		"account_name": c.store.Account().Name, "action_result": "success", "resource_product": auditProduct, "resource_scope": "accounts",
	} {
		if is := q.queryList(name); len(is) > 0 && !slices.Contains(is, have) {
			return true
		}
		if have != "" && slices.Contains(q.queryList(name+".not"), have) {
			return true
		}
	}
	return false
}

func auditEntryFilter(q *call) (f store.AuditFilter, err error) {
	for name, to := range map[string]*time.Time{"since": &f.Since, "before": &f.Before} {
		if *to, err = q.queryDay(name); err != nil {
			return f, err
		}
	}
	if f.OldestFirst, err = q.queryDirection(); err != nil {
		return f, err
	}
	f.After = q.query.Get("cursor")
	for _, x := range []struct {
		suffix string
		to     *store.AuditFields
	}{{"", &f.Is}, {".not", &f.Not}} {
		list := func(name string) []string { return q.queryList(name + x.suffix) }
		*x.to = store.AuditFields{
			ID: append(list("id"), list("audit_log_id")...), ActorEmail: list("actor_email"), ActorID: list("actor_id"), ActorIP: list("actor_ip_address"),
			ActorName: list("actor_token_name"), ResourceID: list("resource_id"), ResourceType: list("resource_type"),
		}
		x.to.ActorID = append(x.to.ActorID, list("actor_token_id")...)
		if x.to.ActorType, err = actorKinds(list("actor_type"), list("actor_context")); err != nil {
			return f, err
		}
	}
	return f, actionFilter(&f, q.queryList("action_type"), q.queryList("action_type.not"))
}

// actorKinds are the store's kinds of actors for the words of the newer form.
func actorKinds(types, contexts []string) (kinds []string, err error) {
	for _, t := range types {
		switch t {
		case "user":
			kinds = append(append(kinds, "token"), userActors...)
		case "system":
			kinds = append(kinds, "system", "gateway", "connector")
		case "account", "cloudflare_admin":
			kinds = append(kinds, "none")
		default:
			return nil, badQuery("actor_type", t, "user or system")
		}
	}
	for _, x := range contexts {
		if x == "api_token" {
			kinds = append(kinds, "token")
		} else {
			kinds = append(kinds, "none")
		}
	}
	return kinds, nil
}

// actionFilter turns the three types of actions into the actions that they stand for.
func actionFilter(f *store.AuditFilter, is, not []string) error {
	for _, t := range append(slices.Clone(is), not...) {
		if !slices.Contains([]string{"create", "update", "delete", "view"}, t) {
			return badQuery("action_type", t, "create, update, delete or view")
		}
	}
	wanted := func(t string) bool { return (len(is) == 0 || slices.Contains(is, t)) && !slices.Contains(not, t) }
	verbs := map[string][]string{"create": createVerbs, "delete": deleteVerbs}
	if wanted("update") {
		for t, v := range verbs {
			if !wanted(t) {
				f.Not.Action = append(f.Not.Action, v...)
			}
		}
		return nil
	}
	f.Is.Action = []string{"none"}
	for t, v := range verbs {
		if wanted(t) {
			f.Is.Action = append(f.Is.Action, v...)
		}
	}
	return nil
}

func (c *Control) auditEntry(e *store.AuditRecord) api.AuditEntry {
	a := api.AuditEntry{
		ID: e.ID, Account: api.AuditEntryAccount{ID: c.AccountID(), Name: c.store.Account().Name},
		Action:   api.AuditEntryAction{Description: e.Action, Result: "success", Time: e.At, Type: actionType(e.Action)},
		Actor:    api.AuditEntryActor{ID: e.Actor.ID, Email: e.ActorEmail, IPAddress: e.Actor.IP, Type: actorType(e)},
		Resource: api.AuditEntryResource{ID: e.ObjectID, Product: auditProduct, Type: e.ObjectType, Scope: "accounts", Response: e.Detail},
	}
	if e.Actor.Type == "token" {
		a.Actor.Context, a.Actor.TokenID, a.Actor.TokenName = "api_token", e.Actor.ID, e.ActorName
	}
	return a
}
