package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/agent"
	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/agent/statefile"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// Names in a state directory.
const (
	usersDir    = "users"    // of the service: other accounts
	profilesDir = "profiles" // of an account: profiles beside the first
	indexFile   = "profiles.json"
	lockFile    = "lock"
)

// firstDir is the directory of the profile that everybody has from the start: the account's own.
const firstDir = "."

// profile is one entry of an index. Dir never changes, so that a name can.
type profile struct {
	Name string `json:"name"`
	Dir  string `json:"dir"`
	// ProxyPort is the port of the profile's own proxy where ports cannot be shared; 0: none yet.
	ProxyPort uint16 `json:"proxy_port,omitempty"`
}

// index are the profiles of an account. It is immutable: a change makes another.
type index struct {
	Current  string    `json:"current"`
	Profiles []profile `json:"profiles"`
}

func defaultIndex() *index {
	return &index{
		Current:  localapi.DefaultProfile,
		Profiles: []profile{{Name: localapi.DefaultProfile, Dir: firstDir}},
	}
}

// check refuses what this package would not have written: a name or directory from elsewhere must not lead anywhere.
func (x *index) check() error {
	if len(x.Profiles) == 0 {
		return errors.New("no profile")
	}
	names, dirs := map[string]bool{}, map[string]bool{}
	for _, p := range x.Profiles {
		if !localapi.ValidProfileName(p.Name) || names[p.Name] {
			return fmt.Errorf("profile name %q", p.Name)
		}
		if !validDir(p.Dir) || dirs[p.Dir] {
			return fmt.Errorf("profile directory %q", p.Dir)
		}
		names[p.Name], dirs[p.Dir] = true, true
	}
	if !names[x.Current] {
		return fmt.Errorf("current profile %q", x.Current)
	}
	return nil
}

// validDir accepts "." and what newDir makes.
func validDir(s string) bool {
	return s == firstDir || len(s) == 9 && s[0] == 'p' && strings.Trim(s[1:], "0123456789abcdef") == ""
}

func (x *index) find(name string) (profile, bool) {
	if name == "" {
		name = x.Current
	}
	i := slices.IndexFunc(x.Profiles, func(p profile) bool { return p.Name == name })
	if i < 0 {
		return profile{}, false
	}
	return x.Profiles[i], true
}

// with returns a copy that change has worked on.
func (x *index) with(change func(*index)) *index {
	c := &index{Current: x.Current, Profiles: slices.Clone(x.Profiles)}
	change(c)
	return c
}

// account is an account of the operating system that has been here lately.
type account struct {
	key    string
	path   string
	shared bool           // dir is the service's own
	opened chan struct{}  // closed when dir and err are set
	closed chan struct{}  // closed when the account is gone
	dir    *statefile.Dir // open and locked
	err    error

	changing sync.Mutex // held over a change of the index, on disk and here

	// guarded by Host.mu
	index    *index
	uses     int
	lastUse  time.Time
	closing  bool
	removing string // directory of the profile that is being removed
}

// profileDir is where p keeps its state.
func (ac *account) profileDir(p profile) string {
	if p.Dir == firstDir {
		return ac.path
	}
	return filepath.Join(ac.path, profilesDir, p.Dir)
}

// open makes, locks and reads the account's directory.
func (ac *account) open(own *statefile.Dir) (*index, error) {
	dir := own
	if !ac.shared {
		var err error
		if dir, err = agent.OpenStateDir(ac.path); err != nil {
			return nil, err
		}
	}
	x := &index{}
	err := dir.Read(indexFile, x)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x = defaultIndex()
	case err == nil:
		err = x.check()
		fallthrough
	default:
		if err != nil {
			err = kind.New(kind.Invalid, "the list of profiles in %s is damaged", ac.path).
				WithHint("move %s away, and look for the profiles in %s", indexFile, profilesDir).WithCause(err)
			if !ac.shared {
				err = errors.Join(err, dir.Close())
			}
			return nil, err
		}
	}
	ac.dir = dir
	return x, nil
}

// close gives the directory up, and removes it when nothing was ever kept there.
func (ac *account) close() error {
	if ac.shared || ac.dir == nil {
		return nil
	}
	entries, err := os.ReadDir(ac.path)
	empty := err == nil && len(entries) == 1 && entries[0].Name() == lockFile
	err = ac.dir.Close()
	if empty {
		// The lock of the service's directory keeps every other process away.
		err = errors.Join(err, os.Remove(filepath.Join(ac.path, lockFile)), os.Remove(ac.path))
	}
	return err
}

