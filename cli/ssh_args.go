package cli

import (
	"net"
	"net/url"
	"strings"
)

// The options of OpenSSH's client as its manual page lists them.
const (
	sshFlagsWithValue = "BbcDEeFIiJLlmOoPpQRSWw"
	sshFlags          = "46AaCfGgKkMNnqsTtVvXxYy"
)

// sshLine is a command line of ssh, taken apart.
type sshLine struct {
	options     []string // as given, before and after the destination
	destination string   // as given, without a port
	host        string   // the target's name
	port        uint16   // as far as the command line tells; else 22
	portSet     bool
	vnet        string // our own --vnet
	command     []string
}

// argv puts the line together for ssh. ssh takes the first value of an option:
// the way to the target stands first, what the user may prefer otherwise last.
func (l *sshLine) argv(proxy string, id hostIdentity) []string {
	argv := []string{"ssh", "-o", "ProxyCommand=" + proxy}
	argv = append(argv, l.options...)
	argv = append(argv, id.options()...)
	// A ControlPath of the user's configuration is made of name and port. The same name may be another
	// machine after a change of the virtual network, and a shared connection would lead to the old one.
	argv = append(argv, "-o", "ControlPath=none", "--", l.destination)
	// The "--" before the destination ended ssh's options for good: a second one would be the command's first word.
	return append(argv, l.command...)
}

// parseSSH reads ssh's command line as ssh does: options, the destination, more options, the command.
func parseSSH(args []string) (sshLine, error) {
	l := sshLine{port: 22}
	rest, err := l.parseOptions(args)
	if err != nil {
		return l, err
	}
	if len(rest) == 0 {
		return l, usageErrorHint("see: warp-cli ssh --help", "ssh needs a target: warp-cli ssh [USER@]TARGET")
	}
	if err := l.parseDestination(rest[0]); err != nil {
		return l, err
	}
	l.command, err = l.parseOptions(rest[1:])
	return l, err
}

// parseOptions takes the options at the start of args and returns what follows them.
func (l *sshLine) parseOptions(args []string) (rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		switch {
		case arg == "--":
			return args[1:], nil
		case arg == "--vnet" || strings.HasPrefix(arg, "--vnet="):
			if args, err = l.takeVNET(args); err != nil {
				return nil, err
			}
		case strings.HasPrefix(arg, "--"):
			return nil, usageErrorHint("warp-cli's own options stand before the word ssh: warp-cli "+arg+" ssh ...",
				"ssh has no option %s", arg)
		case len(arg) < 2 || arg[0] != '-':
			return args, nil
		default:
			if args, err = l.takeCluster(args); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

func (l *sshLine) takeVNET(args []string) (rest []string, err error) {
	if v, ok := strings.CutPrefix(args[0], "--vnet="); ok {
		l.vnet = v
		return args[1:], checkWord("--vnet", v)
	}
	if len(args) < 2 {
		return nil, usageError("--vnet needs the name or ID of a virtual network")
	}
	l.vnet = args[1]
	return args[2:], checkWord("--vnet", args[1])
}

// takeCluster takes one argument of short options, with the value of the last one.
func (l *sshLine) takeCluster(args []string) (rest []string, err error) {
	arg := args[0]
	for i := 1; i < len(arg); i++ {
		c := arg[i]
		switch {
		case strings.IndexByte(sshFlags, c) >= 0:
			continue
		case strings.IndexByte(sshFlagsWithValue, c) < 0:
			return nil, usageErrorHint("ssh's options: man ssh", "ssh has no option -%c", c)
		}
		value, n := arg[i+1:], 1
		if value == "" {
			if len(args) < 2 {
				return nil, usageError("ssh's option -%c needs a value", c)
			}
			value, n = args[1], 2
		}
		if err := l.check(c, value); err != nil {
			return nil, err
		}
		l.options = append(l.options, args[:n]...)
		return args[n:], nil
	}
	l.options = append(l.options, arg)
	return args[1:], nil
}

// check refuses options that would take another way to the target, and notes the port.
func (l *sshLine) check(option byte, value string) error {
	key, setting := "", ""
	switch option {
	case 'J':
		key = "proxyjump"
	case 'p':
		key, setting = "port", value
	case 'o':
		key, setting = splitOption(value)
	}
	switch key {
	case "proxyjump", "proxycommand", "proxyusefdpass":
		return usageErrorHint("use ssh itself with: -o ProxyCommand=\"warp-cli nc %h %p\"",
			"warp-cli ssh reaches the target through the agent; -%c %s asks for another way", option, value)
	case "port":
		return l.setPort(setting)
	}
	return nil
}

// setPort notes the port; as in ssh, the first one counts.
func (l *sshLine) setPort(s string) error {
	p, err := parsePort("ssh's port", s)
	if err == nil && !l.portSet {
		l.port, l.portSet = p, true
	}
	return err
}

// splitOption reads "Key=value" or "Key value" as in ssh_config(5); keys have no case.
func splitOption(s string) (key, value string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t=")
	if i < 0 {
		return strings.ToLower(s), ""
	}
	value = strings.TrimLeft(s[i:], " \t")
	value = strings.TrimLeft(strings.TrimPrefix(value, "="), " \t")
	return strings.ToLower(s[:i]), strings.Trim(value, `" `+"\t")
}

// parseDestination reads [user@]host or ssh://[user@]host[:port].
func (l *sshLine) parseDestination(s string) error {
	if strings.HasPrefix(s, "ssh://") {
		return l.parseURL(s)
	}
	l.destination = s
	// As in ssh, the last @ ends the user's name.
	l.host = s[strings.LastIndexByte(s, '@')+1:]
	return l.checkHost(s)
}

func (l *sshLine) parseURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return usageError("%q is not ssh://[USER@]TARGET[:PORT]", s)
	}
	l.host = u.Hostname()
	l.destination = l.host
	if u.User != nil {
		l.destination = u.User.Username() + "@" + l.host
	}
	if p := u.Port(); p != "" {
		if err := l.setPort(p); err != nil {
			return err
		}
		l.options = append(l.options, "-p", p) // behind a -p of the user's, which then stands
	}
	return l.checkHost(s)
}

// checkHost refuses what ssh would take for an option or a shell for more than one word.
func (l *sshLine) checkHost(s string) error {
	if err := checkWord("target", l.host); err != nil {
		return err
	}
	if strings.HasPrefix(l.host, "-") || strings.HasPrefix(s, "-") ||
		strings.ContainsAny(l.host, "'`\"$\\;&<>|(){} \t/") && net.ParseIP(l.host) == nil {
		return usageError("%q is not [USER@]TARGET", s)
	}
	return nil
}
