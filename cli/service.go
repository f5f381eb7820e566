package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/agent/localapi"
	"weft/agent/localapi/client"
	"weft/cli/render"
	"weft/internal/kind"
	"weft/internal/service"
)

// Codes of the service command.
const (
	codeNoService      = "service_not_installed"
	codeNoManager      = "service_manager_missing"
	codeServiceManager = "service_manager_failed"
)

// serviceStatus is what `service status` prints.
type serviceStatus struct {
	SchemaVersion int        `json:"schema_version"`
	Manager       string     `json:"manager"` // "systemd", "openrc", "launchd", "windows", "run-key"
	Scope         string     `json:"scope"`   // "system", "user"
	State         string     `json:"state"`   // "not_installed", "stopped", "starting", "running", "stopping", "failed"
	Installed     bool       `json:"installed"`
	Enabled       bool       `json:"enabled"`
	Running       bool       `json:"running"`
	PID           int        `json:"pid"` // 0: none, or not known
	Path          string     `json:"path"`
	Program       string     `json:"program"`
	Since         *time.Time `json:"since"` // null: not known
	Detail        string     `json:"detail"`
	Packaged      bool       `json:"packaged"`
}

// serviceDone is what the other verbs print.
type serviceDone struct {
	SchemaVersion int           `json:"schema_version"`
	Action        string        `json:"action"`
	Changed       bool          `json:"changed"`
	Service       serviceStatus `json:"service"`
}

// serviceOptions are the flags of the service commands.
type serviceOptions struct {
	user        bool
	now         bool
	program     string
	proxyListen string
}

func (o *serviceOptions) scope() service.Scope {
	if o.user {
		return service.User
	}
	return service.System
}

// serviceAction does one verb and reports whether anything changed.
type serviceAction func(ctx context.Context, m service.Manager) (changed bool, err error)

func newService(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Let this system run the agent: install, start, stop, status",
		Long: `Makes the agent (warp-svc) a service of this system: systemd or OpenRC on Linux, launchd on macOS,
the service control manager on Windows. With --user it is a service of yours alone, runs while you are
logged in, and needs no privilege. Each verb can be repeated: what is already so stays so.`,
		Example: `  warp-cli service install --user --now
  sudo warp-cli service install && sudo warp-cli service start
  warp-cli service status`,
	}
	group(cmd)
	cmd.AddCommand(
		a.serviceInstall(),
		a.serviceVerb("uninstall", "Stop the service and remove it; registration and keys stay",
			`Stops the service and takes its definition away. Registration, keys and settings stay where they are, so
that an installation begins where this one ended. What a package installed is for the package manager.`,
			func(ctx context.Context, m service.Manager) (bool, error) { return m.Uninstall(ctx) }),
		a.serviceVerb("start", "Start the service",
			"Starts the service unless it runs. What the agent does from then on is in warp-cli status.",
			func(ctx context.Context, m service.Manager) (bool, error) { return m.Start(ctx) }),
		a.serviceVerb("stop", "Stop the service; it starts again with the system",
			`Stops the service: the tunnel and all connections through it end. It starts again with the system (with
--user: when you log in), unless it is uninstalled.`,
			func(ctx context.Context, m service.Manager) (bool, error) { return m.Stop(ctx) }),
		a.serviceVerb("restart", "Stop the service if it runs, and start it",
			"Stops the service where it runs, and starts it: what was upgraded or set counts from then on.",
			func(ctx context.Context, m service.Manager) (bool, error) { return true, m.Restart(ctx) }),
		a.serviceStatusCommand(),
	)
	return cmd
}

func (o *serviceOptions) addUser(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.user, "user", false, "the service of this user, which needs no privilege")
}

