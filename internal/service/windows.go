package service

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// SCM is Windows' service control manager for one service. Errors satisfy ErrNotInstalled and ErrPermission where they
// mean that.
type SCM interface {
	// Set creates the service or makes it be as c says.
	Set(c SCMConfig) (changed bool, err error)
	// Delete removes the service, which has stopped.
	Delete() error
	Start() error
	// Stop asks the service to stop; it returns at once.
	Stop() error
	Query() (SCMState, error)
}

// SCMConfig is a service as Windows keeps it.
type SCMConfig struct {
	DisplayName, Description string
	// CommandLine is the quoted program and its arguments.
	CommandLine string
	// RestartDelays are the recovery actions: how long after the first, second, ... failure it starts again; the last one
	// is for all further ones. ResetAfter without a failure they begin anew.
	RestartDelays []time.Duration
	ResetAfter    time.Duration
	// Privileges that the service keeps; all others are taken from it.
	Privileges []string
}

// SCMState is what the manager says of the service.
type SCMState struct {
	State       State
	PID         int
	Automatic   bool // it starts by itself
	CommandLine string
	ExitCode    uint32
}

// RunKey is the part of the registry whose programs start when the user logs in, and the programs of that user.
type RunKey interface {
	// Get returns "" when there is no value.
	Get() (commandLine string, err error)
	Set(commandLine string) error
	Delete() error
	// Find returns the process of this user that runs program, 0: none, and since when.
	Find(program string) (pid int, since time.Time, err error)
	// Start starts a command line without a window, so that it outlives its parent.
	Start(commandLine string) error
	// Stop asks the agent to end; false means that none waits for the question.
	Stop() (bool, error)
}

// recoveryDelays grow so that a crash is hardly noticed and a fault that stays costs little.
var recoveryDelays = []time.Duration{
	time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
}

// recoveryReset is how long the service must have run for the delays to begin anew.
const recoveryReset = 10 * time.Minute

// servicePrivileges: impersonation names the caller of the pipe, the other two every process has.
var servicePrivileges = []string{"SeChangeNotifyPrivilege", "SeCreateGlobalPrivilege", "SeImpersonatePrivilege"}

// stopTimeout is how long a stop is waited for.
const stopTimeout = 30 * time.Second

// windowsService is the service of the machine. It runs as LocalSystem, since only a privileged account may make the
// pipe whose name others cannot take first, with the privileges above only.
type windowsService struct{ h Host }

var _ Manager = (*windowsService)(nil)

