package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"weft/gateway/recording"
	"weft/gateway/recording/bucket"
	"weft/internal/kind"
)

func newRecording() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recording",
		Short: "List, play, verify, export and search recorded sessions",
		Long: `Recordings are the files that a gateway with --record-dir writes, one for each
SSH session. They are named by their session ID, by a name as "list" shows it, or by
the path of a file. Those of a gateway or a bucket are found by --store, or WEFT_RECORDINGS:
a directory, or a bucket's URL (file:///DIR, s3://BUCKET?region=REGION).

Encrypted ones need --identity, an age identity file or an SSH private key, except to
be listed and verified.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRecordingList(), newRecordingPlay(), newRecordingVerify(), newRecordingExport(), newRecordingSearch())
	return cmd
}

// storeFlags say where recordings are and how to open them.
type storeFlags struct {
	store      string
	identities []string
}

func (f *storeFlags) add(cmd *cobra.Command, identities bool) {
	cmd.Flags().StringVar(&f.store, "store", "", "directory or bucket URL of the recordings (WEFT_RECORDINGS)")
	if identities {
		cmd.Flags().StringArrayVar(&f.identities, "identity", nil, "age identity file or SSH private key that opens encrypted recordings (repeatable)")
	}
}

// source opens the store. The returned function closes it.
func (f *storeFlags) source(ctx context.Context) (recording.Source, func() error, error) {
	fallback(&f.store, "WEFT_RECORDINGS")
	switch {
	case f.store == "":
		return nil, nil, usageError{errors.New("--store or WEFT_RECORDINGS is required")}
	case strings.Contains(f.store, "://"):
		b, err := bucket.Open(ctx, f.store)
		if err != nil {
			return nil, nil, kind.New(kind.Unavailable, "bucket %s cannot be opened", f.store).WithCause(err)
		}
		return b, b.Close, nil
	}
	if st, err := os.Stat(f.store); err != nil || !st.IsDir() {
		return nil, nil, kind.New(kind.NotFound, "--store %s is not a directory", f.store)
	}
	return recording.Dir(f.store), func() error { return nil }, nil
}

// open opens a recording by the path of a file, its name in the store, or its session ID.
func (f *storeFlags) open(ctx context.Context, what string) (recording.File, string, error) {
	if st, err := os.Stat(what); err == nil && st.Mode().IsRegular() {
		file, err := recording.OpenFile(what)
		return file, filepath.Base(what), err
	}
	src, closeStore, err := f.source(ctx)
	if err != nil {
		if _, usage := errors.AsType[usageError](err); usage {
			return nil, "", kind.New(kind.NotFound, "%s is not a file", what).WithHint("name a file, or give --store to name a session")
		}
		return nil, "", err
	}
	names, err := src.Names(ctx)
	if err != nil {
		return nil, "", errors.Join(err, closeStore())
	}
	for _, n := range names {
		if n == what || sessionOf(n) == what {
			file, err := src.Open(ctx, n)
			return file, n, errors.Join(err, closeStore())
		}
	}
	return nil, "", errors.Join(kind.New(kind.NotFound, "no recording of session %s in %s", what, f.store).
		WithHint("see \"weft recording list --store %s\"", f.store), closeStore())
}

// sessionOf is the session ID in a recording's name.
func sessionOf(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(path.Base(name), recording.PartSuffix), recording.Suffix)
}

// keys reads the identities.
func (f *storeFlags) keys() ([]age.Identity, error) {
	var out []age.Identity
	for _, p := range f.identities {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("read --identity: %w", err)
		}
		ids, err := recording.ParseIdentities(b)
		if err != nil {
			return nil, kind.New(kind.Invalid, "--identity %s: %s", p, err)
		}
		out = append(out, ids...)
	}
	return out, nil
}

// reader opens a recording for reading. The returned function closes it.
func (f *storeFlags) reader(ctx context.Context, what string) (*recording.Reader, func() error, error) {
	file, _, err := f.open(ctx, what)
	if err != nil {
		return nil, nil, err
	}
	r, err := f.read(file)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return r, func() error {
		r.Close()
		return file.Close()
	}, nil
}

func (f *storeFlags) read(file recording.File) (*recording.Reader, error) {
	ids, err := f.keys()
	if err != nil {
		return nil, err
	}
	r, err := recording.NewReader(file, ids)
	if err != nil {
		return nil, explainRecording(err)
	}
	if r.Header().Encryption != nil && len(ids) == 0 {
		r.Close()
		return nil, explainRecording(recording.ErrEncrypted)
	}
	return r, nil
}

// explainRecording gives errors of recordings a kind and a next step.
func explainRecording(err error) error {
	var damage *recording.Damage
	switch {
	case err == nil:
		return nil
	case errors.Is(err, recording.ErrEncrypted):
		return kind.New(kind.Denied, "%s", err).WithHint("give --identity FILE")
	case errors.As(err, &damage):
		return kind.New(kind.Invalid, "%s", err).WithHint("see \"weft recording verify --help\" for what it can tell")
	case errors.Is(err, recording.ErrUnfinished):
		return kind.New(kind.Invalid, "%s", err).WithHint("a gateway seals what it left unfinished when it starts")
	}
	return err
}

// parseTime reads a time (RFC 3339), a date, or how long ago.
func parseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, kind.New(kind.Invalid, "%s %q is not a time", flag, s).WithHint("such as 2026-11-22T17:00:00Z, 2026-11-22, or 12h for twelve hours ago")
}

// parseOffset reads a time since the start: 90s, 1m30s, 1:30 or 0:01:30.5.
func parseOffset(flag, s string) (time.Duration, error) {
	bad := kind.New(kind.Invalid, "%s %q is not a time since the start", flag, s).WithHint("such as 90s, 1m30s or 0:01:30")
	if !strings.Contains(s, ":") {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return 0, bad
		}
		return d, nil
	}
	parts := strings.Split(s, ":")
	if len(parts) > 3 {
		return 0, bad
	}
	d, err := time.ParseDuration(parts[len(parts)-1] + "s")
	for i, unit := len(parts)-2, time.Minute; i >= 0 && err == nil; i, unit = i-1, unit*60 {
		var n time.Duration
		n, err = time.ParseDuration(parts[i] + "s")
		d += n / time.Second * unit
	}
	if err != nil || d < 0 {
		return 0, bad
	}
	return d, nil
}
