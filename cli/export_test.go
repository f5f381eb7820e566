package cli

// Seams for tests.
var (
	ParseSSH     = func(args []string) (SSHLine, error) { l, err := parseSSH(args); return SSHLine{l}, err }
	ProxyCommand = proxyCommand
	QuoteFor     = quoteFor
	HostKeyAlias = targetAlias
	LookupCode   = lookupCode
)

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
