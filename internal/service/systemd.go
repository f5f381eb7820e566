package service

import (
	"context"
	_ "embed" // the unit files
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// The unit files are those of the packages; Install puts its own program into them.
var (
	//go:embed unit/warp-svc.service
	systemUnit string
	//go:embed unit/warp-svc.socket
	socketUnit string
	//go:embed unit/user.service
	userUnit string
)

// packagedProgram is the program that the unit files name.
const packagedProgram = "/usr/bin/warp-svc"

// systemd speaks systemctl(1), whose properties and exit codes are stable.
type systemd struct {
	h     Host
	scope Scope
}

var _ Manager = (*systemd)(nil)

const (
	serviceUnitName = Name + ".service"
	socketUnitName  = Name + ".socket"
)

func (m *systemd) units() []string {
	if m.scope == User {
		return []string{serviceUnitName}
	}
	return []string{serviceUnitName, socketUnitName}
}

func (m *systemd) dir() string {
	if m.scope == System {
		return "/etc/systemd/system"
	}
	config := m.h.Getenv("XDG_CONFIG_HOME")
	if !path.IsAbs(config) {
		config = path.Join(m.h.Home, ".config")
	}
	return path.Join(config, "systemd", "user")
}

func (m *systemd) ctl(ctx context.Context, args ...string) (Result, error) {
	if m.scope == User {
		args = append([]string{"--user"}, args...)
	}
	return m.h.run(ctx, "systemctl", args...)
}

// Install implements Manager. Where a package has brought the units, it only enables them; a user's own unit, which an
// option needs, stands before the package's.
func (m *systemd) Install(ctx context.Context, s Spec) (bool, error) {
	if err := m.h.need(m.scope); err != nil {
		return false, err
	}
	before, err := m.Status(ctx)
	if err != nil {
		return false, err
	}
	changed := false
	if before.Packaged && m.scope == System && s.ProxyListen != "" {
		return false, fmt.Errorf("%s: set WARP_SVC_OPTIONS in /etc/default/warp-svc instead: %w", before.Path, ErrPackaged)
	}
	if !before.Packaged || s.ProxyListen != "" {
		if changed, err = m.writeUnits(ctx, s); err != nil {
			return false, err
		}
	}
	if before.Enabled && !changed {
		return false, nil
	}
	_, err = m.ctl(ctx, append([]string{"enable"}, m.units()...)...)
	return true, err
}

func (m *systemd) writeUnits(ctx context.Context, s Spec) (changed bool, err error) {
	if err := m.h.checkProgram(s, m.scope); err != nil {
		return false, err
	}
	files, err := m.files(s)
	if err != nil {
		return false, err
	}
	for name, content := range files {
		c, err := m.h.writeFile(path.Join(m.dir(), name), content, 0o644)
		if err != nil {
			return false, err
		}
		changed = changed || c
	}
	if changed {
		_, err = m.ctl(ctx, "daemon-reload")
	}
	return changed, err
}

// files are the units for s.
func (m *systemd) files(s Spec) (map[string]string, error) {
	program, err := unitWord(s.Program)
	if err != nil {
		return nil, err
	}
	text := systemUnit
	if m.scope == User {
		text = userUnit
	}
	// Variables are not looked for in the program itself, so a dollar sign means itself there: systemd.service(5).
	text = strings.Replace(text, "ExecStart="+packagedProgram, "ExecStart="+strings.ReplaceAll(program, "$$", "$"), 1)
	if s.ProxyListen != "" {
		listen, err := unitWord(s.ProxyListen)
		if err != nil {
			return nil, err
		}
		text = strings.Replace(text, " $WARP_SVC_OPTIONS", " --proxy-listen "+listen+" $WARP_SVC_OPTIONS", 1)
	}
	files := map[string]string{serviceUnitName: text}
	if m.scope == System {
		files[socketUnitName] = socketUnit
	}
	return files, nil
}

// unitWord writes s as one word of a command line in a unit file: systemd.service(5), systemd.unit(5).
func unitWord(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%q has control characters", s)
	}
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(s)
	if strings.ContainsAny(s, " '\"\\;") {
		return `"` + s + `"`, nil
	}
	return s, nil
}