// takeAccount returns the account, opened; giveAccount ends its use.
func (h *Host) takeAccount(ctx context.Context, key string) (*account, error) {
	if !localsock.ValidAccount(key) {
		return nil, fmt.Errorf("account %q is neither a uid nor a SID", key)
	}
	for {
		ac, fresh, err := h.accountFor(key)
		if errors.Is(err, errNoRoom) {
			if h.forgetAccount() || h.dropOldest(ctx, "") {
				continue
			}
			h.sessionsRefused.Add(1)
			err = errFull(h.cfg.MaxSessions)
		}
		if err != nil {
			return nil, err
		}
		if fresh {
			x, err := ac.open(h.dir)
			h.mu.Lock()
			ac.index, ac.err = x, err
			h.mu.Unlock()
			close(ac.opened)
		}
		select {
		case <-ac.opened:
		case <-ctx.Done():
			h.giveAccount(ac)
			return nil, ctx.Err()
		}
		h.mu.Lock()
		closing, err := ac.closing, ac.err
		if err != nil && h.accounts[key] == ac {
			delete(h.accounts, key) // the next one tries again
		}
		h.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case !closing:
			return ac, nil
		}
		select {
		case <-ac.closed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// accountFor finds the account, or makes one that the caller must open (fresh). Its use is counted unless it is closing.
func (h *Host) accountFor(key string) (ac *account, fresh bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.spawn == nil {
		return nil, false, fault.New(string(kind.Unavailable), "the agent is starting or ending")
	}
	if ac := h.accounts[key]; ac != nil {
		if !ac.closing {
			ac.uses++
		}
		return ac, false, nil
	}
	if len(h.accounts) >= h.cfg.MaxSessions {
		return nil, false, errNoRoom
	}
	ac = &account{key: key, path: h.cfg.Agent.StateDir, shared: true, opened: make(chan struct{}), closed: make(chan struct{}), uses: 1}
	if key != h.owner.Account() {
		ac.path, ac.shared = filepath.Join(h.cfg.Agent.StateDir, usersDir, key), false
	}
	h.accounts[key] = ac
	return ac, true, nil
}

// giveAccount ends a use.
func (h *Host) giveAccount(ac *account) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ac.uses--
	ac.lastUse = time.Now()
}

// forgetAccount makes room among the accounts: of those that nobody uses, it closes the one used longest ago. It reports
// whether there was one.
func (h *Host) forgetAccount() bool {
	var oldest *account
	h.mu.Lock()
	for _, ac := range h.accounts {
		if ac.uses == 0 && !ac.closing && (oldest == nil || ac.lastUse.Before(oldest.lastUse)) {
			oldest = ac
		}
	}
	if oldest != nil {
		oldest.closing = true
	}
	h.mu.Unlock()
	if oldest == nil {
		return false
	}
	h.closeAccount(oldest)
	return true
}

// closeAccount closes an account that has been marked as closing.
func (h *Host) closeAccount(ac *account) {
	if err := ac.close(); err != nil {
		h.log.Error("close account", "user_id", ac.key, "error", err)
	}
	h.mu.Lock()
	delete(h.accounts, ac.key)
	h.mu.Unlock()
	close(ac.closed)
}

// indexOf returns the profiles of an account as they are now.
func (h *Host) indexOf(ac *account) *index {
	h.mu.Lock()
	defer h.mu.Unlock()
	return ac.index
}

// changeIndex changes the profiles, first on disk. The caller holds ac.changing.
func (h *Host) changeIndex(ac *account, change func(*index)) error {
	next := h.indexOf(ac).with(change)
	if len(next.Profiles) == 0 {
		next = defaultIndex()
	}
	if err := next.check(); err != nil {
		return fmt.Errorf("change profiles: %w", err)
	}
	if err := ac.dir.Write(indexFile, next); err != nil {
		return err
	}
	h.mu.Lock()
	ac.index = next
	h.mu.Unlock()
	h.present(ac)
	return nil
}

func errFull(n int) error {
	return fault.New(string(kind.Limit), "more than %d sessions are in use on this machine", n).
		WithHint("an administrator can see them: warp-cli profile sessions")
}
