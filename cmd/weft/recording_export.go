package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"weft/gateway/recording"
	"weft/gateway/recording/export"
	"weft/gateway/recording/replay"
	"weft/internal/kind"
)

// exportFlags choose the format.
type exportFlags struct {
	cast, events, text, html, sshLogs, sshLog bool
	logKey                                    string
	channel                                   int
	output                                    string
}

func newRecordingExport() *cobra.Command {
	var (
		store storeFlags
		f     exportFlags
	)
	cmd := &cobra.Command{
		Use:   "export {FILE|SESSION}",
		Short: "Write a recording in another format",
		Long: `Write a recording in another format to standard output, or to --output FILE.

  --asciicast        asciicast v2 of one channel: what asciinema and its like play.
                     It holds the session's bytes as they were, control sequences and all.
  --events           the event log as JSON lines
  --text             what was to be read, line by line, with times
  --html             one page that plays in a browser, offline: with search, commands on the
                     timeline, and nothing of the session but text
  --ssh-logs         JSON lines with the fields of the public data set ssh_logs
  --ssh-log          the encrypted file that ssh-log-cli opens, of one channel, for the public
                     key that the account had set (audit_ssh_settings) when the session began
  --ssh-log-cli KEY  the same file for another key: KEY is the public key or the file that holds it

An unfinished recording is exported as far as it goes; the exit status then is 3.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), &store, args[0], cmd.OutOrStdout())
		},
	}
	store.add(cmd, true)
	cmd.Flags().BoolVar(&f.cast, "asciicast", false, "asciicast v2")
	cmd.Flags().BoolVar(&f.events, "events", false, "JSON lines of events")
	cmd.Flags().BoolVar(&f.text, "text", false, "text")
	cmd.Flags().BoolVar(&f.html, "html", false, "one self-contained page")
	cmd.Flags().BoolVar(&f.sshLogs, "ssh-logs", false, "JSON lines with the fields of ssh_logs")
	cmd.Flags().BoolVar(&f.sshLog, "ssh-log", false, "encrypted file for ssh-log-cli, for the account's public key")
	cmd.Flags().StringVar(&f.logKey, "ssh-log-cli", "", "encrypted file for ssh-log-cli, for this public key")
	cmd.Flags().IntVar(&f.channel, "channel", 0, "channel for formats that hold one; default: the first one with a terminal, or else with output")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "file to write, which must not exist; default: standard output")
	cmd.MarkFlagsMutuallyExclusive("asciicast", "events", "text", "html", "ssh-logs", "ssh-log", "ssh-log-cli")
	cmd.MarkFlagsOneRequired("asciicast", "events", "text", "html", "ssh-logs", "ssh-log", "ssh-log-cli")
	return cmd
}

func (f *exportFlags) run(ctx context.Context, store *storeFlags, what string, stdout io.Writer) (err error) {
	if f.channel == 0 && (f.cast || f.sshLog || f.logKey != "") {
		if f.channel, err = store.mainChannel(ctx, what); err != nil {
			return err
		}
	}
	r, closeFile, err := store.reader(ctx, what)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	w := stdout
	if f.output != "" {
		file, err := os.OpenFile(f.output, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("write --output: %w", err)
		}
		return explainRecording(errors.Join(f.write(file, r), file.Close()))
	}
	return explainRecording(f.write(w, r))
}

func (f *exportFlags) write(w io.Writer, r *recording.Reader) error {
	switch {
	case f.cast:
		return export.Asciicast(w, r, f.channel)
	case f.events:
		return export.Events(w, r)
	case f.text:
		return export.Text(w, r)
	case f.html:
		return export.HTML(w, r)
	case f.sshLogs:
		return export.SSHLogs(w, r)
	}
	text := f.logKey
	if b, err := os.ReadFile(f.logKey); err == nil && !f.sshLog {
		text = string(b)
	}
	if f.sshLog {
		if text = r.Header().SSHLogKey; text == "" {
			return kind.New(kind.NotFound, "no public key was set (audit_ssh_settings) when the session began").
				WithHint("name one: --ssh-log-cli KEY")
		}
	}
	key, err := export.ParseLogKey(text)
	if err != nil && f.sshLog {
		return kind.New(kind.Invalid, "the public key in the recording is none of ssh-log-cli").WithCause(err)
	}
	if err != nil {
		return kind.New(kind.Invalid, "--ssh-log-cli is neither a public key nor a file with one").WithCause(err)
	}
	return export.SSHLogCLI(w, r, f.channel, key)
}

// mainChannel is the first channel with a terminal, or else the first with output.
func (f *storeFlags) mainChannel(ctx context.Context, what string) (int, error) {
	r, closeFile, err := f.reader(ctx, what)
	if err != nil {
		return 0, err
	}
	first, output := 0, 0
	errFound := errors.New("found")
	err = replay.Read(r, replay.Handler{Record: func(rec *recording.Record) error {
		switch {
		case rec.Kind == recording.RecordResize:
			first = rec.Channel
			return errFound
		case rec.Kind == recording.RecordOutput && output == 0:
			output = rec.Channel
		}
		return nil
	}})
	if errors.Is(err, errFound) || errors.Is(err, recording.ErrUnfinished) {
		err = nil
	}
	if err = errors.Join(explainRecording(err), closeFile()); err != nil {
		return 0, err
	}
	if first == 0 {
		first = output
	}
	if first == 0 {
		return 0, kind.New(kind.NotFound, "no channel of the recording holds output").WithHint("see what it holds with --events")
	}
	return first, nil
}
