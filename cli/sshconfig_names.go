package cli

import (
	"net/netip"
	"strings"
)

// codeHosts are names of public services that people reach by SSH. A target of such a name, by mistake or
// by malice, must not get their pushes: not by the name itself, nor by one within it.
var codeHosts = []string{
	"github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "sr.ht", "gitea.com", "gitee.com", "dev.azure.com",
	"visualstudio.com", "amazonaws.com", "sourceforge.net", "savannah.gnu.org", "salsa.debian.org", "launchpad.net",
	"kernel.org", "archlinux.org", "heroku.com", "huggingface.co", "pagure.io", "framagit.org", "notabug.org",
}

// localNames end names that never leave this machine or its link (RFC 6761, RFC 6762, RFC 7686).
var localNames = []string{"localhost", "local", "invalid", "onion", "arpa"}

// neverTaken reports whether name may not be sent to the agent, whatever the target list holds.
func neverTaken(name string) bool {
	if !isSSHName(name) || looksNumeric(name) {
		return true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true // an address may be one of the user's own network
	}
	folded := strings.ToLower(strings.TrimRight(name, "."))
	for _, list := range [][]string{localNames, codeHosts} {
		for _, s := range list {
			if folded == s || strings.HasSuffix(folded, "."+s) {
				return true
			}
		}
	}
	return false
}

// isReachAddress reports whether name is an address that a target may have. It must be written as
// addresses are: what C libraries take for one besides (127.1) goes its usual way.
func isReachAddress(name string) bool {
	a, err := netip.ParseAddr(name)
	return err == nil && a.Zone() == "" && !a.Is4In6() && (a.IsGlobalUnicast() || a.IsPrivate())
}

// isSSHName reports whether s holds nothing but what hostnames and plain names of networks are made of,
// so that neither a shell nor ssh can read anything else in it.
func isSSHName(s string) bool {
	if s == "" || len(s) > 512 || s[0] == '-' || s[0] == '.' {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// looksNumeric finds the forms of an IPv4 address that the C library knows beside the usual one: 127.1, 0x7f000001.
func looksNumeric(s string) bool {
	for part := range strings.SplitSeq(strings.ToLower(s), ".") {
		digits := "0123456789"
		if hex, ok := strings.CutPrefix(part, "0x"); ok {
			part, digits = hex, "0123456789abcdef"
		}
		if strings.Trim(part, digits) != "" {
			return false
		}
	}
	return true
}

// cutNameSuffix takes the suffix off a name that was typed with it; without a suffix every name is meant.
func cutNameSuffix(name, suffix string) (string, bool) {
	if suffix == "" {
		return name, true
	}
	at := len(name) - len(suffix) - 1
	if at < 1 || name[at] != '.' || !strings.EqualFold(name[at+1:], suffix) {
		return "", false
	}
	return name[:at], true
}

// inVNET reports whether name is HOSTNAME.VNET for one of the networks.
func inVNET(name string, vnets []string) bool {
	for _, v := range vnets {
		if host, ok := cutNameSuffix(name, v); ok && v != "" && host != "" {
			return true
		}
	}
	return false
}
