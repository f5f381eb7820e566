package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weft/gateway/recording"
	"weft/gateway/recording/export"
	"weft/gateway/recording/replay"
)

// recordingFilter selects recordings by what their headers say.
type recordingFilter struct {
	user, target, login, from, to string
	since, until                  time.Time
}

func (f *recordingFilter) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.user, "user", "", "only of this user: e-mail address or ID")
	cmd.Flags().StringVar(&f.target, "target", "", "only on this target: hostname, address or ID")
	cmd.Flags().StringVar(&f.login, "login", "", "only as this UNIX user")
	cmd.Flags().StringVar(&f.from, "from", "", "only started at this time or later; a duration is that long ago")
	cmd.Flags().StringVar(&f.to, "to", "", "only started before this time")
}

func (f *recordingFilter) parse() error {
	var err error
	if f.since, err = parseTime("--from", f.from); err != nil {
		return err
	}
	f.until, err = parseTime("--to", f.to)
	return err
}

func (f *recordingFilter) match(h *recording.Header) bool {
	return (f.user == "" || strings.EqualFold(f.user, h.Email) || f.user == h.UserID) &&
		(f.target == "" || strings.EqualFold(f.target, h.Hostname) || f.target == h.TargetID || f.target == h.ServerAddress.Addr().String()) &&
		(f.login == "" || f.login == h.Login) &&
		(f.since.IsZero() || !h.Started.Before(f.since)) && (f.until.IsZero() || h.Started.Before(f.until))
}

// dayApart reports whether a name's day says that it cannot match; a session is in the directory of the day it began.
func (f *recordingFilter) dayApart(name string) bool {
	day, err := time.Parse(time.DateOnly, strings.SplitN(name, "/", 2)[0])
	if err != nil {
		return false
	}
	return (!f.until.IsZero() && !day.Before(f.until)) || (!f.since.IsZero() && day.Add(48*time.Hour).Before(f.since))
}

// each calls do for every recording that matches. What cannot be read is reported on stderr, and makes each fail at its end.
func (f *recordingFilter) each(ctx context.Context, src recording.Source, stderr io.Writer, do func(name string, file recording.File, info *recording.Info) error) error {
	names, err := src.Names(ctx)
	if err != nil {
		return err
	}
	bad := 0
	for _, name := range names {
		if f.dayApart(name) {
			continue
		}
		err := withFile(ctx, src, name, func(file recording.File) error {
			info, err := recording.Stat(file)
			if err != nil {
				return skipError{err}
			}
			if !f.match(&info.Header) {
				return nil
			}
			return do(name, file, info)
		})
		if skip, ok := errors.AsType[skipError](err); ok {
			bad++
			_, _ = fmt.Fprintf(stderr, "weft: %s: %s\n", name, skip.error) // nothing can be done about a broken stderr
			continue
		}
		if err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d recordings could not be read", bad)
	}
	return nil
}

// skipError is about one recording, and no reason to stop.
type skipError struct{ error }

func withFile(ctx context.Context, src recording.Source, name string, do func(recording.File) error) error {
	file, err := src.Open(ctx, name)
	if err != nil {
		return skipError{err}
	}
	return errors.Join(do(file), file.Close())
}

// recordingRow is one recording in a list.
type recordingRow struct {
	Name      string         `json:"name"`
	Finished  bool           `json:"finished"`
	Encrypted bool           `json:"encrypted"`
	Size      int64          `json:"size"`
	Started   time.Time      `json:"started"`
	KeyID     string         `json:"key_id"`
	GatewayID string         `json:"gateway_id"`
	Seconds   *float64       `json:"duration_seconds"`
	End       *recording.End `json:"end"`
	recording.Subject
}

type recordingList struct {
	SchemaVersion int            `json:"schema_version"`
	Recordings    []recordingRow `json:"recordings"`
}

func newRecordingList() *cobra.Command {
	var (
		store  storeFlags
		filter recordingFilter
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List recordings",
		Long: `List recordings, oldest first. What is listed is read off the signed header and end of
each file; "verify" reads all of it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := filter.parse(); err != nil {
				return err
			}
			src, closeStore, err := store.source(cmd.Context())
			if err != nil {
				return err
			}
			list := recordingList{SchemaVersion: 1, Recordings: []recordingRow{}}
			err = filter.each(cmd.Context(), src, cmd.ErrOrStderr(), func(name string, _ recording.File, info *recording.Info) error {
				list.Recordings = append(list.Recordings, rowOf(name, info))
				return nil
			})
			return errors.Join(list.print(cmd.OutOrStdout(), asJSON), err, closeStore())
		},
	}
	store.add(cmd, false)
	filter.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func rowOf(name string, info *recording.Info) recordingRow {
	row := recordingRow{
		Name: name, Finished: info.End != nil, Encrypted: info.Header.Encryption != nil, Size: info.Size, Started: info.Header.Started,
		KeyID: info.Header.KeyID, GatewayID: info.Header.GatewayID, End: info.End, Subject: info.Header.Subject,
	}
	if info.End != nil {
		s := info.End.Ended.Sub(info.Header.Started).Seconds()
		row.Seconds = &s
	}
	return row
}

func (l *recordingList) print(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(l)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "STARTED\tDURATION\tUSER\tTARGET\tLOGIN\tCOMMANDS\tSESSION") // Flush has the error
	for _, r := range l.Recordings {
		duration, commands := "unfinished", "-"
		if r.End != nil {
			duration, commands = export.Offset(r.End.Ended.Sub(r.Started)), fmt.Sprint(r.End.Commands)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Started.Format("2006-01-02 15:04:05"), duration, replay.Clean(r.Email),
			replay.Clean(r.Hostname), replay.Clean(r.Login), commands, r.SessionID)
	}
	return t.Flush()
}
