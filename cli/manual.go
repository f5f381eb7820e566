package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/agent/localapi"
)

// Command is a command of the tree that can be run, as tests and the manual see it.
type Command struct {
	Path    string // without the program's name
	Use     string
	Short   string
	Long    string
	Example string
	Group   string // title of its group in the help
	flags   *pflag.FlagSet
}

// tree builds the commands for nobody.
func tree() *cobra.Command {
	return newRoot(&app{cfg: Config{Stdout: io.Discard, Stderr: io.Discard, Getenv: func(string) string { return "" }}})
}

// Commands lists the commands that can be run, in the order of the help. Nouns, old names and what is not offered are
// left out.
func Commands() []Command {
	var out []Command
	root := tree()
	titles := map[string]string{"": "Additional commands:"}
	order := map[string]int{"": len(helpGroups)}
	for i, g := range helpGroups {
		titles[g.id], order[g.id] = g.title, i
	}
	var walk func(c *cobra.Command, group string)
	walk = func(c *cobra.Command, group string) {
		if c.HasParent() && c.Parent() == root {
			group = c.GroupID
		}
		if c != root && !c.Hidden && c.Runnable() && c.Annotations[annotationGroup] == "" {
			out = append(out, Command{
				Path: strings.TrimPrefix(c.CommandPath(), "warp-cli "), Use: strings.TrimPrefix(c.UseLine(), "warp-cli "),
				Short: c.Short, Long: c.Long, Example: c.Example, Group: group, flags: c.LocalNonPersistentFlags(),
			})
		}
		for _, sub := range c.Commands() {
			walk(sub, group)
		}
	}
	walk(root, "")
	slices.SortStableFunc(out, func(x, y Command) int {
		return cmp.Or(cmp.Compare(order[x.Group], order[y.Group]), cmp.Compare(x.Path, y.Path))
	})
	for i := range out {
		out[i].Group = strings.TrimSuffix(titles[out[i].Group], ":")
	}
	return out
}

// ManualMarkdown returns docs/cli.md.
func ManualMarkdown() string {
	var b strings.Builder
	b.WriteString("# warp-cli\n\n<!-- Made from the commands; `go test ./cli -run TestTree -update` writes it. -->\n\n")
	b.WriteString("Results go to stdout, all else to stderr. Exit codes: [exit-codes.md](exit-codes.md); the codes in a status:\n")
	b.WriteString("[status-codes.md](status-codes.md). With `--json` every answer carries `schema_version`, and a field has one type.\n")
	group := ""
	for _, c := range Commands() {
		if c.Path == "help" {
			continue
		}
		if c.Group != group {
			group = c.Group
			fmt.Fprintf(&b, "\n## %s\n", group)
		}
		fmt.Fprintf(&b, "\n### warp-cli %s\n\n%s.\n\n```\nwarp-cli %s\n```\n\n%s\n\n```sh\n%s\n```\n", c.Path, c.Short, c.Use, paragraphs(c.Long), unindent(c.Example))
		writeFlags(&b, c.flags)
	}
	b.WriteString("\n## Global flags\n")
	writeFlags(&b, tree().PersistentFlags())
	writeOldNames(&b)
	return b.String()
}

// paragraphs keeps indented lists as they are.
func paragraphs(s string) string {
	var out []string
	for p := range strings.SplitSeq(s, "\n\n") {
		if strings.HasPrefix(p, "  ") {
			p = "```\n" + unindent(p) + "\n```"
		}
		out = append(out, p)
	}
	return strings.Join(out, "\n\n")
}

func unindent(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	head := "\n| flag | meaning |\n|---|---|\n"
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		text := "--" + f.Name
		if name != "" {
			text += " " + name
		}
		if f.Shorthand != "" {
			text = "-" + f.Shorthand + ", " + text
		}
		b.WriteString(head)
		head = ""
		fmt.Fprintf(b, "| `%s` | %s |\n", text, strings.ReplaceAll(usage, "|", `\|`))
	})
}

func writeOldNames(b *strings.Builder) {
	b.WriteString("\n## Old names\n\nThey still work, and say so in one line on stderr.\n\n| old | now |\n|---|---|\n")
	root := tree()
	var rows, refused []string
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := strings.TrimPrefix(c.CommandPath(), "warp-cli ")
		if now := c.Annotations[annotationOld]; now != "" {
			rows = append(rows, fmt.Sprintf("| `%s` | `%s` |\n", path, now))
		}
		if hint := c.Annotations[annotationInstead]; hint != "" {
			refused = append(refused, fmt.Sprintf("| `%s` | %s |\n", path, hint))
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	slices.Sort(rows)
	slices.Sort(refused)
	b.WriteString(strings.Join(rows, "") + "\n## Not offered\n\nCommands of other clients that mean nothing here end with exit code 2 and say what to use instead.\n\n| command | instead |\n|---|---|\n" + strings.Join(refused, ""))
}

// StatusCodesMarkdown returns docs/status-codes.md.
func StatusCodesMarkdown() string {
	var b strings.Builder
	b.WriteString("# Codes in a status\n\n<!-- Made from the table in agent/localapi/codes.go; `go test ./cli -run TestStatusCodes -update` writes it. -->\n\n")
	b.WriteString("They stand in `warp-cli status --json` and in its events, and are kept stable. What a command ends with is in\n[exit-codes.md](exit-codes.md).\n")
	for _, kind := range []struct{ kind, title, field string }{
		{"state", "States", "`state`"},
		{"reason", "Reasons", "`reason`"},
		{"notice", "Notices", "`notices[].code`"},
		{"check", "Checks of `warp-cli debug connectivity-check`", "`checks[].name`"},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| %s | meaning | what to do |\n|---|---|---|\n", kind.title, kind.field)
		for _, c := range localapi.StatusCodes {
			if c.Kind == kind.kind {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.Code, c.Meaning, c.Remedy)
			}
		}
	}
	return b.String()
}
