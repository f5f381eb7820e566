package control

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

// impactLimits bound a comparison.
type impactLimits struct {
	targets int // that may be reached otherwise than before
	pairs   int // of these targets and devices
	rows    int // that are named; the rest is counted
}

// The comparison that was asked for may take its time; the one of a write is made while no other write goes on.
var (
	askedLimits   = impactLimits{targets: 20_000, pairs: 4_000_000, rows: 200}
	auditedLimits = impactLimits{targets: 500, pairs: 20_000, rows: 20}
)

// impact answers what a change would do, by making it, looking, and taking it back.
func (c *Control) impact(ctx context.Context, q *call) (answer, error) {
	fn, err := plannedChange(ctx, q)
	if err != nil {
		return answer{}, err
	}
	changes, err := c.store.DryRun(ctx, q.actor, fn)
	if err != nil {
		return answer{}, err
	}
	v, err := c.hub.at(ctx, q.revision)
	if err != nil {
		return answer{}, err
	}
	out, err := compareChanges(v, changes, askedLimits)
	if err != nil {
		return answer{}, err
	}
	out.Change = q.query.Get("change")
	return answer{result: out}, nil
}

// plannedChange reads the query.
func plannedChange(ctx context.Context, q *call) (func(*store.Tx) error, error) {
	what, id, to := q.query.Get("change"), q.query.Get("id"), q.query.Get("to")
	cascade, err := q.queryBool("cascade")
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, kind.New(kind.Invalid, "the query parameter id must name what is to be changed")
	}
	if named := strings.HasSuffix(what, ".rename") || what == api.ChangeRouteMove; named && to == "" {
		return nil, kind.New(kind.Invalid, "the query parameter to is required for %s", what)
	}
	switch what {
	case api.ChangeTargetRename:
		return func(tx *store.Tx) error { return renameTarget(ctx, tx, id, to) }, nil
	case api.ChangeTargetDelete:
		return func(tx *store.Tx) error { return tx.DeleteTarget(ctx, id) }, nil
	case api.ChangeNetworkRename:
		return func(tx *store.Tx) error { _, err := tx.UpdateNetwork(ctx, id, &to, nil, nil); return err }, nil
	case api.ChangeNetworkDelete:
		return func(tx *store.Tx) error { _, err := tx.DeleteNetwork(ctx, id); return err }, nil
	case api.ChangeRouteMove:
		return func(tx *store.Tx) error { _, err := tx.UpdateRoute(ctx, id, api.RouteWrite{TunnelID: &to}); return err }, nil
	case api.ChangeRouteDelete:
		return func(tx *store.Tx) error { _, err := tx.DeleteRoute(ctx, id); return err }, nil
	case api.ChangeTunnelRename:
		return func(tx *store.Tx) error {
			_, err := tx.UpdateTunnel(ctx, id, store.TunnelChange{Name: &to})
			return err
		}, nil
	case api.ChangeTunnelDelete:
		return func(tx *store.Tx) error { _, err := tx.DeleteTunnel(ctx, id, deref(cascade)); return err }, nil
	case api.ChangeApplicationDelete:
		return func(tx *store.Tx) error { return tx.DeleteApplication(ctx, id) }, nil
	case api.ChangePolicyDelete:
		return func(tx *store.Tx) error { return tx.DeletePolicy(ctx, q.query.Get("application"), id) }, nil
	}
	return nil, kind.New(kind.Invalid, "the query parameter change must be one of %s, not %q", strings.Join(api.Changes, ", "), clipped(what))
}

func renameTarget(ctx context.Context, tx *store.Tx, id, to string) error {
	t, err := tx.Target(ctx, id)
	if err != nil {
		return err
	}
	_, err = tx.ReplaceTarget(ctx, id, api.TargetWrite{Hostname: to, IP: t.IP, Tags: t.Tags})
	return err
}

// auditedImpact is what stands in the audit event of a write: nil for writes that take nothing away.
func (c *Control) auditedImpact(changes []store.Change) any {
	v := c.hub.current.Load()
	if v == nil || !slices.ContainsFunc(changes, worthComparing) {
		return nil
	}
	out, err := compareChanges(v, changes, auditedLimits)
	if err != nil {
		// The write is good; that nobody could say what it does is worth as much as what it does.
		out = api.Impact{Revision: v.revision, Note: "it could not be compared", Lost: noRows(), Gained: noRows()}
	}
	out.Change = actionsOf(changes)
	return out
}

func noRows() api.ImpactRows { return api.ImpactRows{Rows: []api.ImpactRow{}} }

// worthComparing are the changes and deletions of what decides who reaches what, and how.
func worthComparing(ch store.Change) bool {
	switch ch.Collection {
	case store.Targets, store.Routes, store.Networks, store.Tunnels, store.Applications:
		return ch.Before != nil
	}
	return false
}

// actionsOf names what was done, each once.
func actionsOf(changes []store.Change) string {
	var names []string
	for _, ch := range changes {
		if !slices.Contains(names, ch.Action) {
			names = append(names, ch.Action)
		}
	}
	return strings.Join(names, " ")
}

