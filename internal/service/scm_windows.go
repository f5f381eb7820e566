package service

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// scm is the real service control manager. Queries ask for no more access than every user has.
type scm struct{ name string }

var _ SCM = scm{}

// scmError translates what Windows says.
func scmError(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST):
		return fmt.Errorf("%s: %w", doing, ErrNotInstalled)
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return fmt.Errorf("%s: %w: %w", doing, ErrPermission, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// with opens the service with the given access and calls do.
func (s scm) with(access uint32, doing string, do func(*mgr.Service) error) (err error) {
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return scmError(doing, err)
	}
	defer func() { err = errors.Join(err, windows.CloseServiceHandle(m)) }()
	name, err := windows.UTF16PtrFromString(s.name)
	if err != nil {
		return scmError(doing, err)
	}
	h, err := windows.OpenService(m, name, access)
	if err != nil {
		return scmError(doing, err)
	}
	service := &mgr.Service{Name: s.name, Handle: h}
	defer func() { err = errors.Join(err, service.Close()) }()
	return scmError(doing, do(service))
}

// Set implements SCM.
func (s scm) Set(c SCMConfig) (changed bool, err error) {
	err = s.with(windows.SERVICE_ALL_ACCESS, "change the service", func(service *mgr.Service) error {
		changed, err = s.update(service, c)
		return err
	})
	if !errors.Is(err, ErrNotInstalled) {
		return changed, err
	}
	m, err := mgr.Connect()
	if err != nil {
		return false, scmError("open the service control manager", err)
	}
	defer func() { err = errors.Join(err, m.Disconnect()) }()
	name, err := windows.UTF16PtrFromString(s.name)
	if err != nil {
		return false, err
	}
	// mgr.CreateService would quote the command line again.
	line, err := windows.UTF16PtrFromString(c.CommandLine)
	if err != nil {
		return false, err
	}
	display, err := windows.UTF16PtrFromString(c.DisplayName)
	if err != nil {
		return false, err
	}
	h, err := windows.CreateService(m.Handle, name, display, windows.SERVICE_ALL_ACCESS, windows.SERVICE_WIN32_OWN_PROCESS,
		windows.SERVICE_AUTO_START, windows.SERVICE_ERROR_NORMAL, line, nil, nil, nil, nil, nil)
	if err != nil {
		return false, scmError("create the service", err)
	}
	service := &mgr.Service{Name: s.name, Handle: h}
	defer func() { err = errors.Join(err, service.Close()) }()
	if err := s.settings(service, c); err != nil {
		return true, errors.Join(scmError("set up the service", err), service.Delete())
	}
	return true, nil
}

// update makes an existing service be as c says.
func (s scm) update(service *mgr.Service, c SCMConfig) (changed bool, err error) {
	now, err := readConfig(service)
	if err != nil {
		return false, err
	}
	actions, err := service.RecoveryActions()
	if errors.Is(err, windows.ERROR_INVALID_LEVEL) { // Wine takes them, and cannot be asked
		actions, err = recoveryActions(c), nil
	}
	if err != nil {
		return false, err
	}
	if now.commandLine == c.CommandLine && now.displayName == c.DisplayName && now.startType == windows.SERVICE_AUTO_START &&
		slices.Equal(actions, recoveryActions(c)) {
		return false, nil
	}
	line, err := windows.UTF16PtrFromString(c.CommandLine)
	if err != nil {
		return false, err
	}
	display, err := windows.UTF16PtrFromString(c.DisplayName)
	if err != nil {
		return false, err
	}
	if err := windows.ChangeServiceConfig(service.Handle, windows.SERVICE_NO_CHANGE, windows.SERVICE_AUTO_START, windows.SERVICE_NO_CHANGE,
		line, nil, nil, nil, nil, nil, display); err != nil {
		return false, err
	}
	return true, s.settings(service, c)
}

// basics are what every service has.
type basics struct {
	startType                uint32
	commandLine, displayName string
}

// readConfig asks for no more than that: mgr.Service.Config asks for settings that Wine does not know.
func readConfig(service *mgr.Service) (basics, error) {
	for n := uint32(1024); ; {
		buf := make([]byte, n)
		p := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buf[0]))
		err := windows.QueryServiceConfig(service.Handle, p, n, &n)
		if err == nil {
			return basics{p.StartType, windows.UTF16PtrToString(p.BinaryPathName), windows.UTF16PtrToString(p.DisplayName)}, nil
		}
		if !errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) || n <= uint32(len(buf)) {
			return basics{}, err
		}
	}
}

