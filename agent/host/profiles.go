package host

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"weft/agent"
	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/localapi/server"
	"weft/internal/kind"
)

// Profiles implements server.Sessions. No session is started for it.
func (h *Host) Profiles(ctx context.Context, key string) (localapi.ProfileList, error) {
	ac, err := h.takeAccount(ctx, key)
	if err != nil {
		return localapi.ProfileList{}, err
	}
	defer h.giveAccount(ac)
	return h.profilesOf(ac), nil
}

func (h *Host) profilesOf(ac *account) localapi.ProfileList {
	list := localapi.ProfileList{SchemaVersion: localapi.SchemaVersion, Profiles: []localapi.Profile{}}
	x := h.indexOf(ac)
	for _, p := range x.Profiles {
		if a := h.runningAgent(sessionKey{ac.key, p.Dir}); a != nil {
			list.Profiles = append(list.Profiles, server.ProfileOf(a, p.Name, p.Name == x.Current))
			continue
		}
		list.Profiles = append(list.Profiles, asleep(ac.profileDir(p), p.Name, p.Name == x.Current))
	}
	slices.SortFunc(list.Profiles, func(a, b localapi.Profile) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// asleep describes a profile whose session does not run.
func asleep(dir, name string, current bool) localapi.Profile {
	p := localapi.Profile{Name: name, Current: current, State: localapi.Unregistered}
	if reg, ok := agent.ReadRegistration(dir); ok {
		p.State, p.Email, p.AccountID, p.ControlURL = localapi.Disconnected, reg.Email, reg.AccountID, reg.ControlURL
	}
	return p
}

func (h *Host) runningAgent(key sessionKey) *agent.Agent {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.sessions[key]; s != nil && !s.ending {
		return s.agent
	}
	return nil
}

// change runs f over an account whose index nobody else changes meanwhile, and answers with what there is then.
func (h *Host) change(ctx context.Context, key string, f func(*account) error) (localapi.ProfileList, error) {
	ac, err := h.takeAccount(ctx, key)
	if err != nil {
		return localapi.ProfileList{}, err
	}
	defer h.giveAccount(ac)
	ac.changing.Lock()
	defer ac.changing.Unlock()
	if err := f(ac); err != nil {
		return localapi.ProfileList{}, err
	}
	return h.profilesOf(ac), nil
}

// AddProfile implements server.Sessions.
func (h *Host) AddProfile(ctx context.Context, key, name string) (localapi.ProfileList, error) {
	return h.change(ctx, key, func(ac *account) error {
		x := h.indexOf(ac)
		if err := x.free(name); err != nil {
			return err
		}
		if len(x.Profiles) >= h.cfg.MaxProfiles {
			h.profilesRefused.Add(1)
			return fault.New(string(kind.Limit), "you have %d profiles already", len(x.Profiles)).
				WithHint("remove one with: warp-cli profile remove NAME")
		}
		dir, err := newDir()
		if err != nil {
			return err
		}
		return h.changeIndex(ac, func(x *index) { x.Profiles = append(x.Profiles, profile{Name: name, Dir: dir}) })
	})
}

// newDir names a directory that nothing was ever in: a removed profile's name may come back, its files must not.
func newDir() (string, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("name a profile's directory: %w", err)
	}
	return "p" + hex.EncodeToString(b[:]), nil
}

// free fails when the name is taken or is none.
func (x *index) free(name string) error {
	if !localapi.ValidProfileName(name) {
		return fault.New(string(kind.Invalid), "%q is no name of a profile", name)
	}
	if _, taken := x.find(name); taken {
		return fault.New(string(kind.Conflict), "there is a profile %s already", name).
			WithHint("to see them run: warp-cli profile list")
	}
	return nil
}

// UseProfile implements server.Sessions. Flows stay where they are; the proxy's new connections go to the new one.
func (h *Host) UseProfile(ctx context.Context, key, name string) (localapi.ProfileList, error) {
	return h.change(ctx, key, func(ac *account) error {
		if _, ok := h.indexOf(ac).find(name); !ok {
			return errUnknownProfile(name)
		}
		return h.changeIndex(ac, func(x *index) { x.Current = name })
	})
}

// RenameProfile implements server.Sessions. Directory, key and tunnel stay.
func (h *Host) RenameProfile(ctx context.Context, key, name, newName string) (localapi.ProfileList, error) {
	return h.change(ctx, key, func(ac *account) error {
		x := h.indexOf(ac)
		if _, ok := x.find(name); !ok {
			return errUnknownProfile(name)
		}
		if err := x.free(newName); err != nil {
			return err
		}
		return h.changeIndex(ac, func(x *index) {
			for i := range x.Profiles {
				if x.Profiles[i].Name == name {
					x.Profiles[i].Name = newName
				}
			}
			if x.Current == name {
				x.Current = newName
			}
		})
	})
}

// RemoveProfile implements server.Sessions: the registration is ended, the key wiped, the files removed. The last
// profile of an account makes place for an empty one.
func (h *Host) RemoveProfile(ctx context.Context, key, name string, force bool) (localapi.ProfileList, error) {
	return h.change(ctx, key, func(ac *account) error {
		p, ok := h.indexOf(ac).find(name)
		if !ok {
			return errUnknownProfile(name)
		}
		// What has begun is done whatever becomes of the caller: half a removal is worse than none.
		work := context.WithoutCancel(ctx)
		defer h.setRemoving(ac, "")
		if err := h.endRegistration(work, ac, p, force); err != nil {
			return err
		}
		h.endSession(ac, p)
		if err := h.wipe(work, ac, p); err != nil {
			if !force {
				return errNotWiped(name, err)
			}
			h.log.WarnContext(ctx, "a removed profile's key is left in the keyring", "user_id", key, "profile", name, "error", err)
		}
		if err := ac.clear(p); err != nil {
			return fmt.Errorf("remove profile %s: %w", name, err)
		}
		return h.changeIndex(ac, func(x *index) {
			x.Profiles = slices.DeleteFunc(x.Profiles, func(q profile) bool { return q.Dir == p.Dir })
			if x.Current == name && len(x.Profiles) > 0 {
				x.Current = x.Profiles[0].Name
			}
		})
	})
}

func errNotWiped(name string, err error) error {
	return fault.New(string(kind.Unavailable), "the key of profile %s could not be wiped", name).
		WithHint("unlock the keyring and try again, or run: warp-cli profile remove %s --force", name).WithCause(err)
}

// endRegistration unregisters a profile, unless it is connected and force is not set, and keeps others from using it from
// then on. A session that cannot start has nothing to tell control; its files are wiped like every other's.
func (h *Host) endRegistration(ctx context.Context, ac *account, p profile, force bool) error {
	key := ac.key
	s, err := h.acquire(ctx, key, p.Name)
	if err != nil {
		f := fault.From(err)
		if f.Code == string(kind.Limit) || f.Code == string(kind.Unavailable) {
			return err
		}
		h.log.WarnContext(ctx, "a profile is removed that cannot be started", "user_id", key, "profile", p.Name, "error", err)
		return nil
	}
	defer h.release(s)
	if s.agent.Connects() && !force {
		return fault.New(string(kind.Conflict), "profile %s is connected", p.Name).
			WithHint("run: warp-cli --profile %s disconnect\nor run: warp-cli profile remove %s --force", p.Name, p.Name)
	}
	if err := s.agent.MayUnregister(); err != nil {
		return err // whatever force says
	}
	h.setRemoving(ac, p.Dir)
	if err := s.agent.Unregister(ctx); err != nil && fault.From(err).Code != localapi.CodeNotRegistered {
		if !force {
			return errNotWiped(p.Name, err)
		}
		h.log.WarnContext(ctx, "unregister a profile that is removed", "user_id", key, "profile", p.Name, "error", err)
	}
	return nil
}

// endSession ends the session of a profile, whoever uses it, and waits for its end. None starts until setRemoving says so.
func (h *Host) endSession(ac *account, p profile) {
	h.mu.Lock()
	ac.removing = p.Dir
	s := h.sessions[sessionKey{ac.key, p.Dir}]
	if s != nil {
		s.ending = true
		s.cancel()
	}
	h.mu.Unlock()
	if s != nil {
		<-s.done
	}
}

// setRemoving keeps the profile of a directory from being used; empty: none.
func (h *Host) setRemoving(ac *account, dir string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ac.removing = dir
}

// wipe deletes a profile's secrets wherever they are.
func (h *Host) wipe(ctx context.Context, ac *account, p profile) error {
	path := ac.profileDir(p)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil // it was never used
	}
	if p.Dir == firstDir {
		return agent.Forget(ctx, ac.dir, h.cfg.Agent)
	}
	dir, err := agent.OpenStateDir(path)
	if err != nil {
		return err
	}
	return errors.Join(agent.Forget(ctx, dir, h.cfg.Agent), dir.Close())
}

