package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			if a.listen && cmd.HasParent() && cmd.CommandPath() != "warp-cli status" {
				return usageErrorHint("for flows: warp-cli flow list --watch", "--listen follows the status: it goes alone or with status")
			}
			return a.checkSession(cmd)
		},
	}
	group(root)
	f := root.PersistentFlags()
	f.BoolVarP(&a.json, "json", "j", false, "write results and errors as JSON")
	f.CountVarP(&a.verbose, "verbose", "v", "say on stderr what is asked of the agent; twice: with the causes of failures")
	f.StringVar(&a.socket, "socket", "", "`path` of the agent's socket (environment: WARP_SOCKET)")
	a.sessionFlags(root)
	f.BoolVar(&a.noANSI, "no-ansi", false, "no colours, even on a terminal (environment: NO_COLOR)")
	f.BoolVarP(&a.listen, "listen", "l", false, "follow the changes of the status (alone, or with status)")
	f.BoolVar(&a.noPaginate, "no-paginate", false, "no pager, even for long lists on a terminal (environment: WARP_PAGER=cat)")
	f.Bool("accept-tos", false, "accepted for scripts made for other clients; there are no terms to accept")
	// cobra's own version flag knows no --json and asks no agent.
	root.Flags().BoolP("version", "V", false, "print the version of warp-cli")
	root.RunE = a.versionOr(a.listenOr(root.RunE))
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelp())

	root.AddCommand(
		newRegistration(a), newConnect(a), newDisconnect(a), newStatus(a), newVNET(a),
		newTarget(a), newNC(a), newSSH(a), newVersion(a), newCompletion(a),
	)
	addLater(a, root)
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

// listenOr follows the status with --listen and no command, and calls next without it.
func (a *app) listenOr(next func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if !a.listen || len(args) > 0 {
			return next(cmd, args)
		}
		return a.statusWatch(cmd.Context())
	}
}

// laterCommands are made only when the command line may need them: to make all of them takes longer than a status.
var laterCommands = []struct {
	name string
	make func(*app) *cobra.Command
}{
	{"debug", newDebug},
	{"diag", newDiag},
	{"dns", newDNS},
	{"explain", newExplain},
	{"flow", newFlow},
	{"forward", newForward},
	{"mdm", newMDM},
	{"mode", newMode},
	{"profile", newProfile},
	{"proxy", newProxy},
	{"service", newService},
	{"settings", newSettings},
	{"ssh-config", newSSHConfig},
	{"stats", newStats},
	{"tunnel", newTunnel},
	{"wait", newWait},
}

// addLater adds the one later command that the line names, none when it names another command, and everything when it
// is about the tree itself: help, completion, a mistake, an old name.
func addLater(a *app, root *cobra.Command) {
	word, plain := firstWord(a.cfg.Args, root.PersistentFlags())
	known := slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == word || c.HasAlias(word) })
	if plain && known {
		return
	}
	for _, l := range laterCommands {
		if plain && l.name == word {
			root.AddCommand(l.make(a))
			return
		}
	}
	for _, l := range laterCommands {
		root.AddCommand(l.make(a))
	}
	addOldNames(a, root)
	groupHelp(root)
}

// wholeTree are words that ask for the tree itself.
var wholeTree = []string{"-h", "--help", "help", "completion", "generate-completions", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}

// firstWord is the command's name in a command line that may have these flags before it; plain says that nothing in the
// line asks for the tree itself.
func firstWord(args []string, flags *pflag.FlagSet) (word string, plain bool) {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case slices.Contains(wholeTree, arg), arg == "--":
			return "", false
		case word != "": // only to see whether help is asked for
		case takesNext(arg, flags):
			i++ // its value
		case !strings.HasPrefix(arg, "-"):
			word = arg
		}
	}
	return word, word != ""
}

// takesNext reports whether arg is a flag whose value is the next word.
func takesNext(arg string, flags *pflag.FlagSet) bool {
	var f *pflag.Flag
	switch name, long := strings.CutPrefix(arg, "--"); {
	case long:
		f = flags.Lookup(name) // none with "="
	case len(arg) == 2 && arg[0] == '-':
		f = flags.ShorthandLookup(arg[1:])
	}
	return f != nil && f.NoOptDefVal == ""
}

// helpGroups order the help: what people do every day comes first. A command that is not named stands at the end.
var helpGroups = []struct {
	id, title string
	commands  []string
}{
	{"connect", "Register and connect:", []string{"registration", "connect", "disconnect", "status", "wait", "profile"}},
	{"reach", "Reach targets:", []string{"target", "ssh", "nc", "forward", "ssh-config", "vnet", "dns"}},
	{"look", "See what happens:", []string{"flow", "tunnel", "stats", "explain", "diag", "debug"}},
	{"set", "Set up the agent:", []string{"mode", "proxy", "settings", "mdm", "service"}},
}

func groupHelp(root *cobra.Command) {
	of := map[string]string{}
	for _, g := range helpGroups {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, name := range g.commands {
			of[name] = g.id
		}
	}
	for _, c := range root.Commands() {
		c.GroupID = of[c.Name()]
	}
}

// newStats is where some look for tunnel stats.
func newStats(a *app) *cobra.Command {
	cmd := newTunnelStats(a)
	cmd.Long += "\n\nThe same as warp-cli tunnel stats."
	cmd.Example = "  warp-cli stats\n  warp-cli stats --json"
	return cmd
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
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[annotationGroup] = "yes"
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
