package service_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/internal/service"
	"weft/internal/service/servicetest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kinds are all services that can be made.
var kinds = []struct {
	name, manager string
	scope         service.Scope
}{
	{"systemd of the system", "systemd", service.System},
	{"systemd of a user", "systemd", service.User},
	{"OpenRC", "openrc", service.System},
	{"launchd daemon", "launchd", service.System},
	{"launchd agent", "launchd", service.User},
	{"Windows service", "windows", service.System},
	{"Windows Run key", "windows", service.User},
}

// newManager returns a manager of a fake system, and a program for it.
func newManager(t *testing.T, manager string, scope service.Scope, privileged bool) (service.Manager, *servicetest.Fake, service.Spec) {
	t.Helper()
	root := t.TempDir()
	h, f, err := servicetest.Host(manager, root, privileged)
	must(t, err)
	program := filepath.Join(root, "warp-svc")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755))
	m, err := service.New(h, scope)
	must(t, err)
	return m, f, service.Spec{Program: program}
}

// The contract of Manager, for every system on any.
func TestManager_Contract(t *testing.T) {
	skipOnWindows(t)
	for _, tt := range kinds {
		t.Run(tt.name, func(t *testing.T) {
			m, f, spec := newManager(t, tt.manager, tt.scope, tt.scope == service.System)
			ctx := t.Context()
			state := func(want service.State, enabled bool) {
				t.Helper()
				st, err := m.Status(ctx)
				must(t, err)
				if st.State != want || st.Installed != (want != service.NotInstalled) || st.Enabled != enabled || st.Scope != tt.scope {
					t.Errorf("status %+v, want %s, enabled %v", st, want, enabled)
				}
				if pid := st.PID; (pid == servicetest.PID) != (want == service.Running) && tt.manager != "openrc" {
					t.Errorf("PID %d while %s", pid, st.State)
				}
				if want != service.NotInstalled && st.Program != spec.Program {
					t.Errorf("program %q, want %q", st.Program, spec.Program)
				}
			}
			done := func(name string, want bool, do func(context.Context) (bool, error)) {
				t.Helper()
				if changed, err := do(ctx); err != nil || changed != want {
					t.Errorf("%s: changed %v, %v; want %v", name, changed, err, want)
				}
			}
			install := func(ctx context.Context) (bool, error) { return m.Install(ctx, spec) }

			state(service.NotInstalled, false)
			done("uninstall nothing", false, m.Uninstall)
			for name, do := range map[string]func(context.Context) (bool, error){"start": m.Start, "stop": m.Stop} {
				if _, err := do(ctx); !errors.Is(err, service.ErrNotInstalled) {
					t.Errorf("%s before install: %v", name, err)
				}
			}
			if err := m.Restart(ctx); !errors.Is(err, service.ErrNotInstalled) {
				t.Errorf("restart before install: %v", err)
			}

			done("install", true, install)
			state(service.Stopped, true)
			done("install again", false, install)
			done("stop what is stopped", false, m.Stop)
			done("start", true, m.Start)
			state(service.Running, true)
			done("start again", false, m.Start)
			must(t, m.Restart(ctx))
			state(service.Running, true)
			done("stop", true, m.Stop)
			state(service.Stopped, true)

			done("start after stop", true, m.Start)
			spec.ProxyListen = "127.0.0.1:1080"
			done("install with another option", true, install)
			done("uninstall while running", true, m.Uninstall)
			state(service.NotInstalled, false)
			done("uninstall again", false, m.Uninstall)
			done("install anew", true, install)
			must(t, f.Break())
			if st, err := m.Status(ctx); err != nil || tt.name != "Windows Run key" && tt.name[:4] != "laun" && st.State != service.Failed {
				t.Errorf("after a crash: %+v, %v; want failed", st, err)
			}
			done("uninstall what failed", true, m.Uninstall)
			assertGone(t, f)
		})
	}
}

// assertGone fails if a definition was left behind.
func assertGone(t *testing.T, f *servicetest.Fake) {
	t.Helper()
	must(t, filepath.WalkDir(f.Root, func(path string, d os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, f.Root)
		if err == nil && !d.IsDir() && name != "/warp-svc" && name != "/state.json" {
			t.Errorf("%s was left behind", name)
		}
		return err
	}))
}