func (a *app) serviceInstall() *cobra.Command {
	var o serviceOptions
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Let this system run the agent",
		Long: `Defines the service and lets it start with the system (with --user: when you log in). For a service of
the system the program must be where only an administrator can replace it.`,
		Example: `  warp-cli service install --user --now
  sudo warp-cli service install --program /usr/local/bin/warp-svc`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.serviceDo(cmd.Context(), &o, "install", func(ctx context.Context, m service.Manager) (bool, error) {
				spec, err := a.serviceSpec(&o)
				if err != nil {
					return false, err
				}
				changed, err := m.Install(ctx, spec)
				if err != nil || !o.now {
					return changed, err
				}
				started, err := m.Start(ctx)
				return changed || started, err
			})
		},
	}
	o.addUser(cmd)
	cmd.Flags().BoolVar(&o.now, "now", false, "start it too")
	cmd.Flags().StringVar(&o.program, "program", "", "`path` of warp-svc (default: beside warp-cli, else in PATH)")
	cmd.Flags().StringVar(&o.proxyListen, "proxy-listen", "", "`address` of the proxies, or off (default: that of warp-svc)")
	return cmd
}

func (a *app) serviceVerb(verb, short, long string, do serviceAction) *cobra.Command {
	var o serviceOptions
	cmd := &cobra.Command{
		Use:     verb,
		Short:   short,
		Long:    long,
		Example: "  warp-cli service " + verb + " --user\n  sudo warp-cli service " + verb,
		Args:    args(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.serviceDo(cmd.Context(), &o, verb, do) },
	}
	o.addUser(cmd)
	return cmd
}

func (a *app) serviceStatusCommand() *cobra.Command {
	var o serviceOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether the service is installed, enabled and running",
		Long: `Shows what the system says of the service: whether it is installed, starts by itself and runs, since
when, and from which program and definition. It needs no agent and no privilege; what the agent itself says
is in warp-cli status.`,
		Example: `  warp-cli service status
  warp-cli service status --user --json`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := a.serviceManager(&o)
			if err != nil {
				return a.serviceError(err, &o, "status")
			}
			st, err := m.Status(cmd.Context())
			if err != nil {
				return a.serviceError(err, &o, "status")
			}
			return a.print(wireService(st), func(w io.Writer, style render.Style) error { return render.Service(w, style, st) })
		},
	}
	o.addUser(cmd)
	return cmd
}

func (a *app) serviceManager(o *serviceOptions) (service.Manager, error) {
	if a.cfg.Host != nil {
		return service.New(*a.cfg.Host, o.scope())
	}
	h, err := service.ThisHost()
	if err != nil {
		return nil, fmt.Errorf("look at this system: %w", err)
	}
	return service.New(h, o.scope())
}

// serviceDo runs one verb and prints what came of it.
func (a *app) serviceDo(ctx context.Context, o *serviceOptions, verb string, do serviceAction) error {
	m, err := a.serviceManager(o)
	if err != nil {
		return a.serviceError(err, o, verb)
	}
	changed, err := do(ctx, m)
	if err != nil {
		return a.serviceError(err, o, verb)
	}
	st, err := m.Status(ctx)
	if err != nil {
		return a.serviceError(err, o, verb)
	}
	done := serviceDone{SchemaVersion: localapi.SchemaVersion, Action: verb, Changed: changed, Service: wireService(st)}
	return a.print(done, func(w io.Writer, style render.Style) error {
		if err := success(w, style, serviceSentence(verb, changed)); err != nil {
			return err
		}
		return render.Service(w, style, st)
	})
}

func serviceSentence(verb string, changed bool) string {
	if !changed {
		return map[string]string{
			"install": "The service was installed already", "uninstall": "There was no service to remove",
			"start": "The service was running already", "stop": "The service was not running",
		}[verb]
	}
	return map[string]string{
		"install": "The service is installed", "uninstall": "The service is removed; registration and keys stay",
		"start": "The service is started", "stop": "The service is stopped", "restart": "The service is started again",
	}[verb]
}

