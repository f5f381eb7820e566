package service

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"weft/internal/winstop"
)

const runKeyName = `Software\Microsoft\Windows\CurrentVersion\Run`

// registryRun is the real Run key of this user, and the real processes.
type registryRun struct{}

var _ RunKey = registryRun{}

// Get implements RunKey.
func (registryRun) Get() (line string, err error) {
	k, err := registry.OpenKey(registry.CURRENT_USER, runKeyName, registry.QUERY_VALUE)
	if errors.Is(err, registry.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("open the Run key: %w", err)
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	line, _, err = k.GetStringValue(Name)
	if errors.Is(err, registry.ErrNotExist) {
		return "", nil
	}
	return line, err
}

// Set implements RunKey.
func (registryRun) Set(line string) (err error) {
	k, _, err := registry.CreateKey(registry.CURRENT_USER, runKeyName, registry.SET_VALUE)
	if err != nil {
		return fmt.Errorf("open the Run key: %w", err)
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	return k.SetStringValue(Name, line)
}

// Delete implements RunKey.
func (registryRun) Delete() (err error) {
	k, err := registry.OpenKey(registry.CURRENT_USER, runKeyName, registry.SET_VALUE)
	if err != nil {
		return fmt.Errorf("open the Run key: %w", err)
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if err := k.DeleteValue(Name); err != nil && !errors.Is(err, registry.ErrNotExist) {
		return fmt.Errorf("delete the Run key's value: %w", err)
	}
	return nil
}

// Find implements RunKey. A process of another user cannot be opened, or has another image, and is passed over.
func (registryRun) Find(program string) (pid int, since time.Time, err error) {
	snap, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return 0, since, fmt.Errorf("list processes: %w", err)
	}
	defer func() { err = errors.Join(err, windows.CloseHandle(snap)) }()
	e := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(snap, &e); err == nil; err = windows.Process32Next(snap, &e) {
		if !strings.EqualFold(windows.UTF16ToString(e.ExeFile[:]), program[strings.LastIndexAny(program, `\/`)+1:]) {
			continue
		}
		if at, ok := runs(e.ProcessID, program); ok {
			return int(e.ProcessID), at, nil
		}
	}
	if errors.Is(err, windows.ERROR_NO_MORE_FILES) {
		err = nil
	}
	return 0, since, err
}

// runs reports whether the process is program, run by this user, and since when.
func runs(pid uint32, program string) (since time.Time, ok bool) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return since, false
	}
	defer func() { _ = windows.CloseHandle(h) }() // opened to look
	buf := make([]uint16, 32<<10)
	n := uint32(len(buf))
	if windows.QueryFullProcessImageName(h, 0, &buf[0], &n) != nil || !strings.EqualFold(windows.UTF16ToString(buf[:n]), program) {
		return since, false
	}
	var t windows.Token
	if windows.OpenProcessToken(h, windows.TOKEN_QUERY, &t) != nil {
		return since, false
	}
	defer func() { _ = t.Close() }() // opened to look
	theirs, err := t.GetTokenUser()
	if err != nil {
		return since, false
	}
	ours, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil || !theirs.User.Sid.Equals(ours.User.Sid) {
		return since, false
	}
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(h, &created, &exited, &kernel, &user) == nil {
		since = time.Unix(0, created.Nanoseconds()).UTC()
	}
	return since, true
}

// Start implements RunKey.
func (registryRun) Start(line string) error {
	p, err := windows.UTF16PtrFromString(line)
	if err != nil {
		return err
	}
	si := windows.StartupInfo{}
	si.Cb = uint32(unsafe.Sizeof(si))
	var pi windows.ProcessInformation
	const flags = windows.CREATE_NO_WINDOW | windows.CREATE_NEW_PROCESS_GROUP
	if err := windows.CreateProcess(nil, p, nil, nil, false, flags, nil, nil, &si, &pi); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	return errors.Join(windows.CloseHandle(pi.Thread), windows.CloseHandle(pi.Process))
}

// Stop implements RunKey.
func (registryRun) Stop() (bool, error) { return winstop.Request() }
