package service_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"weft/internal/service"
)

// installed copies a program to where a service of the system may be, and returns its path.
func installed(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(os.Getenv("ProgramFiles"), "WeftTest")
	must(t, os.MkdirAll(dir, 0o755))
	b, err := os.ReadFile(os.Args[0])
	must(t, err)
	program := filepath.Join(dir, "warp-svc.exe")
	must(t, os.WriteFile(program, b, 0o755))
	t.Cleanup(func() { must(t, errors.Join(os.Remove(program), os.Remove(dir))) })
	return program
}

// The real service control manager, as far as it goes without starting a service.
func TestSCM_Real(t *testing.T) {
	h, err := service.ThisHost()
	must(t, err)
	if !h.Privileged {
		t.Skip("needs an administrator")
	}
	m, err := service.New(h, service.System)
	must(t, err)
	st, err := m.Status(t.Context())
	must(t, err)
	if st.Installed {
		t.Skip("the service is installed on this machine")
	}
	spec := service.Spec{Program: installed(t)}
	t.Cleanup(func() { _ = h.SCM.Delete() })
	for _, want := range []bool{true, false} {
		changed, err := m.Install(t.Context(), spec)
		if err != nil || changed != want {
			t.Fatalf("install: changed %v, %v; want %v", changed, err, want)
		}
	}
	st, err = m.Status(t.Context())
	if err != nil || !st.Installed || !st.Enabled || st.State != service.Stopped || st.Program != spec.Program {
		t.Errorf("status %+v, %v", st, err)
	}
	spec.ProxyListen = "off"
	if changed, err := m.Install(t.Context(), spec); err != nil || !changed {
		t.Errorf("install with another option: %v, %v", changed, err)
	}
	if changed, err := m.Uninstall(t.Context()); err != nil || !changed {
		t.Errorf("uninstall: %v, %v", changed, err)
	}
	if st, err = m.Status(t.Context()); err != nil || st.Installed {
		t.Errorf("status after uninstall: %+v, %v", st, err)
	}
	if _, err := m.Install(t.Context(), service.Spec{Program: os.Args[0]}); !errors.Is(err, service.ErrUnsafeProgram) {
		t.Errorf("a program outside ProgramFiles: %v", err)
	}
}

// The real Run key, and real processes.
func TestRunKey_Real(t *testing.T) {
	h, err := service.ThisHost()
	must(t, err)
	line, err := h.RunKey.Get()
	must(t, err)
	if line != "" {
		t.Skip("the service of this user is installed on this machine")
	}
	m, err := service.New(h, service.User)
	must(t, err)
	spec := service.Spec{Program: installed(t)}
	t.Cleanup(func() { _ = h.RunKey.Delete() })
	for _, want := range []bool{true, false} {
		changed, err := m.Install(t.Context(), spec)
		if err != nil || changed != want {
			t.Fatalf("install: changed %v, %v; want %v", changed, err, want)
		}
	}
	if st, err := m.Status(t.Context()); err != nil || !st.Installed || st.State != service.Stopped || st.Program != spec.Program {
		t.Errorf("status %+v, %v", st, err)
	}
	if pid, since, err := h.RunKey.Find(os.Args[0]); err != nil || pid != os.Getpid() || since.IsZero() {
		t.Errorf("this process is found as %d since %s, %v; want %d", pid, since, err, os.Getpid())
	}
	if changed, err := m.Uninstall(t.Context()); err != nil || !changed {
		t.Errorf("uninstall: %v, %v", changed, err)
	}
}
