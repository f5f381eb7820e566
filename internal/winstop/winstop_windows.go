// Package winstop lets a program of the same user end a background process of Windows
// cleanly: a process without a console and without the service control manager hears
// neither signals nor stop requests, so it waits for a named event. The event lives in
// the session's own namespace, and its access control list names this user only.
package winstop

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/windows"
)

// eventName belongs to one user in one session.
func eventName() (name, sid string, err error) {
	u, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return "", "", fmt.Errorf("read own account: %w", err)
	}
	sid = u.User.Sid.String()
	return `Local\weft-warp-svc-stop-` + sid, sid, nil
}

// Context returns a context that ends when Request is called, or when cancel or its parent does.
func Context(parent context.Context) (ctx context.Context, cancel func(), err error) {
	name, sid, err := eventName()
	if err != nil {
		return nil, nil, err
	}
	sd, err := windows.SecurityDescriptorFromString("D:P(A;;GA;;;" + sid + ")")
	if err != nil {
		return nil, nil, fmt.Errorf("describe who may stop the agent: %w", err)
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = 24 // sizeof(SECURITY_ATTRIBUTES) on the 64-bit systems that are built for
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, nil, fmt.Errorf("name the stop event: %w", err)
	}
	// Manual reset, not signalled. One that is there already belongs to another agent of this user, which then stops with this one.
	asked, err := windows.CreateEvent(sa, 1, 0, p)
	if err != nil && !errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return nil, nil, fmt.Errorf("make the stop event: %w", err)
	}
	over, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make an event: %w", err), windows.CloseHandle(asked))
	}
	ctx, stop := context.WithCancel(parent)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = windows.WaitForMultipleObjects([]windows.Handle{asked, over}, false, windows.INFINITE) // whatever ends the wait ends the context
		stop()
	})
	return ctx, sync.OnceFunc(func() {
		_ = windows.SetEvent(over) // our own handle
		wg.Wait()
		stop()
		_ = windows.CloseHandle(over)
		_ = windows.CloseHandle(asked)
	}), nil
}

// Request asks the agent of this user to end; false means that none waits for it.
func Request() (bool, error) {
	name, _, err := eventName()
	if err != nil {
		return false, err
	}
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return false, fmt.Errorf("name the stop event: %w", err)
	}
	h, err := windows.OpenEvent(windows.EVENT_MODIFY_STATE, false, p)
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the stop event: %w", err)
	}
	return true, errors.Join(windows.SetEvent(h), windows.CloseHandle(h))
}
