package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"weft/api"
)

func newExplain() *cobra.Command {
	var (
		ctl    controlFlags
		in     api.ExplainRequest
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "explain --email ADDRESS TARGET:PORT",
		Short: "Say why a user may or may not reach a target: every application, policy and rule, and what the gateways know",
		Long: `Walk a user's way to a target: name, target, virtual network, route, device, identity,
policy, login, and, by the gateways, connector, TCP, SSH host key and SSH login. With
--as the gateways log in to the target as that UNIX user, by a certificate, and leave;
all that they do is on their record. Unlike "warp-cli explain" it tells everything.

Exit status 9: something is in the way; the result on standard output names it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if in.Target, in.Port, err = targetPort(args[0]); err != nil {
				return err
			}
			c, err := ctl.manager()
			if err != nil {
				return err
			}
			defer c.Close()
			var out api.Explain
			if err := c.Do(cmd.Context(), http.MethodPost, api.PathExplain, in, &out); err != nil {
				return fmt.Errorf("explain: %w", err)
			}
			if err := printExplain(cmd.OutOrStdout(), args[0], &in, &out, asJSON); err != nil {
				return err
			}
			if out.Code != "" {
				return foundError{out.Code}
			}
			return nil
		},
	}
	ctl.add(cmd, "API token", "WEFT_API_TOKEN_FILE")
	cmd.Flags().StringVar(&in.Email, "email", "", "the user's address")
	cmd.Flags().StringVar(&in.Device, "device", "", "name or ID of one of the user's devices; default: the one that was seen last")
	cmd.Flags().StringVar(&in.Login, "as", "", "also explain an SSH login as this UNIX user, and have it tried")
	cmd.Flags().StringVar(&in.VNET, "vnet", "", "name or ID of the virtual network; default: that of the target")
	cmd.Flags().BoolVar(&in.Offline, "offline", false, "leave the gateways and the target alone")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	if err := cmd.MarkFlagRequired("email"); err != nil {
		panic(err)
	}
	return cmd
}

// foundError says that an explanation found something in the way.
type foundError struct{ code string }

func (e foundError) Error() string { return "in the way: " + e.code }

func targetPort(s string) (string, int, error) {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		if n, perr := strconv.ParseUint(port, 10, 16); perr == nil && n > 0 && host != "" {
			return host, int(n), nil
		}
	}
	return "", 0, usageError{errors.New(strconv.Quote(s) + " is not TARGET:PORT")}
}

func printExplain(w io.Writer, target string, in *api.ExplainRequest, e *api.Explain, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(e)
	}
	_, err := io.WriteString(w, explainText(target, in, e))
	return err
}

// explainText is the result for people.
func explainText(target string, in *api.ExplainRequest, e *api.Explain) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s", in.Email, target)
	if in.Login != "" {
		fmt.Fprintf(&b, " as %s", in.Login)
	}
	fmt.Fprintf(&b, " (revision %d)\n\n", e.Revision)
	for _, s := range e.Steps {
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(fmt.Sprintf("  %-11s  %-12s  %s", strings.ReplaceAll(s.State, "_", " "), s.Step, s.Evidence), " "))
		if s.RuleID != "" {
			fmt.Fprintf(&b, "%29spolicy %s (%s)\n", "", s.RuleName, s.RuleID)
		}
		if s.Code != "" {
			fmt.Fprintf(&b, "%29scode: %s\n%29sremedy: %s\n", "", s.Code, "", s.Remedy)
		}
	}
	b.WriteString("\nApplications\n")
	for _, a := range e.Applications {
		writeApplication(&b, &a)
	}
	b.WriteString("\nGateways\n")
	for _, g := range e.Gateways {
		writeGateway(&b, &g)
	}
	if len(e.Gateways) == 0 {
		b.WriteString("  none was asked\n")
	}
	if e.Code != "" {
		fmt.Fprintf(&b, "\nIn the way: %s\n", e.Code)
	} else {
		b.WriteString("\nNothing is in the way.\n")
	}
	return strings.Map(printable, b.String())
}

// printable replaces control characters: names that others wrote must not steer the terminal.
func printable(r rune) rune {
	if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
		return unicode.ReplacementChar
	}
	return r
}

func writeApplication(b *strings.Builder, a *api.ExplainApplication) {
	if !a.Covers {
		fmt.Fprintf(b, "  %s (%s): no say: %s\n", a.Name, a.ID, a.Reason)
		return
	}
	fmt.Fprintf(b, "  %s (%s): covers it\n", a.Name, a.ID)
	for _, p := range a.Policies {
		fmt.Fprintf(b, "    %s (%s): %s", p.Name, p.ID, p.Reason)
		if len(p.Logins) > 0 {
			fmt.Fprintf(b, "; grants %s", strings.Join(p.Logins, ", "))
		}
		b.WriteByte('\n')
		for _, r := range p.Rules {
			fmt.Fprintf(b, "      %-7s  %-7s  %s", r.List, r.Answer, r.Rule)
			if r.Name != "" {
				fmt.Fprintf(b, " (%s)", r.Name)
			}
			b.WriteByte('\n')
		}
	}
}

func writeGateway(b *strings.Builder, g *api.ExplainGateway) {
	switch {
	case !g.Answered && !g.Connected:
		fmt.Fprintf(b, "  %s (%s): not in contact with control\n", g.Name, g.ID)
	case !g.Answered:
		fmt.Fprintf(b, "  %s (%s): did not answer\n", g.Name, g.ID)
	default:
		fmt.Fprintf(b, "  %s (%s), revision %d\n", g.Name, g.ID, g.Revision)
		for _, s := range g.Steps {
			if s.State != api.StepNotReached {
				fmt.Fprintf(b, "    %-11s  %-12s  %s\n", s.State, s.Step, s.Evidence)
			}
		}
	}
}
