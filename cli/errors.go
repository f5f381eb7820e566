package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/internal/kind"
)

// usageError returns an error about the command line itself.
func usageError(format string, args ...any) error {
	return &client.Error{Code: codeUsage, Message: fmt.Sprintf(format, args...)}
}

func usageErrorHint(hint, format string, args ...any) error {
	return &client.Error{Code: codeUsage, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// connectivityError is what a failed connectivity check ends with.
func connectivityError(c localapi.Check) error {
	return &client.Error{Code: codeCheck, Message: "the check of " + c.Name + " failed: " + c.Detail}
}

// failure is the JSON form of an error.
type failure struct {
	SchemaVersion int    `json:"schema_version"`
	Code          string `json:"code"`
	Message       string `json:"message"`
	Hint          string `json:"hint"`
	Command       string `json:"command,omitempty"` // the command line that has the right that was lacking
	ExitCode      int    `json:"exit_code"`
}

// exitStatus is the end of a program that spoke for itself.
type exitStatus int

// Error says how it ended; it is not shown.
func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// fail reports err on stderr and returns its exit code.
func (a *app) fail(err error) int {
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	f := a.describe(err)
	if a.json || !a.started && asksJSON(a.cfg.Args) {
		if b, jerr := json.Marshal(f); jerr == nil {
			fmt.Fprintf(a.cfg.Stderr, "%s\n", b)
		}
		return f.ExitCode
	}
	st := a.style(a.cfg.Stderr)
	fmt.Fprintf(a.cfg.Stderr, "%s %s\n", st.Red("Error:"), st.Clean(f.Message))
	for line := range strings.SplitSeq(f.Hint, "\n") {
		if line != "" {
			fmt.Fprintf(a.cfg.Stderr, "Next: %s\n", st.Clean(line))
		}
	}
	return f.ExitCode
}

// describe finds code, message, hint and exit code of err.
func (a *app) describe(err error) failure {
	f := failure{SchemaVersion: localapi.SchemaVersion, Code: string(kind.Internal), Message: err.Error()}
	var hint string
	if e, ok := errors.AsType[*client.Error](err); ok {
		f.Code, f.Message, f.Hint, f.Command = e.Code, e.Message, e.Hint, e.Command
		f.ExitCode, hint = lookupCode(f.Code)
		if f.Hint == "" {
			f.Hint = hint
		}
		return f
	}
	switch {
	case errors.Is(err, context.Canceled):
		f.Code, f.Message = client.CodeCancelled, "cancelled"
	case !a.started:
		// What cobra says about flags and commands has no type.
		f.Code, f.Hint = codeUsage, "see: warp-cli --help"
	}
	f.ExitCode, _ = lookupCode(f.Code)
	return f
}

// asksJSON finds --json in a command line that could not be parsed.
func asksJSON(args []string) bool {
	for _, arg := range args {
		switch arg {
		case "--":
			return false
		case "-j", "--json", "--json=true":
			return true
		}
	}
	return false
}
