package cli

import (
	"context"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
)

// completionDeadline bounds what a press of the tab key may wait for the agent.
const completionDeadline = 400 * time.Millisecond

// shells are the shells that completion scripts are made for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "generate-completions bash|zsh|fish|powershell",
		Aliases: []string{"completion"},
		Short:   "Print the completion script of a shell",
		Long: `Prints a script that completes commands, flags, and the names of your targets,
virtual networks and UNIX users.`,
		Example: `  source <(warp-cli generate-completions bash)
  warp-cli generate-completions zsh > "${fpath[1]}/_warp-cli"
  warp-cli generate-completions fish > ~/.config/fish/completions/warp-cli.fish
  warp-cli generate-completions powershell | Out-String | Invoke-Expression`,
		Args:              args(1, 1, "bash|zsh|fish|powershell"),
		ValidArgsFunction: only(shells),
		RunE: func(cmd *cobra.Command, args []string) error {
			return completionScript(cmd.Root(), args[0], a.cfg.Stdout)
		},
	}
}

func completionScript(root *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "bash":
		_, err := io.WriteString(w, bashCompletion)
		return err
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(w)
	default:
		return usageErrorHint("one of: "+strings.Join(shells, ", "), "no completion for shell %q", shell)
	}
}

// completer is cobra's type of completion functions.
type completer = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// only completes the first argument from a fixed list.
func only(words []string) completer {
	return func(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return startingWith(words, toComplete), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag attaches f to a flag, which must exist.
func (a *app) completeFlag(cmd *cobra.Command, flag string, f completer) {
	// It fails only for an unknown flag; TestCompletion covers every caller.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		return f(cmd, nil, toComplete)
	})
}

func (a *app) completeTargetFilters(cmd *cobra.Command) {
	a.completeFlag(cmd, "vnet", a.completeVNET)
	a.completeFlag(cmd, "protocol", func(_ *cobra.Command, _ []string, s string) ([]string, cobra.ShellCompDirective) {
		return startingWith(protocolNames(), strings.ToUpper(s)), cobra.ShellCompDirectiveNoFileComp
	})
	a.completeFlag(cmd, "username", a.fromTargets(addUsernames))
	a.completeFlag(cmd, "attribute", a.fromTargets(func(t *localapi.Target, add func(string)) {
		for k, v := range t.Attributes {
			add(k + "=" + v)
		}
	}))
	a.completeFlag(cmd, "port", a.fromTargets(func(t *localapi.Target, add func(string)) { add(strconv.Itoa(int(t.Port))) }))
	a.completeFlag(cmd, "hostname", a.fromTargets(func(t *localapi.Target, add func(string)) { add(t.Hostname) }))
	a.completeFlag(cmd, "ip", a.fromTargets(func(t *localapi.Target, add func(string)) {
		for _, ad := range t.Addresses {
			add(describeWord(ad.IP, t.Hostname))
		}
	}))
	a.completeFlag(cmd, "id", a.fromTargets(func(t *localapi.Target, add func(string)) { add(t.ID + "\t" + t.Hostname) }))
}

// completeListFlags completes what `target list` takes beside the filters.
func (a *app) completeListFlags(cmd *cobra.Command) {
	a.completeFlag(cmd, "output", func(_ *cobra.Command, _ []string, s string) ([]string, cobra.ShellCompDirective) {
		return startingWith(outputs, s), cobra.ShellCompDirectiveNoFileComp
	})
	a.completeFlag(cmd, "reachable", func(_ *cobra.Command, _ []string, s string) ([]string, cobra.ShellCompDirective) {
		return startingWith([]string{reachOnly, reachAll}, s), cobra.ShellCompDirectiveNoFileComp
	})
	a.completeFlag(cmd, "columns", a.completeColumns(""))
	a.completeFlag(cmd, "sort", a.completeColumns("-"))
}

