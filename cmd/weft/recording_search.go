package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"weft/gateway/recording"
	"weft/gateway/recording/export"
	"weft/gateway/recording/replay"
)

// foundLine is one match as JSON.
type foundLine struct {
	SchemaVersion int       `json:"schema_version"`
	SessionID     string    `json:"session_id"`
	Name          string    `json:"name"`
	Time          time.Time `json:"time"`
	Offset        float64   `json:"offset"` // seconds since the start
	Channel       int       `json:"channel"`
	Kind          string    `json:"kind"`
	Text          string    `json:"text"`
	Email         string    `json:"email"`
	Hostname      string    `json:"hostname"`
	Login         string    `json:"login"`
}

func newRecordingSearch() *cobra.Command {
	var (
		store  storeFlags
		filter recordingFilter
		q      replay.Query
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "search TEXT",
		Short: "Search commands and output of recordings",
		Long: `Search the commands, file operations and output of all recordings that match, without
regard to case. Each match is shown with its time since the start of its session, which
"play --at" takes. Output is searched as it was to be read: a line on the screen, not the
bytes that made it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Text = args[0]
			if err := filter.parse(); err != nil {
				return err
			}
			src, closeStore, err := store.source(cmd.Context())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			err = filter.each(cmd.Context(), src, cmd.ErrOrStderr(), func(name string, file recording.File, _ *recording.Info) error {
				r, err := store.read(file)
				if err != nil {
					return skipError{err}
				}
				defer r.Close()
				h := r.Header()
				err = replay.Search(r, q, func(m replay.Match) error { return printMatch(out, name, h, &m, asJSON) })
				if errors.Is(err, recording.ErrUnfinished) {
					return nil // what there is was searched
				}
				if _, damaged := errors.AsType[*recording.Damage](err); damaged {
					return skipError{err}
				}
				return err
			})
			return errors.Join(err, closeStore())
		},
	}
	store.add(cmd, true)
	filter.add(cmd)
	cmd.Flags().BoolVar(&q.Commands, "commands", false, "look at commands and file operations only")
	cmd.Flags().BoolVar(&q.Output, "output", false, "look at output only")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON lines")
	cmd.MarkFlagsMutuallyExclusive("commands", "output")
	return cmd
}

func printMatch(w io.Writer, name string, h *recording.Header, m *replay.Match, asJSON bool) error {
	since := m.Time.Sub(h.Started)
	if asJSON {
		return json.NewEncoder(w).Encode(foundLine{
			SchemaVersion: 1, SessionID: h.SessionID, Name: name, Time: m.Time, Offset: since.Seconds(), Channel: m.Channel, Kind: m.Kind,
			Text: m.Text, Email: h.Email, Hostname: h.Hostname, Login: h.Login,
		})
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s@%s  %s  %s\n", h.SessionID, export.Offset(since), replay.Clean(h.Login), replay.Clean(h.Hostname),
		m.Kind, replay.Clean(m.Text))
	return err
}
