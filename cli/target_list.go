package cli

import (
	"context"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// listOptions is the command line of `target list`.
type listOptions struct {
	filter                         targetFilter
	output, columns, sort, execute string
	reachable                      string
	watch, showRequest             bool
}

func newTargetList(a *app) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the targets that you may reach",
		Long: `Lists the targets that you may reach, in all virtual networks: one row per target
and port, with the UNIX users that you may log in as. The agent answers from its own copy
of the list, so it is there without the control plane and without the tunnel; a note (in
JSON: "stale" and "age_seconds") then says how old it is.

Every filter can be repeated. A row must fit every kind of filter that is given, and
for each kind one of its values; for --attribute each key is a kind of its own.

--output: table; wide (more columns); json; jsonl (a JSON object per row and line); yaml; csv;
name (HOSTNAME.NETWORK, or the ID where that name is taken twice); template=TEMPLATE, a Go template
that is applied to each row with the fields of its JSON: .id .hostname .name .protocol .port
.attributes .addresses .usernames, and the functions join, upper, lower and json.
In CSV a cell that a spreadsheet would run as a formula gets an apostrophe in front.

--watch goes on until Ctrl-C: on a terminal it draws the list anew in its place, otherwise it writes JSON
lines, {"type":"snapshot",...,"targets":[...]} first, then one per change: {"type":"added"|"changed"|"removed",
...,"target":{...}}. --exec runs a command for each change, one after the other, without a shell. A restart of the
agent is waited for.

--reachable opens a connection to each row's target through the tunnel and closes it without sending anything;
the gateway decides about each and records it.

--columns: id, name, hostname, protocol, port, attributes, tags, ip, address, vnet, vnet_id, usernames,
reachable, attribute:KEY. --sort takes the same; -port sorts downwards.`,
		Example: `  warp-cli target list --attribute hostname=do-target --username root
  warp-cli target list --vnet a1net --protocol SSH --protocol RDP --json
  warp-cli target list --hostname 'web-*' --ip 10.0.0.0/8 --sort hostname,-port
  warp-cli target list -o 'template={{.hostname}} {{join .usernames ","}} {{.attributes.env}}'`,
		Args: args(0, 0, "[filters]"),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.targetList(cmd.Context(), &o) },
	}
	o.filter.flags(a, cmd)
	fl := cmd.Flags()
	fl.StringVarP(&o.output, "output", "o", "", "`form` of the list: table, wide, json, jsonl, yaml, csv, name or template=TEMPLATE")
	fl.StringVar(&o.columns, "columns", "", "show these columns, `a,b,c`, in this order")
	fl.StringVar(&o.sort, "sort", "", "sort by these columns, `a,-b`: by a, then by b downwards")
	fl.StringVar(&o.reachable, "reachable", "", "try each target through the tunnel and list those that answer; `all`: all, and why not")
	fl.Lookup("reachable").NoOptDefVal = reachOnly
	fl.BoolVar(&o.watch, "watch", false, "stay and show what changes: the list anew on a terminal, else a JSON object per change and line")
	fl.StringVar(&o.execute, "exec", "", "with --watch, run this `command` for each change; a Go template of .type, .revision and .target in each of its words")
	fl.BoolVar(&o.showRequest, "show-request", false, "write the call of the agent on stderr, as a command line of curl")
	a.completeListFlags(cmd)
	return cmd
}

// shortLivedGC is the GC percentage (see runtime/debug) with which the heap of a list of 10,000 rows, some 25 MiB,
// is never collected, and that of one which is ten times as long still is.
const shortLivedGC = 800

