package localsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

// peer is resolved on demand: ImpersonateNamedPipeClient (Microsoft Learn) fails
// until something was read from the pipe.
type peer struct{ once *pipeIdentity }

type pipeIdentity struct {
	mu sync.Mutex
	// guarded by mu
	known  bool
	id     Caller
	server bool
}

func (p peer) caller(nc net.Conn) (Caller, error) {
	s := p.once
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known {
		return s.id, nil
	}
	if s.server {
		return Caller{}, ErrUnknownPeer
	}
	h, ok := nc.(interface{ Fd() uintptr })
	if !ok {
		return Caller{}, ErrUnknownPeer
	}
	id, err := clientOf(pipeThread{windows.Handle(h.Fd())})
	if err != nil {
		return Caller{}, errors.Join(ErrUnknownPeer, err)
	}
	s.id, s.known = id, true
	return id, nil
}

func identify(net.Conn) (peer, error) { return peer{once: &pipeIdentity{}}, nil }

var procImpersonateNamedPipeClient = windows.NewLazySystemDLL("advapi32.dll").NewProc("ImpersonateNamedPipeClient")

// pipeThread is the client of a pipe, seen from whatever thread runs.
type pipeThread struct{ pipe windows.Handle }

func (pipeThread) lock()   { runtime.LockOSThread() }
func (pipeThread) unlock() { runtime.UnlockOSThread() }

func (t pipeThread) impersonate() error {
	if r, _, err := procImpersonateNamedPipeClient.Call(uintptr(t.pipe)); r == 0 {
		return err
	}
	return nil
}

func (pipeThread) revert() error { return windows.RevertToSelf() }

func (pipeThread) identity() (Caller, error) {
	var t windows.Token
	if err := windows.OpenThreadToken(windows.CurrentThread(), windows.TOKEN_QUERY, true, &t); err != nil {
		return Caller{}, fmt.Errorf("open thread token: %w", err)
	}
	defer func() { _ = t.Close() }() // a read-only handle
	return tokenIdentity(t)
}

func tokenIdentity(wt windows.Token) (Caller, error) {
	u, err := wt.GetTokenUser()
	if err != nil {
		return Caller{}, fmt.Errorf("read token user: %w", err)
	}
	groups, err := wt.GetTokenGroups()
	if err != nil {
		return Caller{}, fmt.Errorf("read token groups: %w", err)
	}
	t := token{sid: u.User.Sid.String(), localSystem: u.User.Sid.IsWellKnown(windows.WinLocalSystemSid), elevated: wt.IsElevated()}
	for _, g := range groups.AllGroups() {
		t.groups = append(t.groups, tokenGroup{
			administrators: g.Sid.IsWellKnown(windows.WinBuiltinAdministratorsSid), attributes: g.Attributes,
		})
	}
	return t.caller(), nil
}

func self() (Caller, error) {
	c, err := tokenIdentity(windows.GetCurrentProcessToken())
	if err != nil {
		return Caller{}, err
	}
	c.PID = os.Getpid()
	return c, nil
}

// checkServer compares the owner of the pipe: names outside the protected prefix can be taken by anybody first.
func checkServer(nc net.Conn) (peer, error) {
	h, ok := nc.(interface{ Fd() uintptr })
	if !ok {
		return peer{}, ErrUnknownPeer
	}
	sd, err := windows.GetSecurityInfo(windows.Handle(h.Fd()), windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return peer{}, fmt.Errorf("read the owner of the pipe: %w", err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return peer{}, fmt.Errorf("read the owner of the pipe: %w", err)
	}
	me, err := self()
	if err != nil {
		return peer{}, err
	}
	p := peer{once: &pipeIdentity{server: true, known: true, id: Caller{SID: owner.String()}}}
	if owner.IsWellKnown(windows.WinLocalSystemSid) || owner.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
		p.once.id.Privileged = true
	}
	if !mayTalk(p.once.id, me) {
		return peer{}, fmt.Errorf("the pipe belongs to %s: %w", p.once.id, ErrUnsafe)
	}
	return p, nil
}

func listen(_ context.Context, path string) (net.Listener, error) {
	me, err := self()
	if err != nil {
		return nil, err
	}
	// go-winio makes the first instance with FILE_CREATE, which is FILE_FLAG_FIRST_PIPE_INSTANCE: a name that somebody
	// has taken already fails. Remote clients are rejected by the pipe's type as well.
	ln, err := winio.ListenPipe(path, &winio.PipeConfig{
		SecurityDescriptor: pipeSDDL(me),
		MessageMode:        true, // gives CloseWrite
	})
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) && exists(path) {
		return nil, fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	return ln, err
}

// checkPath has nothing to look at: pipes have no directories, and their owner is known once one is open.
func checkPath(string) error { return nil }

func dial(ctx context.Context, path string) (net.Conn, error) {
	// Identification lets the server learn who we are and not act as us.
	return winio.DialPipeAccessImpLevel(ctx, path, pipeClientAccess, winio.PipeImpLevelIdentification)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func servicePath() string { return servicePipe }

func userPath(me Caller) string { return `\\.\pipe\weft-` + me.SID }
