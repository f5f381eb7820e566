package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"weft/agent/forward"
	"weft/agent/localapi"
	"weft/agent/mdm"
	"weft/agent/statefile"
	"weft/internal/localsock"
)

// What package host needs of an agent that it runs among others.

// Owner returns whose agent this is.
func (a *Agent) Owner() (localsock.Caller, error) {
	if a.cfg.Owner != nil {
		return *a.cfg.Owner, nil
	}
	me, err := localsock.Self()
	if err != nil {
		return me, fmt.Errorf("read own identity: %w", err)
	}
	return me, nil
}

// ForAnother reports whether the process acts for another account than its own. Then it must not make files, sockets or
// low ports where that account says: it would lend its own rights. What cannot be told counts as yes.
func (a *Agent) ForAnother() bool {
	me, err := localsock.Self()
	return err != nil || a.cfg.Owner != nil && !a.cfg.Owner.SameUser(me)
}

// Resumes reports whether dir holds a registration whose agent must run though nobody asks for it: its tunnel was up when
// it ended, a pause of it has an end, or it keeps forwards, which listen without a tunnel too.
func Resumes(dir string) bool {
	if !HasRegistration(dir) {
		return false
	}
	if forward.Kept(dir) {
		return true
	}
	b, err := os.ReadFile(filepath.Join(dir, settingsFile))
	if err != nil {
		return false
	}
	var s settings
	return json.Unmarshal(b, &s) == nil && (s.Connect || !s.ResumeAt.IsZero())
}

// Locked reports whether the administrator's file wants the tunnel of every registration up. One that cannot be read
// keeps the agents from starting at all.
func (cfg Config) Locked() bool {
	p, _, err := mdm.Load(cfg.ManagedPaths())
	return err == nil && p != nil && p.SwitchLocked != nil && *p.SwitchLocked
}

// MayUnregister refuses to end a registration that the administrator has locked.
func (a *Agent) MayUnregister() error {
	if a.registration() != nil && a.locked() {
		return errLocked("end this registration")
	}
	return nil
}

// HasRegistration reports whether dir holds a registration, or might: what cannot be looked at counts.
func HasRegistration(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, registrationFile))
	return !errors.Is(err, fs.ErrNotExist)
}

// Idle reports whether nothing is lost if the agent is ended and started again at its next use: no tunnel is wanted, now
// or at the end of a pause, no forward listens, no flow is open, no enrolment is due, nobody follows its events.
func (a *Agent) Idle() bool {
	// In this order: an enrolment ends by asking for the tunnel.
	if a.enrolmentDue() || a.enrolling.Load() || a.willConnect() {
		return false
	}
	if m := a.forwards.Load(); m != nil && len(m.List()) > 0 {
		return false
	}
	if open, _, _ := a.flows.count(); open > 0 {
		return false
	}
	b := &a.status
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs) == 0
}

// willConnect reports whether the tunnel is wanted, now or at the end of a pause.
func (a *Agent) willConnect() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settings.Connect || !a.settings.ResumeAt.IsZero()
}

// Connects reports whether the tunnel is up or wanted.
func (a *Agent) Connects() bool { return a.registration() != nil && a.wantsConnection() }

// SetProfile sets the name of the profile that the status shows; empty: it is the only one.
func (a *Agent) SetProfile(name string) {
	b := &a.status
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.profile != name {
		b.profile = name
		b.tellLocked(changedStatus)
	}
}

// SetProxyAddress sets where the status says that the proxy leads to this agent; empty: nowhere.
func (a *Agent) SetProxyAddress(addr string) {
	b := &a.status
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.proxy != addr {
		b.proxy = addr
		b.tellLocked(changedStatus)
	}
}

// ReadRegistration returns what a state directory that no agent uses says of its registration.
func ReadRegistration(dir string) (localapi.Registration, bool) {
	b, err := os.ReadFile(filepath.Join(dir, registrationFile))
	if err != nil {
		return localapi.Registration{}, false
	}
	var r registration
	if err := json.Unmarshal(b, &r); err != nil {
		return localapi.Registration{}, false
	}
	return r.wire(), true
}

// Forget wipes the secrets of a state directory that no agent uses. That a keyring fails matters only when the key is
// there for all that is known.
func Forget(ctx context.Context, dir *statefile.Dir, cfg Config) error {
	v, err := newVault(cfg.KeyStore, dir, cfg.ForceFile)
	if err != nil {
		return err
	}
	r, known := ReadRegistration(dir.Path())
	inRing := known && r.KeyStore == keyStoreKeyring || !known && HasRegistration(dir.Path())
	where := keyStoreKeyring
	if !inRing && cfg.ForceFile {
		where = keyStoreFile
	}
	err = v.wipe(ctx, where)
	if !inRing || errors.Is(err, errNoKeyring) {
		err = dir.Remove(secretsFile)
	}
	return errors.Join(err, dir.Remove(registrationFile))
}
