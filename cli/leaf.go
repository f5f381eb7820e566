package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// help is what a command says of itself; a test asks for all of it.
type help struct {
	use, short, long, example string
}

// leaf makes a command of a verb. least and most bound its arguments.
func leaf(h help, least, most int, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	_, names, _ := strings.Cut(h.use, " ")
	return &cobra.Command{Use: h.use, Short: h.short, Long: h.long, Example: h.example, Args: args(least, most, names), RunE: run}
}

// noun makes a command that only holds verbs.
func noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short}
	group(cmd)
	cmd.AddCommand(verbs...)
	return cmd
}

// The annotations of commands that tests and the manual treat in their own way.
const (
	annotationGroup   = "weft_group"       // alone it is a mistake
	annotationOld     = "weft_old_name"    // the name that replaces it
	annotationInstead = "weft_not_offered" // what to use instead
)
