package control

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// maxBatch bounds the targets of one bulk request.
const maxBatch = 1000

// targetNoise are keys that clients send back from an answer.
var targetNoise = []string{"id", "created_at", "modified_at"}

func (c *Control) createTarget(ctx context.Context, q *call) (answer, error) {
	var in api.TargetWrite
	if err := q.body(&in, targetNoise...); err != nil {
		return answer{}, err
	}
	var t api.Target
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		t, err = tx.CreateTarget(ctx, "", in)
		return err
	})
	return answer{result: t}, err
}

func (c *Control) getTarget(ctx context.Context, q *call) (answer, error) {
	var t api.Target
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		t, err = r.Target(ctx, q.params["id"])
		return err
	})
	return answer{result: t}, err
}

func (c *Control) replaceTarget(ctx context.Context, q *call) (answer, error) {
	var in api.TargetWrite
	if err := q.body(&in, targetNoise...); err != nil {
		return answer{}, err
	}
	var t api.Target
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		t, err = tx.ReplaceTarget(ctx, q.params["id"], in)
		return err
	})
	return answer{result: t}, err
}

func (c *Control) deleteTarget(ctx context.Context, q *call) (answer, error) {
	id := q.params["id"]
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeleteTarget(ctx, id) })
	return answer{result: map[string]string{"id": id}}, err
}

// createTargets creates all targets of a bare array or none.
func (c *Control) createTargets(ctx context.Context, q *call) (answer, error) {
	var in []api.TargetWrite
	if err := q.body(&in, targetNoise...); err != nil {
		return answer{}, err
	}
	if len(in) > maxBatch {
		return answer{}, kind.New(kind.Limit, "a batch can hold %d targets; this one has %d", maxBatch, len(in))
	}
	var out []api.Target
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		out = []api.Target{} // the database may ask for all of it once more
		for i, w := range in {
			t, err := tx.CreateTarget(ctx, "/"+strconv.Itoa(i), w)
			if err != nil {
				return err
			}
			out = append(out, t)
		}
		return nil
	})
	return answer{result: out}, err
}

// deleteTargets deletes all named targets or none. A request without a body, as one generated client sends it,
// names nothing and is refused.
func (c *Control) deleteTargets(ctx context.Context, q *call) (answer, error) {
	var in api.TargetIDs
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	if len(in.TargetIDs) == 0 {
		return answer{}, kind.Field("/target_ids", "at least one target must be named")
	}
	if len(in.TargetIDs) > maxBatch {
		return answer{}, kind.New(kind.Limit, "a batch can hold %d targets; this one has %d", maxBatch, len(in.TargetIDs))
	}
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(in.TargetIDs))) { // naming one twice is naming it
			if err := tx.DeleteTarget(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
	return answer{}, err
}

func (c *Control) listTargets(ctx context.Context, q *call) (answer, error) {
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	f, err := targetFilter(q)
	if err != nil {
		return answer{}, err
	}
	var list []api.Target
	var total int
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		list, total, err = r.ListTargets(ctx, f, p)
		return err
	})
	return paged(list, total, p), err
}

func targetFilter(q *call) (store.TargetFilter, error) {
	f := store.TargetFilter{
		Hostname: q.query.Get("hostname"), HostnameContains: q.query.Get("hostname_contains"),
		IPLike: q.query.Get("ip_like"), VNET: q.query.Get("virtual_network_id"),
	}
	for _, x := range []struct {
		name string
		is4  bool
		to   *netip.Addr
	}{
		{"ip_v4", true, &f.IPv4},
		{"ipv4_start", true, &f.IPv4Start},
		{"ipv4_end", true, &f.IPv4End},
		{"ip_v6", false, &f.IPv6},
		{"ipv6_start", false, &f.IPv6Start},
		{"ipv6_end", false, &f.IPv6End},
	} {
		a, err := q.queryAddr(x.name)
		if err != nil {
			return f, err
		}
		if a.IsValid() && a.Is4() != x.is4 {
			return f, badQuery(x.name, a.String(), "an "+map[bool]string{true: "IPv4", false: "IPv6"}[x.is4]+" address")
		}
		*x.to = a
	}
	if f.IPv4Start.IsValid() != f.IPv4End.IsValid() || f.IPv6Start.IsValid() != f.IPv6End.IsValid() {
		return f, kind.New(kind.Invalid, "a range of addresses needs both its start and its end")
	}
	for name, to := range map[string]*time.Time{
		"created_after": &f.CreatedAfter, "created_before": &f.CreatedBefore,
		"modified_after": &f.ModifiedAfter, "modified_before": &f.ModifiedBefore,
	} {
		t, err := q.queryTime(name)
		if err != nil {
			return f, err
		}
		*to = t
	}
	return f, targetLists(q, &f)
}

// targetLists reads the repeatable parameters and the order.
func targetLists(q *call, f *store.TargetFilter) error {
	if len(q.query["ips"])+len(q.query["target_ids"])+len(q.query["tag"])+len(q.query["tags"]) > maxBatch {
		return kind.New(kind.Limit, "the query repeats parameters more than %d times", maxBatch)
	}
	for _, s := range q.query["ips"] {
		a, err := store.ParseAddr("", s)
		if err != nil {
			return badQuery("ips", s, "an IP address")
		}
		f.IPs = append(f.IPs, a)
	}
	f.IDs = q.query["target_ids"]
	for _, s := range slices.Concat(q.query["tag"], q.query["tags"]) {
		k, v, ok := strings.Cut(s, ":")
		if !ok {
			return badQuery("tag", s, "key:value")
		}
		f.Tags = append(f.Tags, [2]string{k, v})
	}
	order := q.query.Get("order")
	tag, byTag := strings.CutPrefix(order, "tag:")
	switch {
	case order == "", order == "created_at":
	case order == "hostname":
		f.OrderByHostname = true
	case byTag && tag != "":
		f.OrderByTag = tag
	default:
		return badQuery("order", order, "hostname, created_at or tag:KEY")
	}
	switch direction := q.query.Get("direction"); direction {
	case "", "asc":
	case "desc":
		f.Descending = true
	default:
		return badQuery("direction", direction, "asc or desc")
	}
	return nil
}
