// Package servicetest has service managers that are none: they answer like systemctl,
// launchctl, rc-service, Windows' service control manager and its Run key, and keep what they
// know in a file below a folder, so that several processes of a test share it.
package servicetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft/internal/service"
)

// PID is the process of every service that runs, and Since when it began.
const PID = 4711

// Since is when every service began to run.
var Since = time.Date(2026, 11, 1, 8, 30, 0, 0, time.UTC)

// state is what a manager knows of the one service.
type state struct {
	Loaded  bool     // systemd: daemon-reload has seen the unit; launchd: bootstrapped
	Enabled []string // units, or the label
	Active  []string
	Failed  bool
	Line    string // Windows: the command line
	Delays  int    // Windows: recovery actions
	Log     []string
}

// Fake is a system with one manager of services.
type Fake struct {
	Manager string // "systemd", "openrc", "launchd", "windows"
	Root    string
	// FailOn makes a command that begins with it fail.
	FailOn string
}

// Host returns the system as package service sees it; everything is below root.
func Host(manager, root string, privileged bool) (service.Host, *Fake, error) {
	f := &Fake{Manager: manager, Root: root}
	h := service.Host{
		GOOS: map[string]string{"systemd": "linux", "openrc": "linux", "launchd": "darwin", "windows": "windows", "none": "linux"}[manager],
		Home: "/home/jdoe", UID: 1000, Privileged: privileged, Root: root, Runner: f, SCM: fakeSCM{f}, RunKey: fakeRunKey{f},
		Getenv: func(name string) string {
			return map[string]string{"ProgramFiles": root, "ProgramData": `C:\ProgramData`, "LocalAppData": `C:\Users\jdoe\AppData\Local`}[name]
		},
		OwnedByRoot: func(fi fs.FileInfo) bool { return fi.Name() != "writable" },
	}
	marker := map[string]string{"systemd": "run/systemd/system", "openrc": "run/openrc"}[manager]
	return h, f, os.MkdirAll(filepath.Join(root, marker), 0o755)
}

func (f *Fake) load() (s state, err error) {
	b, err := os.ReadFile(filepath.Join(f.Root, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	return s, err
}

func (f *Fake) save(s state) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(filepath.Join(f.Root, "state.json"), b, 0o600)
	}
	return err
}

// Log is what changed the system, in order.
func (f *Fake) Log() ([]string, error) {
	s, err := f.load()
	return s.Log, err
}

// Break makes the service end with a failure.
func (f *Fake) Break() error {
	s, err := f.load()
	if err != nil {
		return err
	}
	s.Failed, s.Active = true, nil
	return f.save(s)
}