// comparison is the account before and after some changes.
type comparison struct {
	v      *view
	limits impactLimits
	out    api.Impact
	// What the changes did, by ID; nil is gone.
	targets map[targets.ID]*targets.Target
	routes  map[string]*vnet.Route
	apps    map[string]*access.Application
	tables  [2]*vnet.Table
}

// compareChanges finds who loses and who gains by changes to the state of v.
func compareChanges(v *view, changes []store.Change, limits impactLimits) (api.Impact, error) {
	x := &comparison{
		v: v, limits: limits, targets: map[targets.ID]*targets.Target{}, routes: map[string]*vnet.Route{}, apps: map[string]*access.Application{},
		out: api.Impact{Revision: v.revision, Complete: true, Lost: noRows(), Gained: noRows()},
	}
	for _, ch := range changes {
		if err := x.adopt(ch); err != nil {
			return x.out, err
		}
	}
	if err := x.route(); err != nil {
		return x.out, err
	}
	before, after := x.affected()
	if len(before)+len(after) == 0 {
		return x.out, nil
	}
	return x.out, x.compare(before, after)
}

// adopt takes one change in.
func (x *comparison) adopt(ch store.Change) error {
	switch ch.Collection {
	case store.Targets:
		x.targets[targets.ID(ch.ID)] = nil
		if t, ok := ch.After.(api.Target); ok {
			d, err := store.DomainTarget(t)
			if err != nil {
				return err
			}
			x.targets[d.ID] = &d
		}
	case store.Routes:
		x.routes[ch.ID] = nil
		if r, ok := ch.After.(api.Route); ok {
			p, err := netip.ParsePrefix(r.Network)
			if err != nil {
				return fmt.Errorf("route %s: %w", r.ID, err)
			}
			x.routes[ch.ID] = &vnet.Route{ID: r.ID, Prefix: p, VNET: vnet.ID(r.VNET), Tunnel: vnet.TunnelID(r.TunnelID)}
		}
	case store.Applications:
		return x.adoptApplication(ch)
	}
	return nil
}

func (x *comparison) adoptApplication(ch store.Change) error {
	x.apps[ch.ID] = nil
	a, ok := ch.After.(*api.Application)
	if made, is := ch.After.(api.Application); is {
		a, ok = &made, true
	}
	if !ok || a == nil {
		return nil
	}
	d, err := store.DomainApplication(a)
	if err != nil {
		return err
	}
	x.apps[ch.ID] = &d
	return nil
}

// route makes the routing tables of before and after.
func (x *comparison) route() (err error) {
	if x.tables[0], err = vnet.NewTable(x.v.in.routes); err != nil {
		return err
	}
	x.tables[1] = x.tables[0]
	if len(x.routes) == 0 {
		return nil
	}
	var after []vnet.Route
	for _, r := range x.v.in.routes {
		if _, changed := x.routes[r.ID]; !changed {
			after = append(after, r)
		}
	}
	for _, r := range x.routes {
		if r != nil {
			after = append(after, *r)
		}
	}
	x.tables[1], err = vnet.NewTable(after)
	return err
}

