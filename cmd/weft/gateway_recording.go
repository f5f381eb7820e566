package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/gateway"
	"weft/gateway/recording"
	"weft/gateway/recording/bucket"
	"weft/internal/kind"
)

// recordFlags are the part of a gateway's configuration that is about recordings.
type recordFlags struct {
	on         bool
	dir        string
	bucket     string
	growing    time.Duration
	fail       string
	failApps   []string
	recipients []string
	input      string
	output     int64
	hashes     bool
	sync       bool
	maxFile    int64
	spool      int64
}

func (f *recordFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVar(&f.on, "record", false, "record SSH sessions, unless control says otherwise")
	fl.StringVar(&f.dir, "record-dir", "", "directory of recordings; default: recordings in the state directory")
	fl.StringVar(&f.bucket, "record-bucket", "", "bucket URL that finished recordings move to, such as s3://BUCKET?region=REGION")
	fl.DurationVar(&f.growing, "record-upload-growing", 0, "how often recordings go to the bucket while they are written; 0: only when finished")
	fl.StringVar(&f.fail, "record-fail", string(recording.FailStop), `what becomes of a session that cannot be recorded: "stop" or "alarm"`)
	fl.StringArrayVar(&f.failApps, "record-fail-app", nil, "APPLICATION_ID=stop or =alarm, for one application (repeatable)")
	fl.StringArrayVar(&f.recipients, "record-recipient", nil, "age recipient, SSH public key, or file of them, one a line, that recordings are encrypted to (repeatable)")
	fl.StringVar(&f.input, "record-input", "scripts", `what clients send: of shells without a terminal ("scripts"), "never", or "all", passwords included`)
	fl.Int64Var(&f.output, "record-output-limit", 256<<10, "bytes kept of each output of a channel without a terminal; -1: none")
	fl.BoolVar(&f.hashes, "record-file-hashes", false, "record the SHA-256 of files that sftp transfers in order")
	fl.BoolVar(&f.sync, "record-sync", false, "wait for the disk at each flush, so that a power failure loses no more than a kill does")
	fl.Int64Var(&f.maxFile, "record-max-bytes", 4<<30, "size at which a recording counts as failed")
	fl.Int64Var(&f.spool, "record-spool-limit", 8<<30, "bytes that may wait for the bucket before recordings fail")
}

// apply fills in r. The returned function closes the bucket.
func (f *recordFlags) apply(ctx context.Context, r *gateway.Recording) (func() error, error) {
	none := func() error { return nil }
	r.Enabled, r.FailMode = f.on, recording.FailMode(f.fail)
	r.Applications = make(map[string]recording.FailMode, len(f.failApps))
	for _, s := range f.failApps {
		app, mode, ok := strings.Cut(s, "=")
		if !ok || app == "" {
			return none, usageError{errors.New("--record-fail-app wants APPLICATION_ID=stop or =alarm")}
		}
		r.Applications[app] = recording.FailMode(mode)
	}
	for _, m := range append([]string{f.fail}, values(r.Applications)...) {
		if m != string(recording.FailStop) && m != string(recording.FailAlarm) {
			return none, usageError{fmt.Errorf("fail mode %q is neither stop nor alarm", m)}
		}
	}
	c := &r.Recorder
	switch f.input {
	case "scripts":
		c.Input = recording.InputScripts
	case string(recording.InputNever), string(recording.InputAll):
		c.Input = recording.InputPolicy(f.input)
	default:
		return none, usageError{fmt.Errorf("--record-input %q is none of scripts, never, all", f.input)}
	}
	c.Dir, c.HashTransfers, c.SyncEveryFlush, c.UploadGrowing = f.dir, f.hashes, f.sync, f.growing
	c.OutputLimit, c.MaxFileBytes, c.SpoolLimit = f.output, f.maxFile, f.spool
	var err error
	if c.Recipients, err = readRecipients(f.recipients); err != nil {
		return none, err
	}
	if f.bucket == "" {
		return none, nil
	}
	b, err := bucket.Open(ctx, f.bucket)
	if err != nil {
		return none, kind.New(kind.Invalid, "--record-bucket %s cannot be opened", f.bucket).WithCause(err)
	}
	c.Sink = b
	return b.Close, nil
}

func values(m map[string]recording.FailMode) []string {
	out := make([]string, 0, len(m))
	for _, v := range m {
		out = append(out, string(v))
	}
	return out
}

// readRecipients takes recipients and files of them.
func readRecipients(args []string) ([]string, error) {
	var out []string
	for _, a := range args {
		lines := []string{a}
		if b, err := os.ReadFile(a); err == nil {
			lines = strings.Split(string(b), "\n")
		}
		for _, l := range lines {
			l = strings.TrimSpace(l)
			if l == "" || strings.HasPrefix(l, "#") {
				continue
			}
			if _, err := recording.ParseRecipient(l); err != nil {
				return nil, kind.New(kind.Invalid, "--record-recipient %s: %s", a, err)
			}
			out = append(out, l)
		}
	}
	if len(args) > 0 && len(out) == 0 {
		return nil, kind.New(kind.Invalid, "--record-recipient names nobody")
	}
	return out, nil
}