// completeColumns completes the last of several columns with commas between them; each may have the prefix.
func (a *app) completeColumns(prefix string) completer {
	return func(cmd *cobra.Command, _ []string, s string) ([]string, cobra.ShellCompDirective) {
		done, last := "", s
		if i := strings.LastIndexByte(s, ','); i >= 0 {
			done, last = s[:i+1], s[i+1:]
		}
		if prefix != "" && strings.HasPrefix(last, prefix) {
			done, last = done+prefix, last[len(prefix):]
		}
		keys := render.ColumnKeys()
		keys = keys[:len(keys)-1] // "attribute:KEY" stands for those of the targets
		attributes, _ := a.fromTargets(func(t *localapi.Target, add func(string)) {
			for k := range t.Attributes {
				add("attribute:" + k)
			}
		})(cmd, nil, "")
		var words []string
		for _, w := range startingWith(append(keys, attributes...), last) {
			words = append(words, done+w)
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// completeVNET completes the name of a virtual network.
func (a *app) completeVNET(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(completionContext(cmd), completionDeadline)
	defer cancel()
	l, err := a.client().VNETs(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, v := range l.VNETs {
		names = append(names, describeWord(v.Name, v.Comment))
	}
	return startingWith(names, toComplete), cobra.ShellCompDirectiveNoFileComp
}

// fromTargets completes from what pick finds in the target list.
func (a *app) fromTargets(pick func(t *localapi.Target, add func(string))) completer {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(completionContext(cmd), completionDeadline)
		defer cancel()
		l, err := a.client().Targets(ctx, client.Query{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		seen := map[string]bool{}
		for i := range l.Targets {
			pick(&l.Targets[i], func(s string) { seen[s] = true })
		}
		return startingWith(slices.Sorted(maps.Keys(seen)), toComplete), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeTarget completes the name of a target.
func (a *app) completeTarget(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.fromTargets(addNames)(cmd, nil, toComplete)
}

// completeHostPort completes the name of a target, then one of its ports.
func (a *app) completeHostPort(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return a.fromTargets(addNames)(cmd, nil, toComplete)
	case 1:
		return a.fromTargets(func(t *localapi.Target, add func(string)) {
			for _, name := range names(t) {
				if strings.EqualFold(name, args[0]) {
					add(strconv.Itoa(int(t.Port)) + "\t" + t.Protocol)
				}
			}
		})(cmd, nil, toComplete)
	default:
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// names are the ways to write a target: its hostname, and that with each of its virtual networks.
func names(t *localapi.Target) []string {
	all := []string{t.Hostname}
	for _, a := range t.Addresses {
		if a.VNETName != "" {
			all = append(all, t.Hostname+"."+a.VNETName)
		}
	}
	return all
}

func addNames(t *localapi.Target, add func(string)) {
	for _, name := range names(t) {
		add(name)
	}
}

func addUsernames(t *localapi.Target, add func(string)) {
	for _, u := range t.Usernames {
		add(u)
	}
}

// completeSSH completes [user@]target among the targets that speak SSH.
func (a *app) completeSSH(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	user, _, hasUser := strings.Cut(toComplete, "@")
	return a.fromTargets(func(t *localapi.Target, add func(string)) {
		if t.Protocol != "SSH" {
			return
		}
		for _, name := range names(t) {
			if !hasUser {
				add(name)
				for _, u := range t.Usernames {
					add(u + "@" + name)
				}
			} else if slices.Contains(t.Usernames, user) {
				add(user + "@" + name)
			}
		}
	})(cmd, nil, toComplete)
}

func completionContext(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

func describeWord(word, description string) string {
	if description == "" {
		return word
	}
	return word + "\t" + description
}

// startingWith keeps the words that begin with prefix, and drops what a
// completion script could not carry.
func startingWith(words []string, prefix string) []string {
	var out []string
	for _, w := range words {
		if strings.HasPrefix(w, prefix) && !strings.ContainsAny(w, "\n\r\x00\x1b") {
			out = append(out, w)
		}
	}
	return out
}