// clear removes a profile's files. Those of the first profile lie beside what is the account's.
func (ac *account) clear(p profile) error {
	if p.Dir != firstDir {
		return os.RemoveAll(ac.profileDir(p))
	}
	entries, err := os.ReadDir(ac.path)
	if err != nil {
		return err
	}
	keep := []string{lockFile, indexFile, profilesDir, usersDir}
	for _, e := range entries {
		if slices.Contains(keep, e.Name()) || strings.HasPrefix(e.Name(), "."+indexFile) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(ac.path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Sessions implements server.Sessions.
func (h *Host) Sessions() localapi.SessionList {
	list := localapi.SessionList{
		SchemaVersion: localapi.SchemaVersion, Sessions: []localapi.Session{},
		MaxSessions: h.cfg.MaxSessions, Refused: h.sessionsRefused.Load(),
	}
	var agents []*agent.Agent
	h.mu.Lock()
	for _, s := range h.sessions {
		if s.agent == nil || s.ending {
			continue
		}
		row := localapi.Session{UserID: s.key.account, LastUsedAt: s.lastUse.UTC()}
		for _, p := range s.account.index.Profiles {
			if p.Dir == s.key.dir {
				row.Profile = p.Name
			}
		}
		list.Sessions = append(list.Sessions, row)
		agents = append(agents, s.agent)
	}
	h.mu.Unlock()
	for i, a := range agents {
		row, st := &list.Sessions[i], a.Status()
		row.State, row.Email, row.FlowsOpen = st.State, st.Email, a.Stats().FlowsOpen
		if u, err := user.LookupId(row.UserID); err == nil {
			row.User = u.Username
		}
	}
	slices.SortFunc(list.Sessions, func(a, b localapi.Session) int {
		return cmp.Or(cmp.Compare(len(a.UserID), len(b.UserID)), cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.Profile, b.Profile))
	})
	return list
}
