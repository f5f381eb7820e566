package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

func newDiag(a *app) *cobra.Command {
	var o diagOptions
	cmd := &cobra.Command{
		Use:   "diag",
		Short: "Look for what is wrong with agent, machine and the way to the gateway",
		Long: `Runs some thirty checks and says what was found, with what to do about it. The order of
the checks is that of cause and effect: begin with the first that failed.

Without an agent, what can be checked without one is checked. Nothing is sent to anybody
but the account's own control plane and gateways.

--bundle writes a ZIP file for whoever helps you. It holds no keys, tokens or passwords;
with --anonymize no e-mail addresses, host names or addresses either. It stays on this
machine: Weft sends it nowhere.

The exit code is 16 when a check of severity error failed.`,
		Example: `  warp-cli diag
  warp-cli diag --check clock_skew --json
  warp-cli diag --bundle weft-diag.zip --anonymize`,
		Args: args(0, 0, "[--check CODE] [--bundle FILE [--anonymize]]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.anonymize && o.bundle == "" {
				return usageError("--anonymize goes with --bundle FILE")
			}
			return a.diag(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.checks, "check", nil, "only the check with this `code`, and those that it needs (repeatable)")
	f.StringVar(&o.bundle, "bundle", "", "also write a support bundle to this new `file`")
	f.BoolVar(&o.anonymize, "anonymize", false, "replace e-mail addresses, host names and addresses in the bundle")
	return cmd
}

type diagOptions struct {
	checks    []string
	bundle    string
	anonymize bool
}

func (a *app) diag(ctx context.Context, o diagOptions) error {
	r, err := a.diagReport(ctx, o.checks)
	if err != nil {
		return err
	}
	if o.bundle != "" {
		if err := a.writeBundle(ctx, o, r); err != nil {
			return err
		}
		a.note("the bundle is %s; look through it before you give it away", o.bundle)
	}
	if err := a.print(r, func(w io.Writer, st render.Style) error { return render.Diag(w, st, r) }); err != nil {
		return err
	}
	for _, c := range r.Checks {
		if c.State == localapi.CheckFailed && c.Severity == localapi.SeverityError {
			return &client.Error{Code: codeFault, Message: c.Code + ": " + c.Evidence, Hint: c.Remedy}
		}
	}
	return nil
}

// diagReport puts the checks of this program before those of the agent.
func (a *app) diagReport(ctx context.Context, codes []string) (*localapi.DiagReport, error) {
	mine, theirs := splitCodes(codes)
	c := a.client()
	env := a.diagEnv()
	report := &localapi.DiagReport{SchemaVersion: localapi.SchemaVersion, Time: time.Now().UTC(), Version: a.cfg.Version, OS: env.os, Arch: env.arch}
	version, reached := c.Version(ctx)
	if reached == nil && (len(codes) == 0 || len(theirs) > 0) {
		r, err := c.Diag(ctx, theirs)
		var failure *client.Error
		switch {
		case err == nil:
			report = r
		case errors.As(err, &failure) && failure.Code == localapi.CodePermission:
			reached = err
		default:
			return nil, err
		}
	}
	own := env.run(ctx, version, reached, mine)
	if reached != nil && len(theirs) > 0 {
		return nil, reached
	}
	report.Checks = append(own, report.Checks...)
	report.Judge()
	return report, nil
}

// splitCodes tells the checks of this program from those of the agent, which knows whether they exist.
func splitCodes(codes []string) (mine, theirs []string) {
	for _, c := range codes {
		if isOwnCheck(c) {
			mine = append(mine, c)
		} else {
			theirs = append(theirs, c)
		}
	}
	if len(theirs) > 0 && mine == nil {
		mine = []string{} // none of them
	}
	return mine, theirs
}

func checkError(format string, args ...any) (string, string) {
	return localapi.CheckFailed, fmt.Sprintf(format, args...)
}

func checkOK(format string, args ...any) (string, string) {
	return localapi.CheckOK, fmt.Sprintf(format, args...)
}