// Run implements service.Runner.
func (f *Fake) Run(_ context.Context, name string, args ...string) (service.Result, error) {
	line := strings.Join(append([]string{name}, args...), " ")
	if f.FailOn != "" && strings.HasPrefix(line, f.FailOn) {
		return service.Result{Stderr: "it went wrong\nin two lines", Code: 1}, nil
	}
	s, err := f.load()
	if err != nil {
		return service.Result{}, err
	}
	if !slices.Contains(args, "show") && !strings.Contains(line, "launchctl print") && !strings.HasSuffix(line, " status") {
		s.Log = append(s.Log, strings.ReplaceAll(line, f.Root, ""))
	}
	var r service.Result
	switch name {
	case "systemctl":
		r = f.systemctl(&s, args)
	case "launchctl":
		r = f.launchctl(&s, args)
	case "rc-service":
		r = f.rcService(&s, args)
	case "rc-update":
		err = f.rcUpdate(args)
	default:
		return r, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return r, errors.Join(err, f.save(s))
}

func add(list []string, more ...string) []string {
	for _, m := range more {
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

func remove(list []string, less ...string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return slices.Contains(less, s) })
}

func (f *Fake) unit(user bool) (path string, text string) {
	dirs := []string{"etc/systemd/system", "lib/systemd/system"}
	if user {
		dirs = []string{"home/jdoe/.config/systemd/user", "usr/lib/systemd/user"}
	}
	for _, d := range dirs {
		path := filepath.Join(d, "warp-svc.service")
		if b, err := os.ReadFile(filepath.Join(f.Root, path)); err == nil {
			return "/" + path, string(b)
		}
	}
	return "", ""
}

func (f *Fake) systemctl(s *state, args []string) service.Result {
	user := args[0] == "--user"
	if user {
		args = args[1:]
	}
	path, text := f.unit(user)
	verb, units := args[0], remove(slices.Clone(args[1:]), "--now")
	switch verb {
	case "daemon-reload":
		s.Loaded = path != ""
		return service.Result{}
	case "show":
		return service.Result{Stdout: f.show(s, path, text)}
	}
	if path == "" {
		return service.Result{Stderr: "Unit warp-svc.service not found.", Code: 5}
	}
	switch verb {
	case "enable":
		s.Enabled = add(s.Enabled, units...)
	case "disable":
		s.Enabled = remove(s.Enabled, units...)
		if slices.Contains(args, "--now") {
			s.Active, s.Failed = remove(s.Active, units...), false
		}
	case "start", "restart":
		s.Active, s.Failed = add(s.Active, units...), false
	case "stop":
		s.Active, s.Failed = remove(s.Active, units...), false
	}
	return service.Result{}
}

func (f *Fake) show(s *state, path, text string) string {
	if path == "" {
		return "LoadState=not-found\nActiveState=inactive\n"
	}
	active, sub, result, pid, status := "inactive", "dead", "success", 0, ""
	switch {
	case slices.Contains(s.Active, "warp-svc.service"):
		active, sub, pid, status = "active", "running", PID, "connected via gw-1 (healthy)"
	case s.Failed:
		active, sub, result = "activating", "auto-restart", "watchdog"
	}
	enabled := "disabled"
	if slices.Contains(s.Enabled, "warp-svc.service") {
		enabled = "enabled"
	}
	_, command, _ := strings.Cut(text, "ExecStart=")
	command, _, _ = strings.Cut(command, " ")
	return fmt.Sprintf("MainPID=%d\nResult=%s\nLoadState=loaded\nActiveState=%s\nSubState=%s\nFragmentPath=%s\nUnitFileState=%s\n"+
		"StatusText=%s\nStateChangeTimestamp=@%d\nExecStart={ path=%s ; argv[]=%s run ; ignore_errors=no }\n",
		pid, result, active, sub, path, enabled, status, Since.Unix(), command, command)
}

func (f *Fake) launchctl(s *state, args []string) service.Result {
	label := "weft.warp-svc"
	switch args[0] {
	case "print-disabled":
		out := "disabled services = {\n\t\"com.example.other\" => disabled\n"
		if !slices.Contains(s.Enabled, label) && slices.Contains(s.Enabled, "switched") {
			out += "\t\"" + label + "\" => disabled\n"
		}
		return service.Result{Stdout: out + "}\n"}
	case "print":
		if !s.Loaded {
			return service.Result{Stderr: "Could not find service \"" + label + "\" in domain for system", Code: 113}
		}
		if s.Failed {
			return service.Result{Stdout: args[1] + " = {\n\tstate = spawn scheduled\n\tlast exit code = 3\n}\n"}
		}
		return service.Result{Stdout: fmt.Sprintf("%s = {\n\tactive count = 1\n\tstate = running\n\n\tprogram = /x\n\tpid = %d\n"+
			"\tlast exit code = (never exited)\n\tendpoints = {\n\t\tpid = 1\n\t}\n}\n", args[1], PID)}
	case "enable":
		s.Enabled = add(s.Enabled, label)
	case "bootstrap":
		if _, err := os.Stat(args[2]); err != nil || s.Loaded {
			return service.Result{Stderr: "Bootstrap failed: 5: Input/output error", Code: 5}
		}
		s.Loaded, s.Failed = true, false
	case "bootout":
		if !s.Loaded {
			return service.Result{Stderr: "Boot-out failed: 3: No such process", Code: 3}
		}
		s.Loaded, s.Failed = false, false
	case "kickstart":
		s.Failed = false
	}
	return service.Result{}
}

func (f *Fake) rcService(s *state, args []string) service.Result {
	switch {
	case args[1] == "status" && s.Failed:
		return service.Result{Code: 32}
	case args[1] == "status" && !slices.Contains(s.Active, args[0]):
		return service.Result{Code: 3}
	case args[1] == "start", args[1] == "restart":
		s.Active, s.Failed = add(s.Active, args[0]), false
	case args[1] == "stop":
		s.Active, s.Failed = remove(s.Active, args[0]), false
	}
	return service.Result{}
}

func (f *Fake) rcUpdate(args []string) error {
	link := filepath.Join(f.Root, "etc/runlevels/default", args[1])
	if args[0] == "del" {
		return os.Remove(link)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.WriteFile(link, nil, 0o600))
}