// affected are the targets that may be reached otherwise than before, as they were and as they will be.
func (x *comparison) affected() (before, after []targets.Target) {
	byApp := x.applicationsMatch()
	known := map[targets.ID]bool{}
	left := 0
	add := func(was, is *targets.Target) {
		if max(len(before), len(after)) >= x.limits.targets {
			left++
			return
		}
		if was != nil {
			before = append(before, *was)
		}
		if is != nil {
			after = append(after, *is)
		}
	}
	for i := range x.v.in.targets {
		t := &x.v.in.targets[i]
		is, changed := x.targets[t.ID]
		known[t.ID] = true
		switch {
		case changed:
			add(t, is)
		case x.moved(t) || byApp(t):
			add(t, t)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(x.targets)) {
		if t := x.targets[id]; t != nil && !known[id] {
			add(nil, t)
		}
	}
	if left > 0 {
		x.leaveOut("%d more targets are affected than are compared", left)
	}
	return before, after
}

func (x *comparison) leaveOut(format string, args ...any) {
	x.out.Complete = false
	if x.out.Note != "" {
		x.out.Note += "; "
	}
	x.out.Note += fmt.Sprintf(format, args...)
}

// applicationsMatch reports of a target whether an application that changes selects it, before or after.
func (x *comparison) applicationsMatch() func(*targets.Target) bool {
	var criteria []targets.Criteria
	for i := range x.v.in.applications {
		if _, changed := x.apps[x.v.in.applications[i].ID]; changed {
			criteria = append(criteria, x.v.in.applications[i].Criteria...)
		}
	}
	for _, a := range x.apps {
		if a != nil {
			criteria = append(criteria, a.Criteria...)
		}
	}
	return func(t *targets.Target) bool {
		return slices.ContainsFunc(criteria, func(c targets.Criteria) bool { return c.Matches(t) })
	}
}

// addresses of a target.
func addresses(t *targets.Target) (out []targets.Address) {
	for _, a := range []*targets.Address{t.IPv4, t.IPv6} {
		if a != nil {
			out = append(out, *a)
		}
	}
	return out
}

// moved reports whether another tunnel, or none, leads to an address of t afterwards, and counts those.
func (x *comparison) moved(t *targets.Target) (moved bool) {
	if x.tables[0] == x.tables[1] {
		return false
	}
	for _, a := range addresses(t) {
		was, had := x.tables[0].Lookup(a.VNET, a.Addr)
		is, has := x.tables[1].Lookup(a.VNET, a.Addr)
		if had != has || had && was.Tunnel != is.Tunnel {
			moved = true
			if had && has {
				x.out.Rerouted++
			}
		}
	}
	return moved
}

// routed leaves out the targets that no route leads to.
func routed(list []targets.Target, t *vnet.Table) []targets.Target {
	return slices.DeleteFunc(list, func(x targets.Target) bool {
		return !slices.ContainsFunc(addresses(&x), func(a targets.Address) bool {
			_, ok := t.Lookup(a.VNET, a.Addr)
			return ok
		})
	})
}

// snapshot compiles the policy for some targets alone: what it says of them is what the whole snapshot says.
func (x *comparison) snapshot(list []targets.Target, changed map[string]*access.Application) (*access.Snapshot, error) {
	var apps []access.Application
	use := func(a *access.Application) {
		for i := range list {
			if slices.ContainsFunc(a.Criteria, func(c targets.Criteria) bool { return c.Matches(&list[i]) }) {
				apps = append(apps, *a)
				return
			}
		}
	}
	for i := range x.v.in.applications {
		if _, is := changed[x.v.in.applications[i].ID]; !is {
			use(&x.v.in.applications[i])
		}
	}
	for _, a := range changed {
		if a != nil {
			use(a)
		}
	}
	return access.Compile(access.Input{
		Revision: x.v.revision, Networks: x.v.in.networks, Targets: list, Applications: apps,
		Groups: x.v.in.groups, NetworkRules: x.v.in.networkRules, Lists: x.v.in.lists,
	})
}

// compare asks for the target lists of every user before and after.
func (x *comparison) compare(before, after []targets.Target) error {
	devices := x.v.in.devices
	if most := x.limits.pairs / max(len(before), len(after)); len(devices) > most {
		x.leaveOut("%d of %d devices are compared", most, len(devices))
		devices = devices[:most]
	}
	was, err := x.snapshot(routed(before, x.tables[0]), nil)
	if err != nil {
		return err
	}
	is, err := x.snapshot(routed(after, x.tables[1]), x.apps)
	if err != nil {
		return err
	}
	lost, gained := map[api.ImpactRow]bool{}, map[api.ImpactRow]bool{}
	for user, list := range x.byUser(devices) {
		id := x.v.identity[user]
		if id == nil {
			continue
		}
		had, has := rowsOf(was, id, list), rowsOf(is, id, list)
		missing(had, has, lost)
		missing(has, had, gained)
	}
	x.out.UsersLosing, x.out.Lost = x.rows(lost)
	x.out.UsersGaining, x.out.Gained = x.rows(gained)
	return nil
}

func (x *comparison) byUser(devices []store.Device) map[string][]*access.Device {
	m := map[string][]*access.Device{}
	for i := range devices {
		m[devices[i].UserID] = append(m[devices[i].UserID], x.v.accessDevice(&devices[i]))
	}
	return m
}

// rowsOf is all that a user can reach with any of the devices. Hostnames are not compared, but told.
func rowsOf(s *access.Snapshot, id *access.Identity, devices []*access.Device) map[api.ImpactRow]string {
	rows := map[api.ImpactRow]string{}
	for _, d := range devices {
		for _, e := range access.Entries(s, id, d) {
			r := api.ImpactRow{Email: id.Email, TargetID: string(e.Target.ID), Port: int(e.Port), Protocol: string(e.Protocol)}
			if len(e.Usernames) == 0 {
				rows[r] = e.Target.Hostname
			}
			for _, u := range e.Usernames {
				r.Login = u
				rows[r] = e.Target.Hostname
			}
		}
	}
	return rows
}

// missing puts into out what only a has.
func missing(a, b map[api.ImpactRow]string, out map[api.ImpactRow]bool) {
	for r, hostname := range a {
		if _, ok := b[r]; !ok {
			r.Hostname = hostname
			out[r] = true
		}
	}
}

// rows are the first of a set, sorted, with counts.
func (x *comparison) rows(set map[api.ImpactRow]bool) (users int, out api.ImpactRows) {
	all := slices.SortedFunc(maps.Keys(set), func(a, b api.ImpactRow) int {
		return cmp.Or(cmp.Compare(a.Email, b.Email), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.TargetID, b.TargetID),
			cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Login, b.Login))
	})
	for i, r := range all {
		if i == 0 || r.Email != all[i-1].Email {
			users++
		}
	}
	return users, api.ImpactRows{Count: len(all), Rows: append([]api.ImpactRow{}, all[:min(len(all), x.limits.rows)]...)}
}
