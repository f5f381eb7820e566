package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weft/api"
	"weft/internal/kind"
)

func newSession() *cobra.Command {
	cmd := &cobra.Command{
		Use: "session", Short: "List, watch and end live sessions", Args: cobra.NoArgs,
		Long: `List, watch and end live sessions: every connection that the gateways carry now. The
gateways are asked; one that does not answer is named, and its sessions are not known.

The API token needs "Zero Trust Read", to end a session "Zero Trust Write".`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSessionList(), newSessionWatch(), newSessionKill())
	return cmd
}

// sessionFlags choose sessions.
type sessionFlags struct {
	api.SessionFilter
	gateway string
	limit   int
	asJSON  bool
}

func (f *sessionFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.User, "user", "", "only of this user: e-mail address or ID")
	fl.StringVar(&f.Target, "target", "", "only to this target: hostname, ID or address")
	fl.StringVar(&f.Device, "device", "", "only from this device: name or ID")
	fl.StringVar(&f.gateway, "gateway", "", "only of this gateway: name or ID")
	fl.StringVar(&f.Protocol, "protocol", "", "only of this protocol, such as SSH")
	fl.StringVar(&f.Login, "login", "", "only as this UNIX user")
	fl.IntVar(&f.limit, "limit", api.DefaultSessions, "at most so many, the newest first")
	fl.BoolVar(&f.asJSON, "json", false, "write JSON")
}

func (f *sessionFlags) query() string {
	q := url.Values{"limit": {strconv.Itoa(f.limit)}}
	for name, v := range map[string]string{
		"user": f.User, "target": f.Target, "device": f.Device, "gateway": f.gateway, "protocol": f.Protocol, "login": f.Login,
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return "?" + q.Encode()
}

// errIncomplete says that a list lacks something; what there is has been written.
var errIncomplete = kind.New(kind.Unavailable, "a gateway did not answer: the list is not complete")

func newSessionList() *cobra.Command {
	var f sessionFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List the live sessions", Args: cobra.NoArgs,
		Long: `List the live sessions, the newest first. Exit status 7: a gateway did not answer; what
the others have was written.`,
	}
	f.add(cmd)
	return managed(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		var out api.Sessions
		if err := c.Do(cmd.Context(), http.MethodGet, api.PathSessions+f.query(), nil, &out); err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		if f.asJSON {
			if err := writeIndented(cmd.OutOrStdout(), out); err != nil {
				return err
			}
		} else if err := writeSessions(cmd.OutOrStdout(), cmd.ErrOrStderr(), &out, time.Now()); err != nil {
			return err
		}
		for _, g := range out.Gateways {
			if !g.Answered {
				return errIncomplete
			}
		}
		return nil
	})
}

// writeSessions writes a table to w, and to notes what it lacks.
func writeSessions(w, notes io.Writer, out *api.Sessions, now time.Time) error {
	var b strings.Builder
	tab := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "ID\tUSER\tDEVICE\tTARGET\tPROTOCOL\tLOGIN\tGATEWAY\tSINCE\tUP\tDOWN\tSTATE")
	for i := range out.Sessions {
		s := &out.Sessions[i]
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, cell(s.Email), cell(s.DeviceName), cell(sessionTarget(s)),
			cell(string(s.Protocol)), cell(s.Login), cell(s.GatewayName), since(now, s.StartedAt), byteCount(s.BytesUp), byteCount(s.BytesDown), sessionState(s))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return noteGateways(notes, out.Gateways, len(out.Sessions))
}

