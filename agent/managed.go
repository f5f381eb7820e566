package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/mdm"
	"weft/internal/kind"
)

// enrolRetry is how long an enrolment that the administrator asked for waits after a failure that may pass.
const enrolRetry = 30 * time.Second

// managedFile is the administrator's file as it was read; immutable.
type managedFile struct {
	policy *mdm.Policy // nil: there is no file
	path   string
	at     time.Time
}

func (a *Agent) managedPaths() []string { return a.cfg.ManagedPaths() }

// ManagedPaths are where the administrator's settings are looked for.
func (cfg *Config) ManagedPaths() []string {
	if cfg.ManagedFiles != nil {
		return cfg.ManagedFiles
	}
	return mdm.Paths()
}

// loadManaged reads the administrator's file. A file that cannot be read or understood is an error: to go on without it
// would free what it locks.
func (a *Agent) loadManaged() error {
	p, path, err := mdm.Load(a.managedPaths())
	if err != nil {
		return kind.New(kind.Invalid, "the managed settings %s cannot be used", path).
			WithHint("ask your administrator to mend the file: %s", err).WithCause(err)
	}
	a.policy.Store(&managedFile{policy: p, path: path, at: time.Now().UTC()})
	return nil
}

// ManagedConfig implements server.Agent.
func (a *Agent) ManagedConfig() localapi.ManagedConfig {
	c := localapi.ManagedConfig{
		SchemaVersion: localapi.SchemaVersion, Searched: append([]string{}, a.managedPaths()...),
		Settings: []localapi.ManagedSetting{}, Ignored: []string{},
	}
	m := a.policy.Load()
	if m == nil {
		return c
	}
	c.LoadedAt = m.at
	if m.policy == nil {
		return c
	}
	c.Path = m.path
	for _, v := range m.policy.Values {
		c.Settings = append(c.Settings, localapi.ManagedSetting{Key: v.Key, Value: v.Value})
	}
	c.Ignored = append(c.Ignored, m.policy.Ignored...)
	return c
}

// RefreshManaged implements server.Agent: it reads the file again and does what it says, and so do the other agents of
// the service: the file is the machine's. A file that cannot be read or understood leaves what was in force.
func (a *Agent) RefreshManaged(ctx context.Context) (localapi.ManagedConfig, error) {
	if err := a.ReloadManaged(ctx); err != nil {
		f := fault.From(err)
		return localapi.ManagedConfig{}, f.WithHint("%s; what was in force before stays so", f.Hint)
	}
	if a.cfg.ManagedChanged != nil {
		a.cfg.ManagedChanged(ctx)
	}
	return a.ManagedConfig(), nil
}

// ReloadManaged is RefreshManaged for this agent alone. What the file says is in force afterwards even where a port
// cannot be had, since anybody can occupy it: then there is no proxy, which a notice says.
func (a *Agent) ReloadManaged(ctx context.Context) error {
	if err := a.loadManaged(); err != nil {
		return err
	}
	if err := a.changePreferences(ctx, func(*preferences) {}); err != nil {
		a.stopProxy(ctx, err)
	}
	return a.followManaged(ctx)
}

// followManaged does what the file that was just read asks for beside the proxy.
func (a *Agent) followManaged(ctx context.Context) error {
	if a.locked() && a.registration() != nil {
		if err := a.changeSettings(func(s *settings) { s.Connect, s.ResumeAt = true, time.Time{} }); err != nil {
			return err
		}
	}
	select {
	case a.enrolKick <- struct{}{}:
	default:
	}
	a.log.InfoContext(ctx, "managed settings read", "path", a.policy.Load().path)
	return nil
}

// SetManagedConfig implements server.Agent: it puts the file in place, whole or not at all. The caller is privileged.
func (a *Agent) SetManagedConfig(ctx context.Context, content string) (localapi.ManagedConfig, error) {
	p, err := mdm.Parse([]byte(content))
	if err != nil {
		return localapi.ManagedConfig{}, fault.New(string(kind.Invalid), "the managed settings are malformed: %s", err).
			WithHint("see the example in: warp-cli mdm set-config --help")
	}
	if p.Enrolment != "" { // every user's agent must be able to read the file
		return localapi.ManagedConfig{}, fault.New(string(kind.Invalid), "the file holds an enrolment string, and every user of this machine can read it").
			WithHint("put the string into a file of its own that only root may read, and name that in enrolment_file")
	}
	paths := a.managedPaths()
	path := paths[0]
	if m := a.policy.Load(); m != nil && m.path != "" {
		path = m.path
	}
	if err := replaceFile(path, []byte(content)); err != nil {
		return localapi.ManagedConfig{}, fault.New(localapi.CodePermission, "the managed settings %s cannot be written", path).
			WithHint("the agent must run as a service to manage this machine; or put the file there yourself and run: warp-cli mdm refresh").WithCause(err)
	}
	return a.RefreshManaged(ctx)
}

// replaceFile writes a file, whole or not at all, that everybody may read and only its owner write.
func replaceFile(path string, b []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".mdm-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			if rerr := os.Remove(f.Name()); !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}()
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// enrolManaged registers this device as the administrator's file says, when it is not registered, until ctx ends. In a
// service of many users that is the session of the service's own account.
func (a *Agent) enrolManaged(ctx context.Context) error {
	for {
		var retry <-chan time.Time
		if a.tryManaged(ctx) {
			retry = time.After(enrolRetry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-retry:
		case <-a.enrolKick:
		}
	}
}

// enrolmentDue reports whether this device is to be registered as the administrator's file says, and is not yet. Whoever
// asks the service for a status must not become whom the administrator enrols.
func (a *Agent) enrolmentDue() bool {
	return a.managed().Enrols() && a.registration() == nil && !a.ForAnother()
}

// tryManaged reports whether another attempt may succeed.
func (a *Agent) tryManaged(ctx context.Context) (again bool) {
	if !a.enrolmentDue() {
		return false
	}
	a.enrolling.Store(true)
	defer a.enrolling.Store(false)
	enrolment, err := a.managed().ReadEnrolment()
	if err == nil {
		_, err = a.Register(ctx, enrolment)
	}
	if err == nil {
		err = a.changeSettings(func(s *settings) { s.Connect = true })
	}
	if err == nil || ctx.Err() != nil {
		return false
	}
	f := fault.From(err)
	a.log.WarnContext(ctx, "enrol as managed", "code", f.Code, "error", f.Message)
	a.status.notice(noticeManaged, "this device could not be registered as your administrator asked: "+f.Message)
	return f.Code == string(kind.Unavailable) || f.Code == localapi.CodeTimeout
}
