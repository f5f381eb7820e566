package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// session are the flags that say which session a command is about.
type session struct{ profile, forUser string }

// sessionFlags adds --profile and --for-user to every command.
func (a *app) sessionFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.session.profile, "profile", "", "`name` of the profile, that is of your registration (environment: WARP_PROFILE)")
	f.StringVar(&a.session.forUser, "for-user", "", "as an administrator: the session of this `user` (name, uid or SID)")
	a.completeFlag(root, "profile", a.completeProfile)
}

// profileName returns --profile, else WARP_PROFILE, else "" for the current one.
func (a *app) profileName() string {
	if a.session.profile != "" {
		return a.session.profile
	}
	return a.cfg.Getenv("WARP_PROFILE")
}

// checkSession refuses what no agent could be asked for, before anything is done.
func (a *app) checkSession(cmd *cobra.Command) error {
	f := cmd.Root().PersistentFlags()
	if f.Changed("profile") && a.session.profile == "" || f.Changed("for-user") && a.session.forUser == "" {
		return usageError("--profile and --for-user need a value")
	}
	if p := a.profileName(); p != "" {
		if err := checkProfile(p); err != nil {
			return err
		}
	}
	if a.session.forUser != "" {
		return checkWord("user", a.session.forUser)
	}
	return nil
}

// sessionWords are the words that make another warp-cli speak of the same session.
func (a *app) sessionWords() []string {
	var words []string
	if p := a.profileName(); p != "" {
		words = append(words, "--profile", p)
	}
	if a.session.forUser != "" {
		words = append(words, "--for-user", a.session.forUser)
	}
	return words
}

func checkProfile(name string) error {
	if !localapi.ValidProfileName(name) {
		return usageErrorHint("1 to 32 lower-case letters, digits, '-', '_' and '.', beginning with a letter or digit",
			"%q is no name of a profile", name)
	}
	return nil
}

func newProfile(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "Be registered with several organisations at once",
		Long: `A profile is one registration of yours: an identity of one organisation, with its own
tunnel, targets and virtual networks. All profiles live at the same time. Commands are
about the current one unless --profile or WARP_PROFILE names another; so does nc, and
with it every ssh, scp and rsync that uses it.`,
		Example: `  warp-cli profile add acme
  warp-cli --profile acme registration new "$WEFT_ENROLMENT"
  warp-cli --profile acme connect
  warp-cli --profile acme target list
  warp-cli profile use acme`,
	}
	group(cmd)
	cmd.AddCommand(
		newProfileList(a), newProfileShow(a), newProfileAdd(a), newProfileUse(a), newProfileRename(a),
		newProfileRemove(a), newProfileSessions(a))
	return cmd
}

