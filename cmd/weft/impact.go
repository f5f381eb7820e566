package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"weft/api"
)

// impactOptions are the flags of weft impact.
type impactOptions struct {
	to, application string
	cascade, asJSON bool
}

func newImpact() *cobra.Command {
	var (
		ctl  controlFlags
		opts impactOptions
	)
	cmd := &cobra.Command{
		Use:   "impact CHANGE ID",
		Short: "Say who would lose or gain access by a change, without making it",
		Long: `Compare what every user can reach before and after a change that is not made:
which target, port and protocol, and for SSH as which UNIX user. A change that would be
refused is refused here too, with the same words.

CHANGE is one of:
  ` + strings.Join(api.Changes, "\n  ") + `

A rename takes its new name from --to, route.move the ID of a tunnel. The audit event of
a change that is made carries the same comparison in short.`,
		Args:      cobra.ExactArgs(2),
		ValidArgs: api.Changes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := ctl.manager()
			if err != nil {
				return err
			}
			defer c.Close()
			var out api.Impact
			if err := c.Do(cmd.Context(), http.MethodGet, api.PathImpact+"?"+opts.query(args[0], args[1]), nil, &out); err != nil {
				return fmt.Errorf("impact: %w", err)
			}
			return printImpact(cmd.OutOrStdout(), &out, opts.asJSON)
		},
	}
	ctl.add(cmd, "API token", "WEFT_API_TOKEN_FILE")
	cmd.Flags().StringVar(&opts.to, "to", "", "the new name, or the ID of the tunnel that a route is to lead to")
	cmd.Flags().StringVar(&opts.application, "application", "", "ID of the application of a policy")
	cmd.Flags().BoolVar(&opts.cascade, "cascade", false, "with tunnel.delete: delete its routes too")
	cmd.Flags().BoolVar(&opts.asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (o *impactOptions) query(change, id string) string {
	q := url.Values{"change": {change}, "id": {id}}
	if o.to != "" {
		q.Set("to", o.to)
	}
	if o.application != "" {
		q.Set("application", o.application)
	}
	if o.cascade {
		q.Set("cascade", "true")
	}
	return q.Encode()
}

func printImpact(w io.Writer, i *api.Impact, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(i)
	}
	_, err := io.WriteString(w, impactText(i))
	return err
}

// impactText is the result for people.
func impactText(i *api.Impact) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (revision %d)\n", i.Change, i.Revision)
	writeImpactRows(&b, "lose", i.UsersLosing, &i.Lost)
	writeImpactRows(&b, "gain", i.UsersGaining, &i.Gained)
	if i.Rerouted > 0 {
		fmt.Fprintf(&b, "\n%s would be reached by another tunnel.\n", many(i.Rerouted, "address"))
	}
	if i.Lost.Count+i.Gained.Count+i.Rerouted == 0 {
		b.WriteString("\nNobody would reach anything else than before.\n")
	}
	if !i.Complete {
		fmt.Fprintf(&b, "\nNot everything was compared: %s.\n", i.Note)
	}
	return strings.Map(printable, b.String())
}

func writeImpactRows(b *strings.Builder, verb string, users int, rows *api.ImpactRows) {
	if rows.Count == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s would %s access (%s):\n", many(users, "user"), verb, many(rows.Count, "row"))
	for _, r := range rows.Rows {
		as := ""
		if r.Login != "" {
			as = " as " + r.Login
		}
		fmt.Fprintf(b, "  %s  %s:%d %s%s (%s)\n", r.Email, r.Hostname, r.Port, r.Protocol, as, r.TargetID)
	}
	if more := rows.Count - len(rows.Rows); more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

// many counts things.
func many(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
