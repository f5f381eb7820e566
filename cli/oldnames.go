package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/agent/localapi/client"
)

// oldNames are commands that public scripts still use, by the command that replaces them.
var oldNames = map[string]string{
	"account":               "registration show",
	"clear-custom-endpoint": "tunnel endpoint reset",
	"delete":                "registration delete",
	"disable-always-on":     "disconnect",
	"enable-always-on":      "connect",
	"get-virtual-networks":  "vnet",
	"network":               "debug network",
	"register":              "registration new",
	"rotate-keys":           "tunnel rotate-keys",
	"set-custom-endpoint":   "tunnel endpoint set",
	"set-mode":              "mode",
	"set-proxy-port":        "proxy port",
	"set-virtual-network":   "vnet",
	"teams-enroll":          "registration new",
	"teams-enroll-token":    "registration token",
	"warp-stats":            "tunnel stats",
}

// notOffered are commands of other clients that mean nothing here, by what to use instead.
var notOffered = map[string]string{
	"certs":         "the tunnel inspects nothing, so there is no certificate to install; SSH hosts trust one CA line: see docs/operations.md",
	"connector":     "connectors are a program of their own, for the private network: weft connector --help",
	"environment":   "the enrolment string names the control plane: warp-cli registration new",
	"override":      "ask your administrator; to see what is managed: warp-cli mdm get-configs",
	"teams-unenrol": "warp-cli registration delete",
	"trusted":       "nothing leaves the tunnel by itself, whatever the network; to pause: warp-cli disconnect --for 1h",
}

// addOldNames adds hidden commands for both. A name that has become a command again is left to it.
func addOldNames(a *app, root *cobra.Command) {
	taken := func(name string) bool {
		return slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == name || c.HasAlias(name) })
	}
	for old, now := range oldNames {
		if !taken(old) {
			root.AddCommand(oldName(a, root, old, now))
		}
	}
	for name, hint := range notOffered {
		if !taken(name) {
			root.AddCommand(instead(a, name, hint))
		}
	}
}

// oldName runs the command that has taken its place, and says so in one line.
func oldName(a *app, root *cobra.Command, old, now string) *cobra.Command {
	return &cobra.Command{
		Use: old, Short: "Old name of: warp-cli " + now, Hidden: true, DisableFlagParsing: true,
		Long:        "The old name of warp-cli " + now + ", for scripts. It still works, and says so on stderr.",
		Example:     "  warp-cli " + now,
		Annotations: map[string]string{annotationOld: now},
		RunE: func(cmd *cobra.Command, args []string) error {
			fmt.Fprintf(a.cfg.Stderr, "warp-cli: %s is deprecated; use: warp-cli %s\n", old, now)
			a.started = false // the line is still to be understood
			root.SetArgs(slices.Concat(strings.Fields(now), args))
			return root.ExecuteContext(cmd.Context())
		},
	}
}

// instead makes a hidden command of another client that is not offered here.
func instead(a *app, name, hint string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: "Not offered", Hidden: true, DisableFlagParsing: true,
		Long:        "Not offered here. Instead: " + hint,
		Example:     "  " + hint,
		Annotations: map[string]string{annotationInstead: hint},
		RunE: func(cmd *cobra.Command, args []string) error {
			a.json = a.json || asksJSON(args)
			return &client.Error{Code: codeNotOffered, Message: cmd.CommandPath() + " is not offered here", Hint: hint}
		},
	}
}
