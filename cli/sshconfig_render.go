package cli

import (
	"fmt"
	"slices"
	"strings"

	"weft/agent/localapi"
)

// sshFile is the generated file of ssh_config(5), which holds patterns and no target.
type sshFile struct {
	goos          string
	self          string
	socket        string // empty: the default
	profile       string // empty: that of the environment, else the current one, at each connection
	suffix        string // empty: every name of a target
	addresses     bool   // those of targets too, where the gateway speaks SSH
	known, caFile string // as ssh is to read them
	vnets         []string
	authorities   []string
}

const (
	vnetsPrefix = "# networks: "
	// shellBreakers are what could end the quotes around a name, or a command, in the shell that ssh
	// starts: old versions of ssh pass them on (CVE-2023-51385). The pattern list turns them away before the exec.
	unixBreakers    = "'"
	windowsBreakers = "&|<>^()"
)

// render writes the file. Match final comes after all that the user's own configuration says, so that stands above it;
// exec is only asked then, and once.
func (f *sshFile) render() (string, error) {
	verb := []string{"ssh-config", "match"}
	if f.addresses {
		verb = append(verb, "--addresses")
	}
	match, err := f.command(verb...)
	if err != nil {
		return "", err
	}
	// Versions of ssh differ in what a quote and a backslash mean in the argument of exec, so it holds none that matters.
	if strings.ContainsAny(match, `"`) || f.goos != "windows" && strings.ContainsAny(match, `\`) {
		return "", usageErrorHint("use a path without them, for example a symbolic link to warp-cli (Windows: put its folder into PATH)",
			"the path of warp-cli or of the socket holds blanks (Windows), quotes or backslashes, which ssh cannot be told of: %s", match)
	}
	proxy, err := f.command("nc")
	if err != nil {
		return "", err
	}
	host, null := "'%h'", "/dev/null"
	if f.goos == "windows" {
		host, null = "%h", "nul"
	}
	var b strings.Builder
	b.WriteString("# Written by warp-cli ssh-config; \"warp-cli ssh-config --uninstall\" removes it. Changes are lost.\n")
	b.WriteString(vnetsPrefix + strings.Join(plainVNETs(f.vnets), " ") + "\n")
	b.WriteString("# Your own configuration stands above this, wherever it is: these lines count only in the final pass.\n")
	block := func(flag, alias, check string) {
		fmt.Fprintf(&b, "Match final host \"%s\" exec \"%s%s -- %s %%p 2>%s\"\n", f.patterns(), match, flag, host, null)
		fmt.Fprintf(&b, "  ProxyCommand %s -- %s %%p\n", proxy, host)
		b.WriteString("  ProxyUseFdpass no\n  CheckHostIP no\n" + alias)
		fmt.Fprintf(&b, "  UserKnownHostsFile %s %s\n  GlobalKnownHostsFile none\n", f.known, f.caFile)
		fmt.Fprintf(&b, "  StrictHostKeyChecking %s\n  VerifyHostKeyDNS no\n", check)
	}
	if authorityLines(f.authorities) != "" {
		b.WriteString("# Where the gateway speaks SSH, its certificate says who it is, whatever the target's name.\n")
		block(" --terminated", "  HostKeyAlias "+localapi.SSHGatewayAlias+"\n", "ask")
		b.WriteString("# Elsewhere the target's own key counts, by the target's name.\n")
		block("", "", "ask")
	} else {
		b.WriteString("# Host keys are kept apart from those of hosts that you reach without Weft. The way to the gateway is\n" +
			"# authenticated by WireGuard, which is why a first key is taken without a question.\n")
		block("", "", "accept-new")
	}
	// Nothing after the Include may become part of the block.
	b.WriteString("Match all\n")
	return b.String(), nil
}

// command is one of our own commands as a shell reads it, with the per cent signs that ssh would expand doubled.
func (f *sshFile) command(verb ...string) (string, error) {
	words := []string{f.self}
	if f.socket != "" {
		words = append(words, "--socket", f.socket)
	}
	if f.profile != "" {
		words = append(words, "--profile", f.profile)
	}
	words = append(words, verb...)
	if f.suffix != "" {
		words = append(words, "--suffix", f.suffix)
	}
	for i, w := range words {
		q, err := quoteFor(f.goos, w)
		if err != nil {
			return "", err
		}
		if f.goos == "windows" && strings.Trim(w, plainChars+`\`) == "" {
			q = w // its shell takes a path as it is
		}
		words[i] = strings.ReplaceAll(q, "%", "%%")
	}
	return strings.Join(words, " "), nil
}

// patterns are the names for which the agent is asked at all.
func (f *sshFile) patterns() string {
	p := "*"
	if f.suffix != "" {
		p = "*." + f.suffix
	}
	breakers := unixBreakers
	if f.goos == "windows" {
		breakers = windowsBreakers
	}
	for _, c := range breakers {
		p += ",!*" + string(c) + "*"
	}
	return p
}

// plainVNETs are the networks that a name on ssh's command line can hold.
func plainVNETs(vnets []string) []string {
	vnets = slices.DeleteFunc(slices.Clone(vnets), func(v string) bool { return !isSSHName(v) })
	slices.Sort(vnets)
	return slices.Compact(vnets)
}

// authorityLines are the @cert-authority lines of known_hosts(5), which sshd(8) describes. A key that is not one
// plain line is left out.
func authorityLines(keys []string) string {
	var b strings.Builder
	for _, k := range keys {
		k = strings.TrimSpace(k)
		words := strings.Fields(k)
		if len(words) < 2 || strings.ContainsAny(k, "\r\n\x00") || !isKeyType(words[0]) {
			continue
		}
		fmt.Fprintf(&b, "@cert-authority * %s %s weft\n", words[0], words[1])
	}
	return b.String()
}

func isKeyType(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-sha2-") || strings.HasPrefix(s, "sk-")
}