func recoveryActions(c SCMConfig) []mgr.RecoveryAction {
	var all []mgr.RecoveryAction
	for _, d := range c.RestartDelays {
		all = append(all, mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: d})
	}
	return all
}

// settings are what CreateService does not take.
func (s scm) settings(service *mgr.Service, c SCMConfig) error {
	if err := service.SetRecoveryActions(recoveryActions(c), uint32(c.ResetAfter/time.Second)); err != nil {
		return fmt.Errorf("set recovery actions: %w", err)
	}
	// A service that reports a failure and ends is a failure too. Wine does not know this one and the next two.
	err := optional(service.SetRecoveryActionsOnNonCrashFailures(true))
	if err != nil {
		return fmt.Errorf("set recovery for reported failures: %w", err)
	}
	delayed := windows.SERVICE_DELAYED_AUTO_START_INFO{IsDelayedAutoStartUp: 1}
	if err := optional(change(service, windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, unsafe.Pointer(&delayed))); err != nil {
		return fmt.Errorf("delay the start: %w", err)
	}
	if err := optional(requirePrivileges(service, c.Privileges)); err != nil {
		return fmt.Errorf("restrict privileges: %w", err)
	}
	text, err := windows.UTF16PtrFromString(c.Description)
	if err != nil {
		return err
	}
	description := windows.SERVICE_DESCRIPTION{Description: text}
	return change(service, windows.SERVICE_CONFIG_DESCRIPTION, unsafe.Pointer(&description))
}

func change(service *mgr.Service, level uint32, info unsafe.Pointer) error {
	return windows.ChangeServiceConfig2(service.Handle, level, (*byte)(info))
}

// optional forgives a setting that this system does not know.
func optional(err error) error {
	if errors.Is(err, windows.ERROR_INVALID_LEVEL) || errors.Is(err, windows.ERROR_CALL_NOT_IMPLEMENTED) {
		return nil
	}
	return err
}

// requirePrivileges leaves the service these privileges only: SERVICE_REQUIRED_PRIVILEGES_INFO (Microsoft Learn), a list of
// strings that ends with an empty one.
func requirePrivileges(service *mgr.Service, names []string) error {
	var list []uint16
	for _, n := range names {
		list = append(list, append(utf16.Encode([]rune(n)), 0)...)
	}
	list = append(list, 0)
	info := struct{ names *uint16 }{&list[0]}
	return change(service, windows.SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO, unsafe.Pointer(&info))
}

// Delete implements SCM.
func (s scm) Delete() error {
	return s.with(windows.DELETE, "delete the service", (*mgr.Service).Delete)
}

// Start implements SCM.
func (s scm) Start() error {
	return s.with(windows.SERVICE_START, "start the service", func(service *mgr.Service) error { return service.Start() })
}

// Stop implements SCM.
func (s scm) Stop() error {
	return s.with(windows.SERVICE_STOP, "stop the service", func(service *mgr.Service) error {
		_, err := service.Control(svc.Stop)
		return err
	})
}

// Query implements SCM.
func (s scm) Query() (st SCMState, err error) {
	err = s.with(windows.SERVICE_QUERY_STATUS|windows.SERVICE_QUERY_CONFIG, "query the service", func(service *mgr.Service) error {
		q, err := service.Query()
		if err != nil {
			return err
		}
		c, err := readConfig(service)
		if err != nil {
			return err
		}
		st = SCMState{
			State: scmState(q), PID: int(q.ProcessId), Automatic: c.startType == windows.SERVICE_AUTO_START,
			CommandLine: c.commandLine, ExitCode: exitOf(q),
		}
		return nil
	})
	return st, err
}

func exitOf(q svc.Status) uint32 {
	if q.Win32ExitCode == uint32(windows.ERROR_SERVICE_SPECIFIC_ERROR) {
		return q.ServiceSpecificExitCode
	}
	return q.Win32ExitCode
}

func scmState(q svc.Status) State {
	switch q.State {
	case svc.Running:
		return Running
	case svc.StartPending, svc.ContinuePending:
		return Starting
	case svc.StopPending, svc.PausePending:
		return Stopping
	default:
		if exitOf(q) != 0 && exitOf(q) != uint32(windows.ERROR_SERVICE_NEVER_STARTED) {
			return Failed
		}
		return Stopped
	}
}