// targetList is the command.
func (a *app) targetList(ctx context.Context, o *listOptions) error {
	out, err := a.parseOutput(o.output, o.columns)
	if err != nil {
		return err
	}
	q, err := o.filter.query()
	if err != nil {
		return err
	}
	order, err := parseSort(o.sort)
	if err != nil {
		return err
	}
	if err := o.check(out); err != nil {
		return err
	}
	c := a.client()
	if o.showRequest {
		paths := []string{q.Path()}
		if o.watch {
			paths = []string{client.PathChanges, q.Path()} // the second after each event of the first
		}
		if err := a.showRequests(c, paths); err != nil {
			return err
		}
	}
	if o.watch {
		return a.watchTargets(ctx, c, &watchOptions{query: q, out: out, order: order, execute: o.execute})
	}
	// Thousands of rows are read, written and gone: to collect garbage meanwhile would take half of the time.
	defer debug.SetGCPercent(debug.SetGCPercent(shortLivedGC))
	if out.isTable() && len(order) == 0 && o.reachable == reachNone {
		return a.streamTable(ctx, c, q, out)
	}
	l, err := c.Targets(ctx, q)
	if err != nil {
		return err
	}
	list := listOf(l)
	if o.reachable != reachNone {
		if err := tryRows(ctx, c, list.Targets); err != nil {
			return err
		}
		out.withColumn(render.ReachableColumn)
	}
	missing := 0
	if o.reachable == reachOnly {
		missing = keepReachable(list)
	}
	order.apply(list.Targets)
	a.noteList(list, &q, len(list.Targets), missing)
	if !out.isText() {
		return out.write(a.cfg.Stdout, list)
	}
	return a.paged(ctx, func(w io.Writer) error { return out.write(w, list) })
}

// streamTable is the plain list: its rows go straight from the answer into the table.
func (a *app) streamTable(ctx context.Context, c *client.Client, q client.Query, out *output) error {
	t := render.NewTargetTable(out.columns)
	var row render.Row
	l, err := c.EachTarget(ctx, q, t.Begin, func(tg *localapi.Target) {
		row.Target = tg
		t.Add(&row)
	})
	if err != nil {
		return err
	}
	a.noteList(listOf(l), &q, t.Rows(), 0)
	if t.Rows() == 0 {
		return nil
	}
	return a.paged(ctx, t.Draw)
}

// check finds options that contradict each other.
func (o *listOptions) check(out *output) error {
	if err := checkReachable(o.reachable); err != nil {
		return err
	}
	switch {
	case o.execute != "" && !o.watch:
		return usageErrorHint("add --watch", "--exec runs a command for each change, and only --watch sees changes")
	case o.watch && o.reachable != reachNone:
		return usageErrorHint("list once with --reachable, or watch without it", "--watch does not try targets")
	case o.watch && o.output != "" && out.form != outputTable && out.form != outputWide && out.form != outputJSON && out.form != outputJSONL:
		return usageErrorHint("with --watch, --output is table, wide or jsonl", "--watch cannot write %s", out.form)
	}
	return nil
}

// listOf makes the list that is written from the one that was answered.
func listOf(l *localapi.TargetList) *render.List {
	return &render.List{
		SchemaVersion: localapi.SchemaVersion, Revision: l.Revision, AgeSeconds: l.AgeSeconds, Stale: l.Stale,
		Targets: render.Rows(l.Targets),
	}
}

// noteList says on stderr what the list itself does not say to people.
func (a *app) noteList(l *render.List, q *client.Query, rows, unreachable int) {
	if l.Stale {
		a.note("the control plane is not being heard; this list is %s old", render.Age(l.AgeSeconds))
	}
	switch {
	case unreachable > 0:
		a.note("%d of %d did not answer; to see why: --reachable=all", unreachable, unreachable+rows)
	case rows == 0 && q.Empty():
		a.note("no target has been granted to you; ask your administrator")
	case rows == 0:
		a.note("no target matches; without filters: warp-cli target list")
	}
}

// sortOrder is a list of columns, the first of which counts most.
type sortOrder []sortKey

type sortKey struct {
	column render.Column
	down   bool
}

// parseSort reads --sort: "hostname,-port".
func parseSort(s string) (sortOrder, error) {
	if s == "" {
		return nil, nil
	}
	var order sortOrder
	for word := range strings.SplitSeq(s, ",") {
		name, down := strings.CutPrefix(strings.TrimSpace(word), "-")
		c, err := findColumns("--sort", []string{name})
		if err != nil {
			return nil, err
		}
		order = append(order, sortKey{c[0], down})
	}
	return order, nil
}

// apply sorts rows; those that are equal stay in the agent's order.
func (o sortOrder) apply(rows []render.Row) {
	if len(o) == 0 {
		return
	}
	slices.SortStableFunc(rows, func(x, y render.Row) int {
		n := 0
		for i := 0; i < len(o) && n == 0; i++ {
			if n = o[i].column.Compare(&x, &y); o[i].down {
				n = -n
			}
		}
		return n
	})
}
