package cli

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"weft/agent/localapi/client"
	"weft/targets"
)

func newTarget(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "target", Short: "Show the targets that you may reach"}
	group(cmd)
	ssh := newSSH(a) // the same under another noun
	cmd.AddCommand(newTargetList(a))
	cmd.AddCommand(newTargetShow(a), newTargetPick(a), newTargetConnect(a), ssh)
	return cmd
}

// targetFilter is the filter as it stands on the command line.
type targetFilter struct {
	attributes, usernames, hostnames, protocols, ports, vnets, ids, ips []string
}

// flags adds the filters to a command.
func (f *targetFilter) flags(a *app, cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.attributes, "attribute", nil, "only targets with this attribute, `KEY=VALUE` (hostname, a tag, protocol or port)")
	fl.StringArrayVar(&f.usernames, "username", nil, "only where you may log in as this UNIX `user`")
	fl.StringArrayVar(&f.hostnames, "hostname", nil, "only targets whose hostname fits this `pattern` (*, ?, [a-z]; case does not count)")
	fl.StringArrayVar(&f.protocols, "protocol", nil, "only this `protocol`, for example SSH")
	fl.StringArrayVar(&f.ports, "port", nil, "only this `port`")
	fl.StringArrayVar(&f.vnets, "vnet", nil, "only targets with an address in this virtual `network` (name or ID)")
	fl.StringArrayVar(&f.ids, "id", nil, "only the target with this `ID`")
	fl.StringArrayVar(&f.ips, "ip", nil, "only targets with this `address`, or one in this prefix (10.0.0.0/8)")
	a.completeTargetFilters(cmd)
}

// protocols are the names that --protocol takes.
var protocols = []targets.Protocol{
	targets.SSH, targets.TCP, targets.UDP, targets.RDP, targets.VNC, targets.HTTP, targets.HTTPS,
	targets.Postgres, targets.MySQL, targets.Redis, targets.MongoDB, targets.Kubernetes,
}

// query checks every value, so that a mistyped filter is an error and not an empty list.
func (f *targetFilter) query() (client.Query, error) {
	q := client.Query{Attributes: f.attributes, Usernames: f.usernames, VNETs: f.vnets, Hostnames: f.hostnames, IPs: f.ips}
	for _, check := range []func(*client.Query) error{f.checkAttributes, f.checkWords, f.checkPatterns, f.readProtocols, f.readPorts, f.readIDs} {
		if err := check(&q); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (f *targetFilter) checkAttributes(*client.Query) error {
	for _, s := range f.attributes {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" || value == "" {
			return usageErrorHint("for example: --attribute hostname=web-1", "--attribute %q is not KEY=VALUE", s)
		}
		if err := checkWord("--attribute", s); err != nil {
			return err
		}
	}
	return nil
}

func (f *targetFilter) checkWords(*client.Query) error {
	for _, s := range f.usernames {
		if err := checkWord("--username", s); err != nil {
			return err
		}
	}
	for _, s := range f.vnets {
		if err := checkWord("--vnet", s); err != nil {
			return err
		}
	}
	return nil
}

// checkPatterns reads patterns and prefixes as the agent will.
func (f *targetFilter) checkPatterns(*client.Query) error {
	for _, s := range f.hostnames {
		if _, err := targets.ParseGlob(s); err != nil {
			return usageErrorHint("for example: --hostname 'web-*'", "--hostname: %s", err)
		}
	}
	for _, s := range f.ips {
		if _, err := targets.ParsePrefix(s); err != nil {
			return usageErrorHint("for example: --ip 10.0.0.5, or --ip 10.0.0.0/8", "--ip: %s", err)
		}
	}
	return nil
}

func (f *targetFilter) readProtocols(q *client.Query) error {
	for _, s := range f.protocols {
		p, ok := parseProtocol(s)
		if !ok {
			return usageErrorHint("one of: "+strings.Join(protocolNames(), ", "), "--protocol %q is not a protocol", s)
		}
		q.Protocols = append(q.Protocols, p)
	}
	return nil
}

func (f *targetFilter) readPorts(q *client.Query) error {
	for _, s := range f.ports {
		p, err := parsePort("--port", s)
		if err != nil {
			return err
		}
		q.Ports = append(q.Ports, p)
	}
	return nil
}

func (f *targetFilter) readIDs(q *client.Query) error {
	for _, s := range f.ids {
		if !isUUID(s) {
			return usageErrorHint("target IDs stand in: warp-cli target list", "--id %q is not a target ID", s)
		}
		q.IDs = append(q.IDs, strings.ToLower(s))
	}
	return nil
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