// Uninstall implements Manager. Units of a package are disabled and stay.
func (m *systemd) Uninstall(ctx context.Context) (bool, error) {
	st, err := m.Status(ctx)
	if err != nil || !st.Installed {
		return false, err
	}
	if err := m.h.need(m.scope); err != nil {
		return false, err
	}
	if st.Packaged && !st.Enabled && st.State == Stopped {
		return false, nil
	}
	// Removal of a package's units is the package manager's affair; what was enabled is not.
	if _, err := m.ctl(ctx, append([]string{"disable", "--now"}, m.units()...)...); err != nil {
		return false, err
	}
	for _, name := range m.units() {
		if _, err := m.h.removeFile(path.Join(m.dir(), name)); err != nil {
			return true, err
		}
	}
	if _, err := m.ctl(ctx, "daemon-reload"); err != nil {
		return true, err
	}
	_, _ = m.ctl(ctx, append([]string{"reset-failed"}, m.units()...)...) // fails when nothing had failed
	if m.scope == System && !st.Packaged {
		_ = os.Remove(m.h.path("/run/weft")) // the socket's, if nothing else is in it
	}
	return true, nil
}

// installed returns the status, or ErrNotInstalled or ErrPermission.
func (m *systemd) installed(ctx context.Context) (Status, error) {
	return installedFor(ctx, m, &m.h, m.scope)
}

// Start implements Manager: it returns when the agent says that it serves.
func (m *systemd) Start(ctx context.Context) (bool, error) {
	st, err := m.installed(ctx)
	if err != nil || st.State == Running {
		return false, err
	}
	_, err = m.ctl(ctx, append([]string{"start"}, m.units()...)...)
	return true, err
}

// Stop implements Manager: the socket goes too, or the next call would start the agent again.
func (m *systemd) Stop(ctx context.Context) (bool, error) {
	st, err := m.installed(ctx)
	if err != nil {
		return false, err
	}
	_, err = m.ctl(ctx, append([]string{"stop"}, m.units()...)...)
	return st.State != Stopped, err
}

// Restart implements Manager.
func (m *systemd) Restart(ctx context.Context) error {
	if _, err := m.installed(ctx); err != nil {
		return err
	}
	if m.scope == System {
		if _, err := m.ctl(ctx, "start", socketUnitName); err != nil {
			return err
		}
	}
	_, err := m.ctl(ctx, "restart", serviceUnitName)
	return err
}

// Status implements Manager.
func (m *systemd) Status(ctx context.Context) (Status, error) {
	st := Status{Manager: "systemd", Scope: m.scope, State: NotInstalled, Path: path.Join(m.dir(), serviceUnitName)}
	r, err := m.ctl(ctx, "show", "--timestamp=unix",
		"--property=LoadState,ActiveState,SubState,UnitFileState,MainPID,FragmentPath,StateChangeTimestamp,StatusText,Result,ExecStart", serviceUnitName)
	if err != nil {
		return st, err
	}
	p := properties(r.Stdout)
	if p["LoadState"] == "not-found" || p["LoadState"] == "" {
		return st, nil
	}
	st.Installed, st.State = true, systemdState(p["ActiveState"], p["SubState"])
	st.Enabled = strings.HasPrefix(p["UnitFileState"], "enabled")
	st.PID, _ = strconv.Atoi(p["MainPID"]) // 0 when there is none
	if f := p["FragmentPath"]; f != "" {
		st.Path = f
	}
	st.Packaged = strings.HasPrefix(st.Path, "/lib/") || strings.HasPrefix(st.Path, "/usr/")
	st.Program = execStartPath(p["ExecStart"])
	if s, ok := strings.CutPrefix(p["StateChangeTimestamp"], "@"); ok {
		if sec, err := strconv.ParseInt(s, 10, 64); err == nil {
			st.Since = time.Unix(sec, 0).UTC()
		}
	}
	st.Detail = p["StatusText"]
	if res := p["Result"]; st.State == Failed || res != "" && res != "success" && st.State != Running {
		st.Detail = "the last run ended with: " + res
	}
	return st, nil
}

// properties reads the KEY=VALUE lines of systemctl show.
func properties(out string) map[string]string {
	p := map[string]string{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok {
			p[k] = v
		}
	}
	return p
}

// execStartPath reads the path out of "{ path=/usr/bin/warp-svc ; argv[]=... }".
func execStartPath(s string) string {
	_, s, ok := strings.Cut(s, "path=")
	if !ok {
		return ""
	}
	s, _, _ = strings.Cut(s, " ; ")
	return s
}

func systemdState(active, sub string) State {
	switch active {
	case "active", "reloading", "refreshing":
		return Running
	case "activating":
		if sub == "auto-restart" {
			return Failed
		}
		return Starting
	case "deactivating":
		return Stopping
	case "failed":
		return Failed
	default:
		return Stopped
	}
}

// installedFor is what Start, Stop and Restart ask first.
func installedFor(ctx context.Context, m Manager, h *Host, scope Scope) (Status, error) {
	st, err := m.Status(ctx)
	if err != nil {
		return st, err
	}
	if !st.Installed {
		return st, ErrNotInstalled
	}
	return st, h.need(scope)
}
