package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weft/internal/kind"
)

// AuditRecord is an audit event with what is known of its actor.
type AuditRecord struct {
	AuditEvent
	// ActorName is that of the API token, ActorEmail the address behind the device or enrolment key; "" for none.
	ActorName, ActorEmail string
}

// AuditFilter selects audit events; zero fields select all. Every list is of alternatives, Not those of which none may be.
type AuditFilter struct {
	Since, Before time.Time // Since inclusive, Before not
	ActorIP       netip.Prefix
	Is, Not       AuditFields
	HideActors    []string // kinds of actors to leave out
	OldestFirst   bool
	After         string // the cursor: only IDs behind it in the order
}

// AuditFields are values of events by which a filter selects.
type AuditFields struct {
	ID, ActorEmail, ActorID, ActorType, ActorName, ActorIP, ResourceID, ResourceType []string
	// Action is a whole action ("application.create") or its last word ("create").
	Action []string
}

const (
	auditColumns = `e.id, e.revision, e.at, e.actor_type, e.actor_id, e.action, e.object_type, e.object_id, e.detail, e.impact, e.actor_ip,
	COALESCE(t.name, ''), COALESCE(u.email, k.email, '')`
	auditTables = `audit_events e
	LEFT JOIN api_tokens t ON e.actor_type = 'token' AND t.id = e.actor_id
	LEFT JOIN devices d ON e.actor_type = 'device' AND d.id = e.actor_id
	LEFT JOIN users u ON u.id = d.user_id
	LEFT JOIN enrolment_keys k ON e.actor_type = 'enrolment' AND k.id = e.actor_id`
)

func scanAudit(rs *sql.Rows) (AuditRecord, error) {
	var e AuditRecord
	var detail, impact string
	err := rs.Scan(&e.ID, &e.Revision, &e.At, &e.Actor.Type, &e.Actor.ID, &e.Action, &e.ObjectType, &e.ObjectID, &detail, &impact, &e.Actor.IP, &e.ActorName, &e.ActorEmail)
	e.Detail = json.RawMessage(detail)
	if impact != "" {
		e.Impact = json.RawMessage(impact)
	}
	return e, err
}

func (f *AuditFilter) where() *where {
	w := &where{}
	if !f.Since.IsZero() {
		w.add(`e.at >= ?`, Stamp(f.Since))
	}
	if !f.Before.IsZero() {
		w.add(`e.at < ?`, Stamp(f.Before))
	}
	if f.After != "" {
		if f.OldestFirst {
			w.add(`e.id > ?`, f.After)
		} else {
			w.add(`e.id < ?`, f.After)
		}
	}
	f.Is.add(w, "")
	f.Not.add(w, "NOT ")
	if len(f.HideActors) > 0 {
		w.addNotIn(`e.actor_type`, f.HideActors)
	}
	return w
}

func (a *AuditFields) add(w *where, not string) {
	for _, c := range []struct {
		column string
		values []string
	}{
		{"e.id", a.ID},
		{"e.actor_id", a.ActorID},
		{"e.actor_type", a.ActorType},
		{"COALESCE(t.name, '')", a.ActorName},
		{"e.actor_ip", a.ActorIP},
		{"e.object_id", a.ResourceID},
		{"e.object_type", a.ResourceType},
	} {
		w.addEither(not, c.values, func(string) string { return c.column + " = ?" })
	}
	keys := make([]string, len(a.ActorEmail))
	for i, e := range a.ActorEmail {
		keys[i] = emailKey(e)
	}
	w.addEither(not, keys, func(string) string { return `LOWER(COALESCE(u.email, k.email, '')) = ?` })
	actions := make([]string, len(a.Action))
	for i, x := range a.Action {
		if actions[i] = x; !strings.Contains(x, ".") {
			actions[i] = "%." + escapeLike(x)
		}
	}
	w.addEither(not, actions, func(v string) string {
		if strings.HasPrefix(v, "%.") {
			return `e.action LIKE ? ESCAPE '\'`
		}
		return "e.action = ?"
	})
}

// addEither asks for one of clauses, each with one of values; not is "" or "NOT ". None asks for nothing.
func (w *where) addEither(not string, values []string, clause func(string) string) {
	if len(values) == 0 {
		return
	}
	clauses, args := make([]string, len(values)), make([]any, len(values))
	for i, v := range values {
		clauses[i], args[i] = clause(v), v
	}
	w.add(not+"("+strings.Join(clauses, " OR ")+")", args...)
}

func (w *where) addNotIn(expression string, values []string) {
	w.addEither("NOT ", values, func(string) string { return expression + " = ?" })
}

// Audit lists the audit events that f selects, the newest first unless it says otherwise; total counts all pages.
func (r *Reader) Audit(ctx context.Context, f AuditFilter, p Page) (list []AuditRecord, total int, err error) {
	w := f.where()
	if f.ActorIP.IsValid() {
		in, err := r.actorIPs(ctx, f.ActorIP)
		if err != nil {
			return nil, 0, err
		}
		w.addIn(`e.actor_ip`, in)
	}
	if total, err = r.count(ctx, auditTables, w); err != nil {
		return nil, 0, err
	}
	order := ` ORDER BY e.id DESC`
	if f.OldestFirst {
		order = ` ORDER BY e.id`
	}
	list, err = collect(ctx, r.q, scanAudit, `SELECT `+auditColumns+` FROM `+auditTables+w.String()+order+
		` LIMIT `+w.next(p.Size)+` OFFSET `+w.next(p.offset()), w.args...)
	return list, total, err
}

// maxActorIPs bounds how many addresses of a prefix a filter can name.
const maxActorIPs = 500

// actorIPs are the addresses within a prefix from which something was changed.
func (r *Reader) actorIPs(ctx context.Context, p netip.Prefix) ([]string, error) {
	all, err := collect(ctx, r.q, func(rs *sql.Rows) (s string, err error) { return s, rs.Scan(&s) },
		`SELECT DISTINCT actor_ip FROM audit_events WHERE actor_ip <> '' ORDER BY actor_ip`)
	in := slices.DeleteFunc(all, func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err != nil || !p.Contains(a)
	})
	if len(in) > maxActorIPs {
		return nil, kind.New(kind.Invalid, "changes were made from %d addresses in %s; name a smaller prefix", len(in), p)
	}
	return in, err
}
