package localsock

import (
	"errors"
	"fmt"
)

// What of the Windows side can be stated without Windows is here, so that its tests run on every system.

// clientThread is an OS thread that can take on the identity of a pipe's client (Microsoft Learn:
// ImpersonateNamedPipeClient, RevertToSelf). Impersonation belongs to the thread, not to the goroutine.
type clientThread interface {
	lock() // runtime.LockOSThread
	unlock()
	impersonate() error
	identity() (Caller, error)
	revert() error
}

// errNotReverted means that a thread could not be made this process's own again.
var errNotReverted = errors.New("the thread could not be turned back")

// clientOf learns who the client is, in a goroutine of its own. The thread is given back only after it was turned back
// for sure: when that fails, or when the question panics, the goroutine ends with the thread locked to it, and the
// runtime ends the thread with it (runtime.LockOSThread).
func clientOf(t clientThread) (Caller, error) {
	type answer struct {
		id  Caller
		err error
	}
	done := make(chan answer, 1)
	go func() {
		a := answer{err: errNotReverted}
		defer func() {
			if p := recover(); p != nil {
				a = answer{err: fmt.Errorf("%w: %v", errNotReverted, p)}
			}
			done <- a
		}()
		t.lock()
		if err := t.impersonate(); err != nil {
			a.err = fmt.Errorf("impersonate pipe client: %w", err)
			t.unlock() // nothing was taken on
			return
		}
		id, err := t.identity()
		if rerr := t.revert(); rerr != nil {
			a.err = fmt.Errorf("%w: %w", errNotReverted, rerr)
			return // locked
		}
		t.unlock()
		a = answer{id: id, err: err}
		if err != nil {
			a.id = Caller{}
		}
	}()
	a := <-done
	return a.id, a.err
}

// tokenGroup is a group of a token with its attributes (Microsoft Learn: TOKEN_GROUPS).
type tokenGroup struct {
	administrators bool // BUILTIN\Administrators
	attributes     uint32
}

const (
	groupEnabled    = 0x4  // SE_GROUP_ENABLED
	groupForDenials = 0x10 // SE_GROUP_USE_FOR_DENY_ONLY
)

// token is what decides of a Windows token.
type token struct {
	sid         string
	localSystem bool
	elevated    bool // TokenElevation
	groups      []tokenGroup
}

// caller is the account behind a token. A filtered and a full token of one administrator have the same SID and both
// list the Administrators group; the filtered one has it for denials only, and is not elevated. Membership therefore
// says nothing: the token must be elevated and the group enabled in it.
func (t token) caller() Caller {
	c := Caller{SID: t.sid, Privileged: t.localSystem}
	for _, g := range t.groups {
		if g.administrators && g.attributes&groupEnabled != 0 && g.attributes&groupForDenials == 0 {
			c.Privileged = c.Privileged || t.elevated
		}
	}
	return c
}

// pipeClientAccess is what a client may and must ask for at a pipe: FILE_GENERIC_READ and FILE_GENERIC_WRITE without
// FILE_CREATE_PIPE_INSTANCE (0x4, the bit of FILE_APPEND_DATA). With GENERIC_WRITE every client could add an instance
// of its own to the service's pipe and answer other clients there (Microsoft Learn: Named Pipe Security and Access
// Rights).
const pipeClientAccess = 0x0012019b

// localSystemSID is NT AUTHORITY\SYSTEM.
const localSystemSID = "S-1-5-18"

// pipeSDDL is the security descriptor of the pipe of a server. The owner stands first, so that clients can check it:
// SYSTEM or the Administrators for a privileged server, which both only a privileged process can set; itself else. The
// network is denied. A privileged server lets every authenticated user of the machine ask, which then decides by who
// they are; that of a user lets in the user, SYSTEM and elevated administrators (in a filtered token the group is for
// denials only).
func pipeSDDL(me Caller) string {
	own := "D:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;" + me.SID + ")"
	switch {
	case !me.Privileged:
		return "O:" + me.SID + own + fmt.Sprintf("(A;;0x%08x;;;BA)", pipeClientAccess)
	case me.SID == localSystemSID:
		return "O:SY" + own + fmt.Sprintf("(A;;GA;;;BA)(A;;0x%08x;;;AU)", pipeClientAccess)
	default:
		return "O:BA" + own + fmt.Sprintf("(A;;GA;;;BA)(A;;0x%08x;;;AU)", pipeClientAccess)
	}
}

// mayTalk decides whether a client may talk to the server behind a pipe, or socket, of that owner.
// Names outside the protected prefix can be taken by anybody first.
func mayTalk(owner, me Caller) bool {
	return owner.Privileged || me.Privileged || owner.SameUser(me)
}

// servicePipe is the name of the service's pipe. Only administrators can make one under this prefix.
const servicePipe = `\\.\pipe\ProtectedPrefix\Administrators\weft\warp`