// noteGateways says which gateways did not answer or drain, and that more sessions are there than were listed.
func noteGateways(w io.Writer, gateways []api.SessionGateway, listed int) error {
	var b strings.Builder
	total := 0
	for _, g := range gateways {
		total += g.Total
		switch {
		case !g.Answered && !g.Connected:
			fmt.Fprintf(&b, "gateway %s is not in contact with control: its sessions are not known\n", cell(g.Name))
		case !g.Answered:
			fmt.Fprintf(&b, "gateway %s did not answer: its sessions are not known\n", cell(g.Name))
		case g.Draining:
			fmt.Fprintf(&b, "gateway %s takes no new sessions\n", cell(g.Name))
		}
	}
	if total > listed {
		fmt.Fprintf(&b, "%d sessions are there, %d are listed: see --limit\n", total, listed)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell makes a name fit for a table on a terminal.
func cell(s string) string {
	return cmp.Or(strings.ReplaceAll(strings.Map(printable, s), "\n", " "), "-")
}

func sessionTarget(s *api.Session) string {
	if s.Hostname == "" {
		return s.Destination.String()
	}
	return s.Hostname + " (" + s.Destination.String() + ", " + s.VNETName + ")"
}

func sessionState(s *api.Session) string {
	if s.Recorded {
		return s.State + ", recorded"
	}
	return s.State
}

// since is a time that has passed, in the two largest units.
func since(now, start time.Time) string {
	d := max(now.Sub(start), 0).Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

func byteCount(n int64) string {
	const k = 1024
	units := "KMGTPE"
	if n < k {
		return strconv.FormatInt(n, 10) + "B"
	}
	v, i := float64(n)/k, 0
	for v >= k && i < len(units)-1 {
		v, i = v/k, i+1
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + units[i:i+1]
}

func newSessionWatch() *cobra.Command {
	var f sessionFlags
	cmd := &cobra.Command{
		Use: "watch", Short: "Show sessions as they begin, log in and end, until interrupted", Args: cobra.NoArgs,
		Long: `Show the sessions that there are, then each as it begins, logs in or ends, one a line, within
a second or so. With --json the lines are those of the API: a snapshot, then deltas.`,
	}
	f.add(cmd)
	return managed(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		body, err := c.Stream(cmd.Context(), api.PathSessionsWatch+f.query())
		if err != nil {
			return fmt.Errorf("watch sessions: %w", err)
		}
		defer func() { _ = body.Close() }() // read to its end, or given up
		in := bufio.NewReader(body)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				if cmd.Context().Err() != nil {
					return cmd.Context().Err()
				}
				return kind.New(kind.Unavailable, "control ended the stream").WithCause(err)
			}
			var e api.SessionsEvent
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("watch sessions: %w", err)
			}
			if e.Type == api.SessionsHeartbeat {
				continue
			}
			if f.asJSON {
				_, err = cmd.OutOrStdout().Write(line)
			} else {
				err = errors.Join(writeSessionEvents(cmd.OutOrStdout(), &e, time.Now()), noteGateways(cmd.ErrOrStderr(), e.Gateways, int(^uint(0)>>1)))
			}
			if err != nil {
				return err
			}
		}
	})
}

// writeSessionEvents writes one line for each thing that happened. Columns are not aligned: what comes is not known yet.
func writeSessionEvents(w io.Writer, e *api.SessionsEvent, now time.Time) error {
	var b strings.Builder
	for i := range e.Put {
		s := &e.Put[i]
		verb := "open"
		if e.Type == api.SessionsDelta && s.State == api.SessionConnecting {
			verb = "begin"
		}
		writeSessionLine(&b, s.StartedAt, verb, s, sessionState(s))
	}
	for i := range e.Ended {
		s := &e.Ended[i]
		writeSessionLine(&b, now, "end", &s.Session, fmt.Sprintf("%s, after %s, %s up, %s down", s.Reason, since(now, s.StartedAt), byteCount(s.BytesUp), byteCount(s.BytesDown)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeSessionLine(b *strings.Builder, at time.Time, verb string, s *api.Session, rest string) {
	fmt.Fprintf(b, "%s  %-5s  %s  %s  %s  %s", at.UTC().Format(time.RFC3339), verb, s.ID, cell(s.Email), cell(string(s.Protocol)), cell(sessionTarget(s)))
	if s.Login != "" {
		fmt.Fprintf(b, " as %s", cell(s.Login))
	}
	fmt.Fprintf(b, "  %s  %s\n", cell(s.GatewayName), cell(rest))
}

func newSessionKill() *cobra.Command {
	var (
		in     api.SessionKill
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "kill ID...", Short: "End sessions; the user of an SSH session is told why", Args: cobra.MinimumNArgs(1),
		Long: `End live sessions at once. Who did it and why is on record in control and at the gateway;
an SSH session shows the reason in the user's terminal, any other connection is reset.

It ends these sessions and nothing else: the user may connect again. To keep somebody
out revoke the device or the user, or change the policy.

Exit status 5: no gateway has the session, or it had ended. 7: a gateway did not answer, so
that the session may live on.`,
	}
	cmd.Flags().StringVar(&in.Reason, "reason", "", "one line for the user and the record")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON, one object a line")
	return managed(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		var all error
		for _, id := range args {
			var out api.SessionKilled
			if err := c.Do(cmd.Context(), http.MethodDelete, api.PathSessions+"/"+url.PathEscape(id), in, &out); err != nil {
				all = errors.Join(all, fmt.Errorf("kill session %s: %w", id, err))
				continue
			}
			if err := writeKilled(cmd.OutOrStdout(), &out, asJSON); err != nil {
				return err
			}
		}
		return all
	})
}

func writeKilled(w io.Writer, out *api.SessionKilled, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(out)
	}
	s, verb := &out.Session, "killed"
	if out.Already {
		verb = "had been ended:"
	}
	_, err := fmt.Fprintf(w, "%s %s  %s  %s  %s\n", verb, s.ID, cell(s.Email), cell(sessionTarget(s)), cell(s.Login))
	return err
}

// writeIndented writes v as JSON for people and programs.
func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// managed adds what commands that administer have in common: the flags, and a client for run.
func managed(cmd *cobra.Command, run func(cmd *cobra.Command, c *api.Client, args []string) error) *cobra.Command {
	return sshCACommand(cmd, run)
}
