package service

import (
	"context"
	_ "embed" // the property list
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

//go:embed unit/launchd.plist
var launchdPlist string

const launchdLabel = "weft." + Name

// launchd speaks launchctl(1): a daemon for the machine, an agent for one user. A job that
// is kept alive can only be stopped by unloading it, so stopped means not loaded.
type launchd struct {
	h     Host
	scope Scope
}

var _ Manager = (*launchd)(nil)

func (m *launchd) path() string {
	if m.scope == System {
		return "/Library/LaunchDaemons/" + launchdLabel + ".plist"
	}
	return path.Join(m.h.Home, "Library/LaunchAgents", launchdLabel+".plist")
}

func (m *launchd) domain() string {
	if m.scope == System {
		return "system"
	}
	return "gui/" + strconv.Itoa(m.h.UID)
}

func (m *launchd) target() string { return m.domain() + "/" + launchdLabel }

// logFile is where the agent writes, and rotates, its log: launchd keeps none.
func (m *launchd) logFile() string {
	if m.scope == System {
		return "/Library/Logs/weft/" + Name + ".log"
	}
	return path.Join(m.h.Home, "Library/Logs/weft", Name+".log")
}

func (m *launchd) plist(s Spec) string {
	// Control characters are no XML; no path of a program has any.
	args := []string{s.Program, "run", "--log-file", m.logFile()}
	if s.ProxyListen != "" {
		args = append(args, "--proxy-listen", s.ProxyListen)
	}
	var b strings.Builder
	for _, a := range args {
		b.WriteString("\t\t<string>" + escapeXML.Replace(a) + "</string>\n")
	}
	return strings.Replace(launchdPlist, "@ARGUMENTS@", b.String(), 1)
}

// Install implements Manager.
func (m *launchd) Install(ctx context.Context, s Spec) (bool, error) {
	if err := m.h.need(m.scope); err != nil {
		return false, err
	}
	if err := m.h.checkProgram(s, m.scope); err != nil {
		return false, err
	}
	changed, err := m.h.writeFile(m.path(), m.plist(s), 0o644)
	if err != nil {
		return false, err
	}
	if enabled, err := m.enabled(ctx); err != nil || enabled {
		return changed, err
	}
	_, err = m.h.run(ctx, "launchctl", "enable", m.target())
	return true, err
}

// enabled is true unless somebody disabled the job: launchctl lists what was ever switched, as "label" => disabled
// (older systems: true).
func (m *launchd) enabled(ctx context.Context) (bool, error) {
	r, err := m.h.run(ctx, "launchctl", "print-disabled", m.domain())
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(r.Stdout) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if ok && strings.Trim(name, `"`) == launchdLabel {
			return value == "enabled" || value == "false", nil
		}
	}
	return true, nil
}

// Uninstall implements Manager.
func (m *launchd) Uninstall(ctx context.Context) (bool, error) {
	st, err := m.Status(ctx)
	if err != nil || !st.Installed {
		return false, err
	}
	if err := m.h.need(m.scope); err != nil {
		return false, err
	}
	if st.State != Stopped {
		if _, err := m.h.run(ctx, "launchctl", "bootout", m.target()); err != nil {
			return false, err
		}
	}
	return m.h.removeFile(m.path())
}

// Start implements Manager.
func (m *launchd) Start(ctx context.Context) (bool, error) {
	st, err := installedFor(ctx, m, &m.h, m.scope)
	if err != nil || st.State == Running {
		return false, err
	}
	if st.State == Stopped {
		if !st.Enabled { // bootstrap refuses a disabled job
			if _, err := m.h.run(ctx, "launchctl", "enable", m.target()); err != nil {
				return false, err
			}
		}
		_, err = m.h.run(ctx, "launchctl", "bootstrap", m.domain(), m.h.path(m.path()))
	} else {
		_, err = m.h.run(ctx, "launchctl", "kickstart", m.target())
	}
	return true, err
}

// Stop implements Manager.
func (m *launchd) Stop(ctx context.Context) (bool, error) {
	st, err := installedFor(ctx, m, &m.h, m.scope)
	if err != nil || st.State == Stopped {
		return false, err
	}
	_, err = m.h.run(ctx, "launchctl", "bootout", m.target())
	return true, err
}

// Restart implements Manager. A changed property list counts only after unloading.
func (m *launchd) Restart(ctx context.Context) error {
	if _, err := m.Stop(ctx); err != nil {
		return err
	}
	_, err := m.Start(ctx)
	return err
}

// Status implements Manager. The output of launchctl print is for people and is all there is; of it only
// "state = running", "pid = N" and "last exit code = N" are read, and their absence is no error.
func (m *launchd) Status(ctx context.Context) (Status, error) {
	st := Status{Manager: "launchd", Scope: m.scope, State: NotInstalled, Path: m.path()}
	b, err := os.ReadFile(m.h.path(m.path()))
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return st, permission(err)
	}
	st.Installed, st.State, st.Program = true, Stopped, plistProgram(b)
	if st.Enabled, err = m.enabled(ctx); err != nil {
		return st, err
	}
	r, err := m.h.Runner.Run(ctx, "launchctl", "print", m.target())
	if err != nil {
		return st, fmt.Errorf("run launchctl: %w", err)
	}
	if r.Code != 0 {
		return st, nil // not loaded
	}
	st.State = Starting
	for line := range strings.Lines(r.Stdout) {
		// The job's own properties stand one tab deep.
		if !strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "\t\t") {
			continue
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		switch key {
		case "state":
			if value == "running" {
				st.State = Running
			}
		case "pid":
			st.PID, _ = strconv.Atoi(value) // 0 when it is no number
		case "last exit code":
			if value != "(never exited)" && value != "0" {
				st.Detail = "the last run ended with exit code " + value
			}
		}
	}
	if st.State == Starting && st.Detail != "" {
		st.State = Failed
	}
	return st, nil
}

// Text in XML and back: XML 1.0 section 2.4.
var (
	escapeXML   = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	unescapeXML = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
)

// plistProgram returns the first of ProgramArguments in a property list that Install wrote; empty if it is another.
func plistProgram(b []byte) string {
	_, rest, _ := strings.Cut(string(b), "<key>ProgramArguments</key>")
	_, rest, _ = strings.Cut(rest, "<string>")
	program, _, ok := strings.Cut(rest, "</string>")
	if !ok {
		return ""
	}
	return unescapeXML.Replace(program)
}
