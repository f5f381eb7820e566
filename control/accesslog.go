package control

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// listAccessRequests is the access log. Every filter may have an operator beside it: "eq", the default, or "neq".
func (c *Control) listAccessRequests(ctx context.Context, q *call) (answer, error) {
	f, err := accessFilter(q)
	if err != nil {
		return answer{}, err
	}
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	if q.query.Get("per_page") == "" {
		if p.Size, err = q.queryLimit(p.Size); err != nil {
			return answer{}, err
		}
	}
	var events []store.AccessEvent
	var total int
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		events, total, err = r.AccessEvents(ctx, f, p)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	out := make([]any, len(events))
	for i := range events {
		if out[i], err = onlyFields(events[i].AccessEvent, q.query.Get("fields")); err != nil {
			return answer{}, err
		}
	}
	return paged(out, total, p), nil
}

// accessOperators are the filters that have an operator.
var accessOperators = []string{"email", "allowed", "app_uid", "user_id", "device_id", "ray_id", "idp", "non_identity", "app_type", "country_code"}

func accessFilter(q *call) (store.AccessFilter, error) {
	f := store.AccessFilter{
		Email: q.query.Get("email"), UserID: q.query.Get("user_id"), DeviceID: q.query.Get("device_id"), AppUID: q.query.Get("app_uid"),
		Connection: q.query.Get("idp"), RayID: q.query.Get("ray_id"), Not: map[string]bool{},
	}
	exact, err := q.queryBool("email_exact")
	if err != nil {
		return f, err
	}
	f.EmailExact = deref(exact)
	if f.Since, err = q.queryTime("since"); err != nil {
		return f, err
	}
	if f.Until, err = q.queryTime("until"); err != nil {
		return f, err
	}
	if f.Allowed, err = q.queryBool("allowed"); err != nil {
		return f, err
	}
	if f.NonIdentity, err = q.queryBool("non_identity"); err != nil {
		return f, err
	}
	if f.OldestFirst, err = q.queryDirection(); err != nil {
		return f, err
	}
	for _, field := range accessOperators {
		switch op := q.query.Get(field + "Op"); op {
		case "", "eq":
		case "neq":
			f.Not[field] = true
		default:
			return f, badQuery(field+"Op", op, "eq or neq")
		}
	}
	impossible(q, &f)
	return f, nil
}

// impossible makes of filters by what no event has, or all have, a filter that selects nothing, or everything: all applications are
// of one type, and no country is known.
func impossible(q *call, f *store.AccessFilter) {
	for field, all := range map[string]string{"app_type": api.ApplicationType, "country_code": ""} {
		if v := q.query.Get(field); v != "" && (v == all) == f.Not[field] {
			f.UserID, f.Not["user_id"] = "none", false
		}
	}
}

// queryLimit is how many the caller wants.
func (q *call) queryLimit(preset int) (int, error) { return q.queryInt("limit", preset, 1, maxPerPage) }

// queryDirection reports whether the oldest come first.
func (q *call) queryDirection() (oldestFirst bool, err error) {
	switch d := q.query.Get("direction"); d {
	case "", "desc":
		return false, nil
	case "asc":
		return true, nil
	default:
		return false, badQuery("direction", d, "asc or desc")
	}
}

// onlyFields leaves of an object the members that a comma-separated list names; all for "".
func onlyFields(v any, fields string) (any, error) {
	if fields == "" {
		return v, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	wanted := strings.Split(fields, ",")
	for _, name := range wanted {
		if _, ok := all[name]; !ok {
			return nil, kind.New(kind.Invalid, "there is no field %q in the access log", name)
		}
	}
	for name := range all {
		if !slices.Contains(wanted, name) {
			delete(all, name)
		}
	}
	return all, nil
}
