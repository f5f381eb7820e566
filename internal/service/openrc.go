package service

import (
	"context"
	_ "embed" // the service script
	"os"
	"strconv"
	"strings"
)

//go:embed unit/openrc
var openrcScript string

// openrc speaks rc-service(8) and rc-update(8). It has services of the system only.
type openrc struct{ h Host }

var _ Manager = (*openrc)(nil)

const openrcPath = "/etc/init.d/" + Name

// Install implements Manager.
func (m *openrc) Install(ctx context.Context, s Spec) (bool, error) {
	if err := m.h.need(System); err != nil {
		return false, err
	}
	if err := m.h.checkProgram(s, System); err != nil {
		return false, err
	}
	text := strings.Replace(openrcScript, "command="+packagedProgram, "command="+shellWord(s.Program), 1)
	if s.ProxyListen != "" {
		// Within double quotes of the script; the value was checked to be an address or "off".
		text = strings.Replace(text, " ${WARP_SVC_OPTIONS", " --proxy-listen "+s.ProxyListen+" ${WARP_SVC_OPTIONS", 1)
	}
	changed, err := m.h.writeFile(openrcPath, text, 0o755)
	if err != nil {
		return false, err
	}
	st, err := m.Status(ctx)
	if err != nil || st.Enabled {
		return changed, err
	}
	_, err = m.h.run(ctx, "rc-update", "add", Name, "default")
	return true, err
}

// shellWord quotes s for sh.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Uninstall implements Manager.
func (m *openrc) Uninstall(ctx context.Context) (bool, error) {
	st, err := m.Status(ctx)
	if err != nil || !st.Installed {
		return false, err
	}
	if err := m.h.need(System); err != nil {
		return false, err
	}
	if st.State != Stopped {
		if _, err := m.h.run(ctx, "rc-service", Name, "stop"); err != nil {
			return false, err
		}
	}
	if st.Enabled {
		if _, err := m.h.run(ctx, "rc-update", "del", Name, "default"); err != nil {
			return true, err
		}
	}
	_, err = m.h.removeFile(openrcPath)
	return true, err
}

// Start implements Manager.
func (m *openrc) Start(ctx context.Context) (bool, error) {
	st, err := installedFor(ctx, m, &m.h, System)
	if err != nil || st.State == Running {
		return false, err
	}
	_, err = m.h.run(ctx, "rc-service", Name, "start")
	return true, err
}

// Stop implements Manager.
func (m *openrc) Stop(ctx context.Context) (bool, error) {
	st, err := installedFor(ctx, m, &m.h, System)
	if err != nil || st.State == Stopped {
		return false, err
	}
	_, err = m.h.run(ctx, "rc-service", Name, "stop")
	return true, err
}

// Restart implements Manager.
func (m *openrc) Restart(ctx context.Context) error {
	if _, err := installedFor(ctx, m, &m.h, System); err != nil {
		return err
	}
	_, err := m.h.run(ctx, "rc-service", Name, "restart")
	return err
}

// Status implements Manager: rc-service answers 0 started, 3 stopped, 32 crashed (openrc-run(8)).
func (m *openrc) Status(ctx context.Context) (Status, error) {
	st := Status{Manager: "openrc", Scope: System, State: NotInstalled, Path: openrcPath}
	script, err := os.ReadFile(m.h.path(openrcPath))
	if err != nil {
		if os.IsNotExist(err) {
			return st, nil
		}
		return st, permission(err)
	}
	st.Installed, st.State = true, Stopped
	for line := range strings.Lines(string(script)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "command="); ok {
			st.Program = strings.Trim(v, "'")
		}
	}
	r, err := m.h.Runner.Run(ctx, "rc-service", Name, "status")
	if err != nil {
		return st, err
	}
	switch r.Code {
	case 0:
		st.State = Running
	case 32:
		st.State = Failed
	}
	st.Enabled = m.h.exists("/etc/runlevels/default/" + Name)
	if b, err := os.ReadFile(m.h.path("/run/" + Name + ".pid")); err == nil && st.State == Running {
		st.PID, _ = strconv.Atoi(strings.TrimSpace(string(b))) // the supervisor's
		if fi, err := os.Stat(m.h.path("/run/" + Name + ".pid")); err == nil {
			st.Since = fi.ModTime().UTC()
		}
	}
	return st, nil
}
