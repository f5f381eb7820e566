// Package service makes a program a service of the operating system, and starts, stops and
// describes it: systemd and OpenRC on Linux, launchd on macOS, the service control manager
// (or, for one user, the Run key of the registry) on Windows, behind one interface.
//
// A service is desired state. Install twice is Install once; Uninstall leaves nothing of
// what Install made; no option of a service can be a secret, since what stands on a command
// line or in a unit file can be read by every user.
//
// All that touches the system goes through Host, so that one set of tests covers every
// system on any.
package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Scope is for whom a service runs.
type Scope string

// The scopes.
const (
	System Scope = "system" // the machine: needs privilege
	User   Scope = "user"   // one user, while logged in: needs none
)

// State of a service.
type State string

// The states.
const (
	NotInstalled State = "not_installed"
	Stopped      State = "stopped"
	Starting     State = "starting"
	Running      State = "running"
	Stopping     State = "stopping"
	Failed       State = "failed"
)

// Status describes a service.
type Status struct {
	Manager   string // "systemd", "openrc", "launchd", "windows", "run-key"
	Scope     Scope
	State     State
	Installed bool
	Enabled   bool // it starts by itself
	PID       int  // 0: not running, or not known
	// Path of what defines it: unit file, property list, registry key.
	Path string
	// Program that it starts; empty: not known.
	Program string
	// Since when it is in State; zero: not known.
	Since time.Time
	// Detail is a sentence of the manager or the service; it may be empty.
	Detail string
	// Packaged means that a package of the system owns Path.
	Packaged bool
}

// Spec is what Install wants.
type Spec struct {
	// Program is the absolute path of warp-svc.
	Program string
	// ProxyListen is the address of the proxies; empty: the default of the program.
	ProxyListen string
}

// Manager is one service in one scope. Methods that change something report whether
// anything was different afterwards. Where the service is not there they fail with
// ErrNotInstalled, except Uninstall, which is then done.
type Manager interface {
	// Install defines the service and lets it start by itself; it does not start it now.
	Install(ctx context.Context, s Spec) (changed bool, err error)
	// Uninstall stops the service and removes its definition. State and keys stay.
	Uninstall(ctx context.Context) (changed bool, err error)
	Start(ctx context.Context) (changed bool, err error)
	Stop(ctx context.Context) (changed bool, err error)
	Restart(ctx context.Context) error
	Status(ctx context.Context) (Status, error)
}

// Errors; test with errors.Is.
var (
	// ErrNotInstalled means that there is no such service.
	ErrNotInstalled = errors.New("the service is not installed")
	// ErrPermission means that the system wants more privilege.
	ErrPermission = errors.New("the system does not allow it")
	// ErrNoManager means that this system has no manager that is known here.
	ErrNoManager = errors.New("no service manager that is known here runs on this system")
	// ErrUnsafeProgram means that an ordinary user could replace the program of a privileged service.
	ErrUnsafeProgram = errors.New("an ordinary user could replace the program")
	// ErrPackaged means that the definition belongs to a package of the system.
	ErrPackaged = errors.New("the service belongs to a package")
)

// Name of the service.
const Name = "warp-svc"

// Result is what a command of the system answered.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Runner runs commands of the system.
type Runner interface {
	// Run fails only when the command could not be run at all.
	Run(ctx context.Context, name string, args ...string) (Result, error)
}

// Host is the system as a Manager sees it.
type Host struct {
	GOOS       string
	Privileged bool // root, or an elevated administrator
	UID        int
	Home       string
	Getenv     func(string) string
	Runner     Runner
	// Root is put before every absolute path of the system; empty but in tests.
	Root string
	// OwnedByRoot reports whether only a privileged account can change what is at a path (links are followed).
	OwnedByRoot func(fs.FileInfo) bool
	// SCM is Windows' service control manager, RunKey the per-user start there; nil elsewhere.
	SCM    SCM
	RunKey RunKey
}

// New returns the manager of the service in scope on host.
func New(h Host, scope Scope) (Manager, error) {
	switch h.GOOS {
	case "linux":
		return newLinux(h, scope)
	case "darwin":
		return &launchd{h: h, scope: scope}, nil
	case "windows":
		if scope == User {
			return &runKey{h: h}, nil
		}
		return &windowsService{h: h}, nil
	default:
		return nil, fmt.Errorf("%s: %w", h.GOOS, ErrNoManager)
	}
}

// newLinux finds out which manager runs: sd_booted(3) for systemd, /run/openrc for OpenRC.
func newLinux(h Host, scope Scope) (Manager, error) {
	switch {
	case h.exists("/run/systemd/system"):
		return &systemd{h: h, scope: scope}, nil
	case h.exists("/run/openrc"):
		if scope == User {
			return nil, fmt.Errorf("OpenRC has no services of users: %w", ErrNoManager)
		}
		return &openrc{h: h}, nil
	default:
		return nil, ErrNoManager
	}
}

// need fails with ErrPermission where scope needs a privilege that the host lacks.
func (h *Host) need(scope Scope) error {
	if scope == System && !h.Privileged {
		return ErrPermission
	}
	return nil
}

// checkProgram fails unless s can be the program of a service: it is there and, for a
// service of the system, no ordinary user can change it or what leads to it.
func (h *Host) checkProgram(s Spec, scope Scope) error {
	if !filepath.IsAbs(s.Program) {
		return fmt.Errorf("program %q: the path is not absolute", s.Program)
	}
	fi, err := os.Stat(s.Program)
	if err != nil {
		return fmt.Errorf("find program: %w", err)
	}
	if !fi.Mode().IsRegular() || h.GOOS != "windows" && fi.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("program %s is not executable", s.Program)
	}
	if scope != System || h.OwnedByRoot == nil {
		return nil
	}
	for path := s.Program; ; path = filepath.Dir(path) {
		fi, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("check who can change the program: %w", err)
		}
		if !h.OwnedByRoot(fi) {
			return fmt.Errorf("%s is writable by others than root: %w", path, ErrUnsafeProgram)
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

// path is where the system's path really is.
func (h *Host) path(p string) string {
	if h.Root == "" {
		return p
	}
	return filepath.Join(h.Root, p)
}

func (h *Host) exists(p string) bool {
	_, err := os.Stat(h.path(p))
	return err == nil
}

// run runs a command; a status other than 0 is an error with what the command said.
func (h *Host) run(ctx context.Context, name string, args ...string) (Result, error) {
	r, err := h.Runner.Run(ctx, name, args...)
	if err != nil {
		return r, fmt.Errorf("run %s: %w", name, err)
	}
	if r.Code != 0 {
		return r, &CommandError{Name: name, Args: args, Result: r}
	}
	return r, nil
}

// writeFile makes path have the content, in one step; false means that it had it.
func (h *Host) writeFile(path, content string, mode fs.FileMode) (changed bool, err error) {
	path = h.path(path)
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, permission(err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return false, permission(err)
	}
	_, err = tmp.WriteString(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return false, errors.Join(permission(err), os.Remove(tmp.Name()))
	}
	return true, nil
}

// removeFile removes path; false means that it was not there.
func (h *Host) removeFile(path string) (changed bool, err error) {
	err = os.Remove(h.path(path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, permission(err)
}

func permission(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", ErrPermission, err)
	}
	return err
}