func skipOnWindows(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fakes keep Unix paths; TestSCM_Real is for Windows")
	}
}

// Without privilege nothing of the system is changed, and the error says so.
func TestManager_NeedsPrivilege(t *testing.T) {
	skipOnWindows(t)
	for _, tt := range kinds {
		if tt.scope == service.User {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			m, f, spec := newManager(t, tt.manager, tt.scope, true)
			_, err := m.Install(t.Context(), spec)
			must(t, err)
			before, err := f.Log()
			must(t, err)
			h, _, err := servicetest.Host(tt.manager, f.Root, false)
			must(t, err)
			low, err := service.New(h, tt.scope)
			must(t, err)
			for name, do := range map[string]func(context.Context) (bool, error){
				"install": func(ctx context.Context) (bool, error) { return low.Install(ctx, spec) },
				"start":   low.Start, "stop": low.Stop, "uninstall": low.Uninstall,
				"restart": func(ctx context.Context) (bool, error) { return false, low.Restart(ctx) },
			} {
				if _, err := do(t.Context()); !errors.Is(err, service.ErrPermission) {
					t.Errorf("%s: %v, want ErrPermission", name, err)
				}
			}
			if st, err := low.Status(t.Context()); err != nil || !st.Installed {
				t.Errorf("status needs no privilege: %+v, %v", st, err)
			}
			after, err := f.Log()
			must(t, err)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("something was changed (-before +after):\n%s", diff)
			}
		})
	}
}

// A program that an ordinary user could replace does not become a service of the system.
func TestManager_UnsafeProgram(t *testing.T) {
	skipOnWindows(t)
	for _, tt := range kinds {
		t.Run(tt.name, func(t *testing.T) {
			m, f, spec := newManager(t, tt.manager, tt.scope, true)
			dir := filepath.Join(f.Root, "writable")
			must(t, os.Mkdir(dir, 0o755))
			spec.Program = filepath.Join(dir, "warp-svc")
			must(t, os.WriteFile(spec.Program, nil, 0o755))
			if _, err := m.Install(t.Context(), spec); errors.Is(err, service.ErrUnsafeProgram) != (tt.scope == service.System) {
				t.Errorf("install: %v", err)
			}
			for name, bad := range map[string]string{"relative": "warp-svc", "missing": filepath.Join(f.Root, "none"), "a directory": dir} {
				if _, err := m.Install(t.Context(), service.Spec{Program: bad}); err == nil {
					t.Errorf("a program that is %s was accepted", name)
				}
			}
		})
	}
}

// What Install writes is reviewed as a diff of golden files; the name of the program is hostile.
func TestManager_Definitions(t *testing.T) {
	skipOnWindows(t)
	for _, tt := range []struct{ file, manager, path, scope string }{
		{"systemd-system.service", "systemd", "etc/systemd/system/warp-svc.service", "system"},
		{"systemd-system.socket", "systemd", "etc/systemd/system/warp-svc.socket", "system"},
		{"systemd-user.service", "systemd", "home/jdoe/.config/systemd/user/warp-svc.service", "user"},
		{"openrc", "openrc", "etc/init.d/warp-svc", "system"},
		{"launchd-daemon.plist", "launchd", "Library/LaunchDaemons/weft.warp-svc.plist", "system"},
		{"launchd-agent.plist", "launchd", "home/jdoe/Library/LaunchAgents/weft.warp-svc.plist", "user"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			m, f, spec := newManager(t, tt.manager, service.Scope(tt.scope), true)
			spec.Program = filepath.Join(f.Root, `it's <a> & "b" 50% $HOME`)
			spec.ProxyListen = "127.0.0.1:1080"
			must(t, os.WriteFile(spec.Program, nil, 0o755))
			_, err := m.Install(t.Context(), spec)
			must(t, err)
			got, err := os.ReadFile(filepath.Join(f.Root, tt.path))
			must(t, err)
			text := strings.ReplaceAll(string(got), f.Root, "/ROOT")
			golden := filepath.Join("testdata", tt.file)
			if *update {
				must(t, os.MkdirAll("testdata", 0o755))
				must(t, os.WriteFile(golden, []byte(text), 0o600))
			}
			want, err := os.ReadFile(golden)
			must(t, err)
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("definition (-want +got):\n%s", diff)
			}
			st, err := m.Status(t.Context())
			must(t, err)
			if tt.manager == "launchd" && st.Program != spec.Program {
				t.Errorf("program %q read back, want %q", st.Program, spec.Program)
			}
		})
	}
}

