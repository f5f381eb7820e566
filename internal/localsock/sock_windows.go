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
	id, err := impersonated(windows.Handle(h.Fd()))
	if err != nil {
		return Caller{}, errors.Join(ErrUnknownPeer, err)
	}
	s.id, s.known = id, true
	return id, nil
}

func identify(net.Conn) (peer, error) { return peer{once: &pipeIdentity{}}, nil }

var procImpersonateNamedPipeClient = windows.NewLazySystemDLL("advapi32.dll").NewProc("ImpersonateNamedPipeClient")

// impersonated reads the client's token. Impersonation belongs to the OS thread: it
// happens in a goroutine of its own, whose thread is thrown away when it cannot be undone.
func impersonated(pipe windows.Handle) (Caller, error) {
	type answer struct {
		id  Caller
		err error
	}
	done := make(chan answer, 1)
	go func() {
		runtime.LockOSThread()
		var a answer
		defer func() { done <- a }()
		if r, _, err := procImpersonateNamedPipeClient.Call(uintptr(pipe)); r == 0 {
			runtime.UnlockOSThread()
			a.err = fmt.Errorf("impersonate pipe client: %w", err)
			return
		}
		a.id, a.err = threadIdentity()
		if err := windows.RevertToSelf(); err != nil {
			a = answer{err: fmt.Errorf("revert to self: %w", err)}
			return // still locked: the thread ends with this goroutine
		}
		runtime.UnlockOSThread()
	}()
	a := <-done
	return a.id, a.err
}

func threadIdentity() (Caller, error) {
	var t windows.Token
	if err := windows.OpenThreadToken(windows.CurrentThread(), windows.TOKEN_QUERY, true, &t); err != nil {
		return Caller{}, fmt.Errorf("open thread token: %w", err)
	}
	defer func() { _ = t.Close() }() // a read-only handle
	return tokenIdentity(t)
}

func tokenIdentity(t windows.Token) (Caller, error) {
	u, err := t.GetTokenUser()
	if err != nil {
		return Caller{}, fmt.Errorf("read token user: %w", err)
	}
	c := Caller{SID: u.User.Sid.String()}
	// An elevated token is full only when its user is an administrator; LocalSystem always is.
	c.Privileged = u.User.Sid.IsWellKnown(windows.WinLocalSystemSid) || (t.IsElevated() && administrator(t))
	return c, nil
}

func administrator(t windows.Token) bool {
	groups, err := t.GetTokenGroups()
	if err != nil {
		return false
	}
	for _, g := range groups.AllGroups() {
		if g.Attributes&windows.SE_GROUP_ENABLED != 0 && g.Sid.IsWellKnown(windows.WinBuiltinAdministratorsSid) {
			return true
		}
	}
	return false
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
	if !p.once.id.Privileged && !me.Privileged && !p.once.id.SameUser(me) {
		return peer{}, fmt.Errorf("the pipe belongs to %s: %w", p.once.id, ErrUnsafe)
	}
	return p, nil
}

func listen(_ context.Context, path string) (net.Listener, error) {
	me, err := self()
	if err != nil {
		return nil, err
	}
	// Owner first, so that clients can check it; remote clients are refused by go-winio.
	sddl := "O:" + me.SID + "D:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;" + me.SID + ")"
	if me.Privileged {
		sddl += "(A;;GA;;;BA)(A;;GRGW;;;AU)"
	}
	ln, err := winio.ListenPipe(path, &winio.PipeConfig{
		SecurityDescriptor: sddl,
		MessageMode:        true, // gives CloseWrite
	})
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) && exists(path) {
		return nil, fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	return ln, err
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	// Identification lets the server learn who we are and not act as us.
	return winio.DialPipeAccessImpLevel(ctx, path, windows.GENERIC_READ|windows.GENERIC_WRITE, winio.PipeImpLevelIdentification)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func servicePath() string { return `\\.\pipe\ProtectedPrefix\Administrators\weft\warp` }

func userPath(me Caller) string { return `\\.\pipe\weft-` + me.SID }
