// Command weft is the server side of Weft: the control plane, the gateway and
// the connector, each a subcommand; all three in one process for development
// ("weft dev"); and a synthetic client that checks them from outside ("weft
// probe"). It is wiring only: flags, configuration, construct, run, exit code.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code. SIGINT and SIGTERM
// end the command cleanly; a second one ends the process at once.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRoot() //nolint:contextcheck // control.New opens its store whole, without a context
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil || (ctx.Err() != nil && isStop(err)) {
		return exitOK
	}
	report(stderr, err)
	return exitCode(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "weft",
		Short:         "Access for infrastructure, self-hosted: control plane, gateway and connector",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %q)", err, cmd.CommandPath()+" --help")}
	})
	root.AddCommand(
		newControl(), newGateway(), newConnector(), newDev(), newEnrolment(), newExplain(), newHostKey(), newImpact(), newProbe(), newRecording(), newSession(), newSSHCA(), newToken(), newVersion(),
	)
	return root
}

const rootHelp = `weft is the server side of Weft.

  weft dev         everything in one process, for development and trying out
  weft control     the control plane: management API, policies, enrolment, SSH CA
  weft gateway     the WireGuard endpoint that decides about every connection
  weft connector   dials out of a private network and opens what the gateway asks for
  weft probe       a synthetic client that checks a gateway from outside
  weft host-key    the host keys of targets that a gateway has pinned
  weft ssh-ca      the SSH authorities: of logins at targets and of the gateways' host keys
  weft session     lists, watches and ends live sessions
  weft recording   lists, plays, verifies, exports and searches recorded sessions

Secrets are never arguments: they are read from files (--token-file) that may
also be named by the environment variables that each command documents.
` + exitHelp