const registryPath = `HKLM\SYSTEM\CurrentControlSet\Services\` + Name

func (m *windowsService) config(s Spec) SCMConfig {
	dir := m.h.Getenv("ProgramData")
	if dir == "" {
		dir = `C:\ProgramData`
	}
	args := []string{s.Program, "run", "--log-file", dir + `\weft\` + Name + ".log"}
	if s.ProxyListen != "" {
		args = append(args, "--proxy-listen", s.ProxyListen)
	}
	return SCMConfig{
		DisplayName: "Weft agent", Description: "Keeps this device's tunnel and serves warp-cli and proxies.",
		CommandLine: windowsCommandLine(args), RestartDelays: recoveryDelays, ResetAfter: recoveryReset, Privileges: servicePrivileges,
	}
}

// Install implements Manager.
func (m *windowsService) Install(_ context.Context, s Spec) (bool, error) {
	if err := m.h.need(System); err != nil {
		return false, err
	}
	if err := m.h.checkProgram(s, System); err != nil {
		return false, err
	}
	if err := m.checkFolder(s.Program); err != nil {
		return false, err
	}
	return m.h.SCM.Set(m.config(s))
}

// checkFolder wants the program where only administrators may write. Access control lists could say so of other folders
// too; these two are those of which it is known.
func (m *windowsService) checkFolder(program string) error {
	for _, name := range []string{"ProgramFiles", "SystemRoot"} {
		if dir := m.h.Getenv(name); dir != "" && strings.HasPrefix(folded(program), folded(dir)+`\`) {
			return nil
		}
	}
	return fmt.Errorf("%s is not below %%ProgramFiles%%: %w", program, ErrUnsafeProgram)
}

// folded is how Windows compares paths, nearly.
func folded(path string) string {
	return strings.ToLower(strings.ReplaceAll(filepath.Clean(path), "/", `\`))
}

// Uninstall implements Manager.
func (m *windowsService) Uninstall(ctx context.Context) (bool, error) {
	st, err := m.Status(ctx)
	if err != nil || !st.Installed {
		return false, err
	}
	if err := m.h.need(System); err != nil {
		return false, err
	}
	if _, err := m.Stop(ctx); err != nil {
		return false, err
	}
	return true, m.h.SCM.Delete()
}

// Start implements Manager: it returns when the service runs.
func (m *windowsService) Start(ctx context.Context) (bool, error) {
	st, err := installedFor(ctx, m, &m.h, System)
	if err != nil || st.State == Running {
		return false, err
	}
	if st.State != Starting {
		if err := m.h.SCM.Start(); err != nil {
			return false, err
		}
	}
	return true, m.wait(ctx, Running)
}

// Stop implements Manager: it returns when the service has stopped.
func (m *windowsService) Stop(ctx context.Context) (bool, error) {
	st, err := installedFor(ctx, m, &m.h, System)
	if err != nil || st.State == Stopped || st.State == Failed {
		return false, err
	}
	if st.State != Stopping {
		if err := m.h.SCM.Stop(); err != nil {
			return false, err
		}
	}
	return true, m.wait(ctx, Stopped)
}

// wait polls: the control manager has no event for it before Windows 8, and the question is cheap.
func (m *windowsService) wait(ctx context.Context, want State) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	return poll(ctx, func() (bool, error) {
		st, err := m.h.SCM.Query()
		switch {
		case err != nil:
			return false, err
		case st.State == want || want == Stopped && st.State == Failed:
			return true, nil
		case want == Running && (st.State == Stopped || st.State == Failed):
			return false, fmt.Errorf("the service ended with exit code %d; its log says why", st.ExitCode)
		}
		return false, nil
	})
}

// poll asks every 100 ms until it is done, fails, or ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the service: %w", ctx.Err())
		case <-t.C:
		}
	}
}

// Restart implements Manager.
func (m *windowsService) Restart(ctx context.Context) error {
	if _, err := m.Stop(ctx); err != nil {
		return err
	}
	_, err := m.Start(ctx)
	return err
}

// Status implements Manager.
func (m *windowsService) Status(context.Context) (Status, error) {
	st := Status{Manager: "windows", Scope: System, State: NotInstalled, Path: registryPath}
	q, err := m.h.SCM.Query()
	if err != nil {
		if isNotInstalled(err) {
			err = nil
		}
		return st, err
	}
	st.Installed, st.State, st.PID, st.Enabled = true, q.State, q.PID, q.Automatic
	st.Program = firstWord(q.CommandLine)
	if q.State == Failed {
		st.Detail = fmt.Sprintf("the last run ended with exit code %d", q.ExitCode)
	}
	return st, nil
}

// windowsCommandLine quotes words as CommandLineToArgvW reads them (Microsoft Learn). The first word is always quoted: an
// unquoted path with spaces would let others put a program in front of it.
func windowsCommandLine(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		if i > 0 && w != "" && !strings.ContainsAny(w, " \t\"") {
			b.WriteString(w)
			continue
		}
		b.WriteByte('"')
		slashes := 0
		for _, r := range w {
			switch r {
			case '\\':
				slashes++
				continue
			case '"':
				b.WriteString(strings.Repeat(`\`, 2*slashes+1))
			default:
				b.WriteString(strings.Repeat(`\`, slashes))
			}
			slashes = 0
			b.WriteRune(r)
		}
		b.WriteString(strings.Repeat(`\`, 2*slashes) + `"`)
	}
	return b.String()
}

// firstWord is the program of a command line that windowsCommandLine made.
func firstWord(line string) string {
	if rest, ok := strings.CutPrefix(line, `"`); ok {
		word, _, _ := strings.Cut(rest, `"`)
		return word
	}
	word, _, _ := strings.Cut(line, " ")
	return word
}
