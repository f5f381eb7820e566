package service

import (
	"context"
	"errors"
	"fmt"
)

// runKey is the agent of one user on Windows, which has no services of users that need no administrator: a program that
// starts when the user logs in. It is not started again when it fails.
type runKey struct{ h Host }

var _ Manager = (*runKey)(nil)

const runKeyPath = `HKCU\Software\Microsoft\Windows\CurrentVersion\Run\` + Name

func isNotInstalled(err error) bool { return errors.Is(err, ErrNotInstalled) }

// Install implements Manager.
func (m *runKey) Install(_ context.Context, s Spec) (bool, error) {
	if err := m.h.checkProgram(s, User); err != nil {
		return false, err
	}
	dir := m.h.Getenv("LocalAppData")
	if dir == "" {
		return false, errors.New("LocalAppData is not set: no place for the log is known")
	}
	args := []string{s.Program, "run", "--log-file", dir + `\weft\` + Name + ".log"}
	if s.ProxyListen != "" {
		args = append(args, "--proxy-listen", s.ProxyListen)
	}
	line := windowsCommandLine(args)
	old, err := m.h.RunKey.Get()
	if err != nil || old == line {
		return false, err
	}
	return true, m.h.RunKey.Set(line)
}

// Uninstall implements Manager.
func (m *runKey) Uninstall(ctx context.Context) (bool, error) {
	if _, err := m.Stop(ctx); err != nil {
		if isNotInstalled(err) {
			return false, nil
		}
		return false, err
	}
	return true, m.h.RunKey.Delete()
}

// Start implements Manager.
func (m *runKey) Start(ctx context.Context) (bool, error) {
	st, err := installedFor(ctx, m, &m.h, User)
	if err != nil || st.State == Running {
		return false, err
	}
	line, err := m.h.RunKey.Get()
	if err != nil {
		return false, err
	}
	return true, m.h.RunKey.Start(line)
}

// Stop implements Manager: it returns when the process has ended.
func (m *runKey) Stop(ctx context.Context) (bool, error) {
	st, err := installedFor(ctx, m, &m.h, User)
	if err != nil || st.State != Running {
		return false, err
	}
	asked, err := m.h.RunKey.Stop()
	if err != nil {
		return false, err
	}
	if !asked {
		return false, fmt.Errorf("process %d runs in another session of this user; end it there", st.PID)
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	return true, poll(ctx, func() (bool, error) {
		pid, _, err := m.h.RunKey.Find(st.Program)
		return pid == 0, err
	})
}

// Restart implements Manager.
func (m *runKey) Restart(ctx context.Context) error {
	if _, err := m.Stop(ctx); err != nil {
		return err
	}
	_, err := m.Start(ctx)
	return err
}

// Status implements Manager.
func (m *runKey) Status(context.Context) (Status, error) {
	st := Status{Manager: "run-key", Scope: User, State: NotInstalled, Path: runKeyPath}
	line, err := m.h.RunKey.Get()
	if err != nil || line == "" {
		return st, err
	}
	st.Installed, st.Enabled, st.State, st.Program = true, true, Stopped, firstWord(line)
	st.PID, st.Since, err = m.h.RunKey.Find(st.Program)
	if st.PID != 0 {
		st.State = Running
	}
	return st, err
}
