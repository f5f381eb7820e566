package cli

import (
	"context"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
	"weft/targets"
)

func newTarget(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "target", Short: "Show the targets that you may reach"}
	group(cmd)
	cmd.AddCommand(newTargetList(a))
	cmd.AddCommand(newTargetConnect(a))
	return cmd
}

// targetFilter is the filter as it stands on the command line.
type targetFilter struct {
	attributes, usernames, protocols, ports, vnets, ids []string
}

func newTargetList(a *app) *cobra.Command {
	var f targetFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the targets that you may reach",
		Long: `Lists the targets that you may reach, in all virtual networks: one row per target
and port, with the UNIX users that you may log in as.

Every filter can be repeated. A row must fit every kind of filter that is given, and
for each kind one of its values; for --attribute each key is a kind of its own.`,
		Example: `  warp-cli target list --attribute hostname=do-target --username root
  warp-cli target list --vnet a1net --protocol SSH --protocol RDP --json`,
		Args: args(0, 0, "[filters]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := f.query()
			if err != nil {
				return err
			}
			return a.targetList(cmd.Context(), q)
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.attributes, "attribute", nil, "only targets with this attribute, `KEY=VALUE` (hostname or a tag)")
	fl.StringArrayVar(&f.usernames, "username", nil, "only where you may log in as this UNIX `user`")
	fl.StringArrayVar(&f.protocols, "protocol", nil, "only this `protocol`, for example SSH")
	fl.StringArrayVar(&f.ports, "port", nil, "only this `port`")
	fl.StringArrayVar(&f.vnets, "vnet", nil, "only targets with an address in this virtual `network` (name or ID)")
	fl.StringArrayVar(&f.ids, "id", nil, "only the target with this `ID`")
	a.completeTargetFilters(cmd)
	return cmd
}

// protocols are the names that --protocol takes.
var protocols = []targets.Protocol{
	targets.SSH, targets.TCP, targets.UDP, targets.RDP, targets.VNC, targets.HTTP, targets.HTTPS,
	targets.Postgres, targets.MySQL, targets.Redis, targets.MongoDB, targets.Kubernetes,
}

// query checks every value, so that a mistyped filter is an error and not an empty list.
func (f *targetFilter) query() (client.Query, error) {
	q := client.Query{Attributes: f.attributes, Usernames: f.usernames, VNETs: f.vnets}
	for _, s := range f.attributes {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" || value == "" {
			return q, usageErrorHint("for example: --attribute hostname=web-1", "--attribute %q is not KEY=VALUE", s)
		}
		if err := checkWord("--attribute", s); err != nil {
			return q, err
		}
	}
	for _, s := range f.usernames {
		if err := checkWord("--username", s); err != nil {
			return q, err
		}
	}
	for _, s := range f.vnets {
		if err := checkWord("--vnet", s); err != nil {
			return q, err
		}
	}
	for _, s := range f.protocols {
		p, ok := parseProtocol(s)
		if !ok {
			return q, usageErrorHint("one of: "+strings.Join(protocolNames(), ", "), "--protocol %q is not a protocol", s)
		}
		q.Protocols = append(q.Protocols, p)
	}
	for _, s := range f.ports {
		p, err := parsePort("--port", s)
		if err != nil {
			return q, err
		}
		q.Ports = append(q.Ports, p)
	}
	for _, s := range f.ids {
		if !isUUID(s) {
			return q, usageErrorHint("target IDs stand in: warp-cli target list", "--id %q is not a target ID", s)
		}
		q.IDs = append(q.IDs, strings.ToLower(s))
	}
	return q, nil
}

func (a *app) targetList(ctx context.Context, q client.Query) error {
	l, err := a.client().Targets(ctx, q)
	if err != nil {
		return err
	}
	if l.Targets == nil {
		l.Targets = []localapi.Target{}
	}
	if l.Stale {
		a.note("the control plane is not being heard; this list is %s old", render.Age(l.AgeSeconds))
	}
	switch {
	case len(l.Targets) == 0 && q.Empty():
		a.note("no target has been granted to you; ask your administrator")
	case len(l.Targets) == 0:
		a.note("no target matches; without filters: warp-cli target list")
	}
	return a.print(l, func(w io.Writer, _ render.Style) error {
		if len(l.Targets) == 0 {
			return nil
		}
		return render.Targets(w, l)
	})
}

func parseProtocol(s string) (string, bool) {
	for _, p := range protocols {
		if strings.EqualFold(s, string(p)) {
			return string(p), true
		}
	}
	return "", false
}

func protocolNames() []string {
	names := make([]string, len(protocols))
	for i, p := range protocols {
		names[i] = string(p)
	}
	return names
}

// parsePort reads a port from 1 to 65535.
func parsePort(what, s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, usageError("%s %q is not a port from 1 to 65535", what, s)
	}
	return uint16(n), nil
}

// checkWord refuses what cannot name anything: nothing, blanks around it, control characters, too much.
func checkWord(what, s string) error {
	switch {
	case s == "":
		return usageError("%s is empty", what)
	case len(s) > 512:
		return usageError("%s is longer than 512 bytes", what)
	case s != strings.TrimSpace(s), strings.ContainsFunc(s, unicode.IsControl):
		return usageError("%s %q has blanks around it or control characters in it", what, s)
	}
	return nil
}

// isUUID reports whether s has the form of a UUID, in any case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
		default:
			return false
		}
	}
	return true
}