// Units of a package are enabled and disabled, never written or removed.
func TestSystemd_Packaged(t *testing.T) {
	skipOnWindows(t)
	m, f, spec := newManager(t, "systemd", service.System, true)
	unit := filepath.Join(f.Root, "lib/systemd/system/warp-svc.service")
	must(t, os.MkdirAll(filepath.Dir(unit), 0o755))
	must(t, os.WriteFile(unit, []byte("ExecStart=/usr/bin/warp-svc run\n"), 0o600))
	ctx := t.Context()
	if changed, err := m.Install(ctx, spec); err != nil || !changed {
		t.Fatalf("install: %v, %v", changed, err)
	}
	if _, err := os.Stat(filepath.Join(f.Root, "etc/systemd/system/warp-svc.service")); err == nil {
		t.Error("a unit beside the package's was written")
	}
	if _, err := m.Install(ctx, service.Spec{Program: spec.Program, ProxyListen: "off"}); !errors.Is(err, service.ErrPackaged) {
		t.Errorf("an option for a packaged unit: %v", err)
	}
	if changed, err := m.Uninstall(ctx); err != nil || !changed {
		t.Errorf("uninstall: %v, %v", changed, err)
	}
	if changed, err := m.Uninstall(ctx); err != nil || changed {
		t.Errorf("uninstall again: %v, %v", changed, err)
	}
	if st, err := m.Status(ctx); err != nil || !st.Installed || st.Enabled || !st.Packaged {
		t.Errorf("status %+v, %v", st, err)
	}
}

// A command that fails is an error that names it and its first line.
func TestManager_CommandFails(t *testing.T) {
	skipOnWindows(t)
	for _, tt := range []struct{ manager, failOn, want string }{
		{"systemd", "systemctl enable", "systemctl enable warp-svc.service warp-svc.socket: exit status 1: it went wrong"},
		{"launchd", "launchctl print-disabled", "launchctl print-disabled system: exit status 1: it went wrong"},
		{"openrc", "rc-update", "rc-update add warp-svc default: exit status 1: it went wrong"},
	} {
		t.Run(tt.manager, func(t *testing.T) {
			m, f, spec := newManager(t, tt.manager, service.System, true)
			f.FailOn = tt.failOn
			if _, err := m.Install(t.Context(), spec); err == nil || err.Error() != tt.want {
				t.Errorf("install: %v, want %s", err, tt.want)
			}
		})
	}
}

func TestNew_NoManager(t *testing.T) {
	for _, tt := range []struct {
		name, manager, goos string
		scope               service.Scope
	}{
		{"Linux without a manager", "none", "", service.System},
		{"OpenRC has none for users", "openrc", "", service.User},
		{"another system", "none", "plan9", service.System},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _, err := servicetest.Host(tt.manager, t.TempDir(), true)
			must(t, err)
			if tt.goos != "" {
				h.GOOS = tt.goos
			}
			if _, err := service.New(h, tt.scope); !errors.Is(err, service.ErrNoManager) {
				t.Errorf("err = %v, want ErrNoManager", err)
			}
		})
	}
}

func TestExec(t *testing.T) {
	skipOnWindows(t)
	r, err := service.Exec{}.Run(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 7")
	must(t, err)
	if diff := cmp.Diff(service.Result{Stdout: "out\n", Stderr: "err\n", Code: 7}, r); diff != "" {
		t.Error(diff)
	}
	if _, err := (service.Exec{}).Run(t.Context(), "no-such-program-here"); err == nil {
		t.Error("no error for a program that is not there")
	}
	r, err = service.Exec{}.Run(t.Context(), "sh", "-c", "head -c 1000000 /dev/zero")
	if err != nil || len(r.Stdout) != 256<<10 {
		t.Errorf("%d bytes, %v: output is not bounded", len(r.Stdout), err)
	}
}
