package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weft/control"
	"weft/control/store"
)

// newToken makes the commands about API tokens; they stand at the top, and under "control" for those who look there.
func newToken() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "Manage API tokens in the control plane's data directory", Args: cobra.NoArgs,
		Long: `Manage API tokens in the control plane's data directory. Run it as the user that
owns the directory; the control plane may be running, and obeys at once.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreate(), newTokenList(), newTokenRevoke())
	return cmd
}

// tokenFlags are what a token is made of, as it stands on the command line.
type tokenFlags struct {
	name        string
	permissions []string
	sources     []string
	expires     time.Duration
}

func (f *tokenFlags) fields(now time.Time) (store.TokenFields, error) {
	out := store.TokenFields{Name: f.name, Permissions: f.permissions}
	for _, s := range f.sources {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); err != nil && aerr == nil {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return out, usageError{fmt.Errorf("--source %q is neither an address nor a prefix such as 192.0.2.0/24", s)}
		}
		out.Sources = append(out.Sources, p)
	}
	if f.expires < 0 {
		return out, usageError{fmt.Errorf("--expires %s is in the past", f.expires)}
	}
	if f.expires > 0 {
		out.Expires = now.Add(f.expires)
	}
	return out, nil
}

func newTokenCreate() *cobra.Command {
	var (
		o controlOptions
		f tokenFlags
	)
	cmd := &cobra.Command{
		Use:   "create --name NAME [--permission GROUP]... [--expires DURATION] [--source PREFIX]...",
		Short: "Create an API token and print it, once",
		Long: `Create an API token and print it. Only its hash is kept. Run it as the user
that owns the data directory; the control plane may be running.

Without --permission it may do everything. The permission groups are:
  ` + strings.Join(control.Permissions(), "\n  ") + `
"Write" includes "Read". "Edit" stands for "Write", and so does the bare
"Access: SSH Auditing".`,
		Example: `  weft token create --name terraform --permission "Zero Trust Write" --permission "Access: Apps and Policies Write"
  weft token create --name dashboard --permission "Zero Trust Read" --expires 2160h --source 192.0.2.0/24`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fields, err := f.fields(time.Now())
			if err != nil {
				return err
			}
			c, err := o.open(cmd)
			if err != nil {
				return err
			}
			token, err := c.CreateToken(cmd.Context(), fields)
			if err := errors.Join(err, c.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	o.addState(cmd)
	o.logFlags.add(cmd)
	cmd.Flags().StringVar(&f.name, "name", "", "what the token is for")
	cmd.Flags().StringArrayVar(&f.permissions, "permission", nil, "what it may do: a permission `group`; may be repeated")
	cmd.Flags().DurationVar(&f.expires, "expires", 0, "after what time it stops working; 0 means never")
	cmd.Flags().StringArrayVar(&f.sources, "source", nil, "an address `prefix` from which it may be used; may be repeated; none means from everywhere")
	if err := cmd.MarkFlagRequired("name"); err != nil {
		panic(err)
	}
	return cmd
}

func newTokenList() *cobra.Command {
	var (
		o         controlOptions
		all, asJS bool
	)
	cmd := &cobra.Command{
		Use:   "list [--all] [--json]",
		Short: "List the API tokens: what they may do, from where, until when, and when they were used",
		Long:  "List the API tokens that are not revoked. Their secrets are not kept, so they are not shown.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.open(cmd)
			if err != nil {
				return err
			}
			list, err := c.Tokens(cmd.Context(), all)
			if err := errors.Join(err, c.Close()); err != nil {
				return err
			}
			if asJS {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(map[string]any{"schema_version": 1, "tokens": list})
			}
			return writeTokens(cmd.OutOrStdout(), list)
		},
	}
	o.addState(cmd)
	o.logFlags.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "those that were revoked too")
	cmd.Flags().BoolVar(&asJS, "json", false, "write JSON")
	return cmd
}

func writeTokens(w io.Writer, list []store.Token) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "ID\tNAME\tPERMISSIONS\tSOURCES\tEXPIRES\tLAST USED\tREVOKED")
	for _, t := range list {
		var sources []string
		for _, p := range t.Sources {
			sources = append(sources, p.String())
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, strings.Join(t.Permissions, "; "), orDash(strings.Join(sources, " ")),
			timeOr(t.ExpiresAt, "never"), timeOr(t.LastUsedAt, "never"), timeOr(t.RevokedAt, "-"))
	}
	return tab.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// timeOr renders a stored time to the second.
func timeOr(stamp *string, none string) string {
	if stamp == nil {
		return none
	}
	at, err := time.Parse(time.RFC3339Nano, *stamp)
	if err != nil {
		return *stamp
	}
	return at.UTC().Format(time.RFC3339)
}

func newTokenRevoke() *cobra.Command {
	var (
		o    controlOptions
		name string
	)
	cmd := &cobra.Command{
		Use:   "revoke --name NAME|ID",
		Short: "Revoke the API tokens of a name, or the one with an ID",
		Long: `Revoke the API tokens that were created with a name, or the one with an ID. Run it
as the user that owns the data directory; a control plane that runs refuses them
from then on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.open(cmd)
			if err != nil {
				return err
			}
			n, err := c.RevokeTokens(cmd.Context(), name)
			if err := errors.Join(err, c.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "revoked: %d\n", n)
			return err
		},
	}
	o.addState(cmd)
	o.logFlags.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "the name of the tokens, or the ID of one")
	if err := cmd.MarkFlagRequired("name"); err != nil {
		panic(err)
	}
	return cmd
}
