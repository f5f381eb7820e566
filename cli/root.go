package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot builds the command tree.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "warp-cli",
		Short: "Reach the infrastructure that you have been given access to",
		Long: `warp-cli steers the agent of this device (warp-svc): it registers the device,
connects it, lists the targets that you may reach, and reaches them.

The agent is found by --socket or WARP_SOCKET. Exit codes: docs/exit-codes.md.`,
		Example: `  warp-cli registration new "$WEFT_ENROLMENT"
  warp-cli connect
  warp-cli target list
  warp-cli ssh alice@web-1`,
		SilenceErrors: true,
		SilenceUsage:  true,
		// Flags before the command's name are the root's, so that ssh can keep all that follow its own.
		TraverseChildren:  true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { a.started = true },
	}
	group(root)
	f := root.PersistentFlags()
	f.BoolVarP(&a.json, "json", "j", false, "write results and errors as JSON")
	f.CountVarP(&a.verbose, "verbose", "v", "say on stderr what is asked of the agent; twice: with the causes of failures")
	f.StringVar(&a.socket, "socket", "", "`path` of the agent's socket (environment: WARP_SOCKET)")
	f.BoolVar(&a.noANSI, "no-ansi", false, "no colours, even on a terminal (environment: NO_COLOR)")
	f.Bool("no-paginate", false, "no pager; accepted for scripts made for other clients, lists are never paged")
	f.Bool("accept-tos", false, "accepted for scripts made for other clients; there are no terms to accept")
	// cobra's own version flag prints through text/template, which would keep every method of every type in the program.
	root.Flags().BoolP("version", "V", false, "print the version of warp-cli")
	root.RunE = a.versionOr(root.RunE)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelp())

	root.AddCommand(
		newRegistration(a), newConnect(a), newDisconnect(a), newStatus(a), newVNET(a),
		newTarget(a), newForward(a), newSSHConfig(a), newNC(a), newSSH(a), newVersion(a), newCompletion(a),
	)
	a.addProxyVerbs(root)
	return root
}

// versionOr answers --version, and calls next without it.
func (a *app) versionOr(next func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if v, err := cmd.Flags().GetBool("version"); err != nil || !v || len(args) > 0 {
			return next(cmd, args)
		}
		return a.version(cmd.Context(), true)
	}
}

// newHelp is cobra's help command, except that an unknown command is a mistake.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageErrorHint("see: warp-cli --help", "unknown command %q for warp-cli", strings.Join(args, " "))
			}
			c.InitDefaultHelpFlag() // as --help shows it
			return c.Help()
		},
	}
}

// flagError makes what pflag says a usage error.
func flagError(cmd *cobra.Command, err error) error {
	return usageErrorHint("see: "+cmd.CommandPath()+" --help", "%s", err.Error())
}

// group makes cmd a noun: alone or with an unknown verb it is a mistake.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		help := "see: " + cmd.CommandPath() + " --help"
		if len(args) == 0 {
			return usageErrorHint(help, "%s needs a command: %s", cmd.CommandPath(), strings.Join(verbs(cmd), ", "))
		}
		cmd.SuggestionsMinimumDistance = 2
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			help = "did you mean: " + cmd.CommandPath() + " " + strings.Join(s, ", ") + "\n" + help
		}
		return usageErrorHint(help, "unknown command %q for %s", args[0], cmd.CommandPath())
	}
}

func verbs(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// args checks the number of arguments; names is how the command calls them.
func args(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		var err error
		switch {
		case len(args) < least:
			err = errors.New("missing argument")
		case len(args) > most:
			err = errors.New("too many arguments")
		default:
			return nil
		}
		return usageErrorHint("see: "+cmd.CommandPath()+" --help", "%s: usage: %s", err, strings.TrimSpace(cmd.CommandPath()+" "+names))
	}
}
