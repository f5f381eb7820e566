package cli

import (
	"maps"
	"slices"

	"github.com/spf13/pflag"
)

// Seams for tests.
var (
	ParseSSH     = func(args []string) (SSHLine, error) { l, err := parseSSH(args); return SSHLine{l}, err }
	ProxyCommand = proxyCommand
	QuoteFor     = quoteFor
	HostKeyAlias = targetAlias
	LookupCode   = lookupCode
)

// OldNames are the names that only scripts know: old ones, and those of what is not offered.
func OldNames() []string {
	return slices.Concat(slices.Collect(maps.Keys(oldNames)), slices.Collect(maps.Keys(notOffered)))
}

// FirstWord finds the command in a line that may have the flags of every command before it.
func FirstWord(args ...string) (word string, plain bool) {
	return firstWord(args, tree().PersistentFlags())
}

// TopLevel lists the commands and nouns of the first level that the help shows, with the ID of their group.
func TopLevel() map[string]string {
	of := map[string]string{}
	for _, c := range tree().Commands() {
		if c.IsAvailableCommand() {
			of[c.Name()] = c.GroupID
		}
	}
	return of
}

// GlobalFlags are the flags of every command, and whether their value is a word of its own.
func GlobalFlags() map[string]bool {
	of := map[string]bool{}
	tree().PersistentFlags().VisitAll(func(f *pflag.Flag) { of[f.Name] = f.Value.Type() == "string" })
	return of
}

// SSHLine opens sshLine.
type SSHLine struct{ l sshLine }

// Host returns the target's name.
func (s SSHLine) Host() string { return s.l.host }

// Port returns the port.
func (s SSHLine) Port() uint16 { return s.l.port }

// VNET returns --vnet.
func (s SSHLine) VNET() string { return s.l.vnet }

// Argv puts the line together.
func (s SSHLine) Argv(proxy, alias string) []string {
	return s.l.argv(proxy, hostIdentity{alias: alias})
}

// ExitRows returns the exit codes and, in the same order, their error codes.
func ExitRows() (codes []int, reasons [][]string) {
	for _, e := range exitTable {
		var rs []string
		for _, r := range e.reasons {
			rs = append(rs, r.code)
		}
		codes, reasons = append(codes, e.code), append(reasons, rs)
	}
	return codes, reasons
}
