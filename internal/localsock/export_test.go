package localsock

import "net/netip"

// Seams of the tests.
var (
	PipeSDDLForTest = pipeSDDL
	MayTalkForTest  = mayTalk
)

// What a pipe of the service is.
const (
	PipeClientAccess = pipeClientAccess
	ServicePipe      = servicePipe
)

// ThreadForTest is clientThread.
type ThreadForTest interface {
	Lock()
	Unlock()
	Impersonate() error
	Identity() (Caller, error)
	Revert() error
}

type threadForTest struct{ ThreadForTest }

func (t threadForTest) lock()                     { t.Lock() }
func (t threadForTest) unlock()                   { t.Unlock() }
func (t threadForTest) impersonate() error        { return t.Impersonate() }
func (t threadForTest) identity() (Caller, error) { return t.Identity() }
func (t threadForTest) revert() error             { return t.Revert() }

// ClientOfForTest opens clientOf.
func ClientOfForTest(t ThreadForTest) (Caller, error) { return clientOf(threadForTest{t}) }

// GroupForTest is tokenGroup.
type GroupForTest struct {
	Administrators bool
	Attributes     uint32
}

// TokenCallerForTest opens token.caller.
func TokenCallerForTest(sid string, system, elevated bool, groups []GroupForTest) Caller {
	t := token{sid: sid, localSystem: system, elevated: elevated}
	for _, g := range groups {
		t.groups = append(t.groups, tokenGroup{administrators: g.Administrators, attributes: g.Attributes})
	}
	return t.caller()
}

// OwnerInTableForTest opens tcpTableLayout.ownerIn.
func OwnerInTableForTest(v6 bool, table []byte, local, remote netip.AddrPort) (uint32, bool) {
	if v6 {
		return tcpTable6.ownerIn(table, local, remote)
	}
	return tcpTable4.ownerIn(table, local, remote)
}
