// Package procname says which program is behind a connection to the agent, for lists that people read. What it says is
// never the ground of a decision: processes come and go.
package procname

import "net/netip"

// Table answers for one list; it looks the system's processes over at most once. Not safe for concurrent use.
type Table struct {
	scanned bool
	sockets map[uint64]int // inode -> process
}

// New returns a table that has looked at nothing yet.
func New() *Table { return &Table{} }

// Of returns the process that is pid, or else the one at the other end of a TCP connection within this machine whose
// end there is client. Zero and "": the system does not say, or not to this account.
func (t *Table) Of(pid int, client netip.AddrPort) (int, string) {
	if pid == 0 && client.IsValid() {
		pid = t.owner(client)
	}
	if pid == 0 {
		return 0, ""
	}
	return pid, program(pid)
}
