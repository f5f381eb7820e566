package main

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"weft/internal/kind"
)

// logFlags choose how a long-running command logs to stderr.
type logFlags struct {
	level  string
	format string
}

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.level, "log-level", "info", "least level to log: debug, info, warn or error")
	cmd.Flags().StringVar(&f.format, "log-format", "text", "form of the log: text or json")
}

func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return nil, kind.New(kind.Invalid, "--log-level %q is not debug, info, warn or error", f.level)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch f.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	default:
		return nil, kind.New(kind.Invalid, "--log-format %q is not text or json", f.format)
	}
}