func wireService(st service.Status) serviceStatus {
	w := serviceStatus{
		SchemaVersion: localapi.SchemaVersion, Manager: st.Manager, Scope: string(st.Scope), State: string(st.State),
		Installed: st.Installed, Enabled: st.Enabled, Running: st.State == service.Running, PID: st.PID,
		Path: st.Path, Program: st.Program, Detail: st.Detail, Packaged: st.Packaged,
	}
	if !st.Since.IsZero() {
		w.Since = &st.Since
	}
	return w
}

// serviceSpec finds the program and checks the options.
func (a *app) serviceSpec(o *serviceOptions) (service.Spec, error) {
	if strings.ContainsFunc(o.proxyListen, func(r rune) bool { return !strings.ContainsRune(plainChars+"[]", r) }) {
		return service.Spec{}, usageError("--proxy-listen %q is no address", o.proxyListen)
	}
	program := o.program
	if program == "" {
		var err error
		if program, err = a.findService(); err != nil {
			return service.Spec{}, err
		}
	}
	abs, err := filepath.Abs(program)
	if err != nil {
		return service.Spec{}, fmt.Errorf("find warp-svc: %w", err)
	}
	return service.Spec{Program: abs, ProxyListen: o.proxyListen}, nil
}

// findService looks beside this program, where packages and archives put it, then in PATH.
func (a *app) findService() (string, error) {
	name := service.Name
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	self, err := a.self()
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	if beside := filepath.Join(filepath.Dir(self), name); isFile(beside) {
		return beside, nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", usageErrorHint("name it with --program PATH", "warp-svc is neither beside warp-cli nor in PATH")
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// serviceError says in the words of the command line what a manager reported.
func (a *app) serviceError(err error, o *serviceOptions, verb string) error {
	if _, ok := errors.AsType[*client.Error](err); ok || errors.Is(err, context.Canceled) {
		return err
	}
	e := &client.Error{Code: string(kind.Internal), Message: fmt.Sprintf("service %s: %v", verb, err), Err: err}
	switch {
	case errors.Is(err, service.ErrPermission):
		e.Code = localapi.CodePermission
		e.Message = fmt.Sprintf("service %s needs an administrator: it is a service of the whole system", verb)
		e.Hint = a.elevated() + "\nor, for yourself alone: warp-cli service " + verb + " --user"
		if o.user {
			e.Message, e.Hint = fmt.Sprintf("service %s --user: %v", verb, err), "check who owns the files that it names"
		}
	case errors.Is(err, service.ErrNotInstalled):
		e.Code, e.Message, e.Hint = codeNoService, "the agent is not installed as a service", "warp-cli service install"
		if o.user {
			e.Message, e.Hint = "the agent is not installed as a service of this user", "warp-cli service install --user"
		}
	case errors.Is(err, service.ErrNoManager):
		e.Code = codeNoManager
		e.Hint = "run the agent yourself: warp-svc run"
	case errors.Is(err, service.ErrUnsafeProgram):
		e.Code = string(kind.Invalid)
		e.Hint = "put the programs where only an administrator may write, such as /usr/local/bin, and name them with --program\n" +
			"or run it as a service of yours alone: warp-cli service install --user"
	case errors.Is(err, service.ErrPackaged):
		e.Code = string(kind.Conflict)
	case errors.Is(err, fs.ErrNotExist):
		e.Code, e.Hint = string(kind.NotFound), "name warp-svc with --program PATH"
	default:
		if _, ok := errors.AsType[*service.CommandError](err); ok {
			e.Code = codeServiceManager
		}
	}
	return e
}

// elevated is this very command line with the right to do it.
func (a *app) elevated() string {
	self, err := a.self()
	if err != nil || !filepath.IsAbs(self) {
		self = "warp-cli"
	}
	words := append([]string{self}, a.cfg.Args...)
	for i, w := range words {
		q, err := quoteFor(runtime.GOOS, w)
		if err != nil {
			q = "..." // what cannot be written cannot be pasted either
		}
		words[i] = q
	}
	line := strings.Join(words, " ")
	if runtime.GOOS == "windows" {
		return "in a terminal opened as administrator, run: " + line
	}
	return "run: sudo " + line
}