func newProfileList(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List your profiles",
		Long: `Lists your profiles by name: whether each is the current one and connected, whose it is, its
virtual network, and where its proxy listens. Those of other accounts of this machine are
not shown.`,
		Example: `  warp-cli profile list
  warp-cli profile list --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.client().Profiles(cmd.Context())
			if err != nil {
				return err
			}
			l.Profiles = append([]localapi.Profile{}, l.Profiles...) // never null
			return a.print(l, func(w io.Writer, st render.Style) error { return render.Profiles(w, st, l) })
		},
	}
}

func newProfileShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show [NAME]", Short: "Show a profile; without a name, the one that commands are about",
		Long: `Shows one profile: state, identity, account, control plane, virtual network and proxy.
Without NAME it is the one that --profile or WARP_PROFILE names, else the current one. The
JSON is that of profile list, with one profile in it.`,
		Example: `  warp-cli profile show
  warp-cli profile show acme --json`,
		Args:              args(0, 1, "[NAME]"),
		ValidArgsFunction: a.completeProfile,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := a.profileName()
			if len(args) == 1 {
				name = args[0]
			}
			l, err := a.profileNamed(cmd.Context(), name)
			if err != nil {
				return err
			}
			return a.print(l, func(w io.Writer, st render.Style) error { return render.Profile(w, st, &l.Profiles[0]) })
		},
	}
}

// profileNamed returns the list with one profile, the current one without a name.
func (a *app) profileNamed(ctx context.Context, name string) (*localapi.ProfileList, error) {
	if name != "" {
		if err := checkProfile(name); err != nil {
			return nil, err
		}
		l, err := a.client().Profile(ctx, name)
		if err == nil && len(l.Profiles) != 1 {
			err = &client.Error{Code: localapi.CodeUnknownProfile, Message: "there is no profile " + name}
		}
		return l, err
	}
	l, err := a.client().Profiles(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range l.Profiles {
		if p.Current {
			l.Profiles = []localapi.Profile{p}
			return l, nil
		}
	}
	return nil, &client.Error{Code: localapi.CodeUnknownProfile, Message: "no profile is the current one"}
}

func newProfileAdd(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "add NAME", Short: "Make another profile, to register with",
		Long: `Makes a profile that is not registered yet; the current one stays the current one. NAME has
1 to 32 lower-case letters, digits, '-', '_' and '.'.`,
		Example: `  warp-cli profile add globex
  warp-cli --profile globex registration new "$WEFT_ENROLMENT"`,
		Args: args(1, 1, "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeProfiles(cmd.Context(), args, func(ctx context.Context, c *client.Client) (*localapi.ProfileList, error) {
				return c.AddProfile(ctx, args[0])
			}, "Added profile "+args[0]+"\nNext: warp-cli --profile "+args[0]+" registration new ENROLMENT")
		},
	}
}

func newProfileUse(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Make a profile the current one; open connections stay where they are",
		Long: `Makes a profile the one that commands without --profile are about, and that new connections
through the proxy use. All others stay connected, and open connections stay where they are.`,
		Example:           `  warp-cli profile use acme`,
		Args:              args(1, 1, "NAME"),
		ValidArgsFunction: a.completeProfile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeProfiles(cmd.Context(), args, func(ctx context.Context, c *client.Client) (*localapi.ProfileList, error) {
				return c.UseProfile(ctx, args[0])
			}, "Commands and the proxy use profile "+args[0]+"; open connections stay where they are")
		},
	}
}

func newProfileRename(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rename NAME NEW-NAME", Short: "Give a profile another name; its tunnel stays up",
		Long: `Gives a profile another name. Its registration, its tunnel and its open connections stay;
scripts that name it with --profile need the new name.`,
		Example:           `  warp-cli profile rename acme acme-eu`,
		Args:              args(2, 2, "NAME NEW-NAME"),
		ValidArgsFunction: a.completeProfile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeProfiles(cmd.Context(), args, func(ctx context.Context, c *client.Client) (*localapi.ProfileList, error) {
				return c.RenameProfile(ctx, args[0], args[1])
			}, "Renamed profile "+args[0]+" to "+args[1])
		},
	}
}

func newProfileRemove(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "remove NAME [--force]", Short: "End a profile: its registration, key and settings",
		Long: `Ends a profile: its registration is deleted, its key is wiped, and its settings are
gone. One that is connected is removed only with --force, which ends its connections.`,
		Example: `  warp-cli profile remove acme
  warp-cli profile remove acme --force`,
		Args:              args(1, 1, "NAME [--force]"),
		ValidArgsFunction: a.completeProfile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeProfiles(cmd.Context(), args, func(ctx context.Context, c *client.Client) (*localapi.ProfileList, error) {
				return c.RemoveProfile(ctx, args[0], force)
			}, "Removed profile "+args[0]+" and wiped its key")
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also when it is connected")
	return cmd
}

// changeProfiles checks the names, makes the change and says what was done.
func (a *app) changeProfiles(ctx context.Context, names []string, change func(context.Context, *client.Client) (*localapi.ProfileList, error), done string) error {
	for _, name := range names {
		if err := checkProfile(name); err != nil {
			return err
		}
	}
	l, err := change(ctx, a.client())
	if err != nil {
		return err
	}
	l.Profiles = append([]localapi.Profile{}, l.Profiles...) // never null
	return a.print(l, func(w io.Writer, st render.Style) error { return success(w, st, done) })
}

func newProfileSessions(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "sessions", Short: "As an administrator: list the running sessions of all users",
		Long: `Lists the running sessions of the agent, by account and profile: state, identity, open
connections, and when somebody last used it. Only an administrator of this machine (root)
may see it; to act on one of them use --for-user USER.`,
		Example: `  warp-cli profile sessions
  warp-cli --for-user jdoe --profile acme disconnect`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := a.client().Sessions(cmd.Context())
			if err != nil {
				return err
			}
			l.Sessions = append([]localapi.Session{}, l.Sessions...) // never null
			return a.print(l, func(w io.Writer, _ render.Style) error { return render.Sessions(w, l) })
		},
	}
}

// completeProfile completes the name of a profile.
func (a *app) completeProfile(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(completionContext(cmd), completionDeadline)
	defer cancel()
	l, err := a.client().Profiles(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, p := range l.Profiles {
		names = append(names, describeWord(p.Name, p.Email))
	}
	return startingWith(names, toComplete), cobra.ShellCompDirectiveNoFileComp
}
