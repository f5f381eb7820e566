package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/zalando/go-keyring"

	"weft/agent/statefile"
)

// What package host needs of an agent that it runs among others.

// Resumes reports whether dir holds a registration whose tunnel was up when the agent ended.
func Resumes(dir string) bool {
	if !HasRegistration(dir) {
		return false
	}
	b, err := os.ReadFile(filepath.Join(dir, settingsFile))
	if err != nil {
		return false
	}
	var s settings
	return json.Unmarshal(b, &s) == nil && s.Connect
}

// HasRegistration reports whether dir holds a registration, or might: what cannot be looked at counts.
func HasRegistration(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, registrationFile))
	return !errors.Is(err, fs.ErrNotExist)
}

// Idle reports whether nothing is lost if the agent is ended and started again at its next use: no tunnel is wanted,
// no flow is open, nobody follows its events.
func (a *Agent) Idle() bool {
	if a.wantsConnection() {
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

// Connects reports whether the tunnel is up or wanted.
func (a *Agent) Connects() bool { return a.registration() != nil && a.wantsConnection() }

// Present sets what the status says beside the agent's own state: the profile's name (empty: the only one), and where
// the proxy leads to this agent (empty: nowhere).
func (a *Agent) Present(profile, proxyAddress string) {
	b := &a.status
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.profile == profile && b.proxy == proxyAddress {
		return
	}
	b.profile, b.proxy = profile, proxyAddress
	b.tellLocked(changedStatus)
}

// Forget wipes the secrets of a state directory that no agent uses: what Unregister could not, or what is left when
// the registration cannot be read.
func Forget(ctx context.Context, dir *statefile.Dir, ring KeyStore) error {
	v, err := newVault(ring, dir, false)
	if err != nil {
		return err
	}
	var r registration
	switch err := dir.Read(registrationFile, &r); {
	case errors.Is(err, fs.ErrNotExist):
		return v.wipe(ctx, keyStoreFile)
	case err != nil:
		// Where the key is cannot be known. A keyring that this process cannot reach did not take it either.
		err := v.wipe(ctx, keyStoreKeyring)
		if errors.Is(err, errNoKeyring) || errors.Is(err, keyring.ErrUnsupportedPlatform) {
			err = nil
		}
		return errors.Join(err, dir.Remove(registrationFile))
	}
	if err := v.wipe(ctx, r.KeyStore); err != nil {
		return fmt.Errorf("wipe the device's key: %w", err)
	}
	return dir.Remove(registrationFile)
}
