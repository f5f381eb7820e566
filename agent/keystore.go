package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/zalando/go-keyring"

	"weft/agent/statefile"
	"weft/api"
	"weft/tunnel"
)

// EnvKeyStore set to "file" keeps the secrets in a file although there is a keyring.
const EnvKeyStore = "WEFT_KEYSTORE"

// Names of the places where secrets are kept.
const (
	keyStoreKeyring = "keyring"
	keyStoreFile    = "file"
)

const (
	keyringService = "weft"
	secretsFile    = "secrets.json"
	// keyringDeadline bounds a call of the keyring: a locked one may show a dialog that
	// nobody sees, and would hang the agent for ever.
	keyringDeadline = 2 * time.Second
)

// KeyStore is a keyring: what github.com/zalando/go-keyring offers. Its methods may
// hang; the agent gives each call two seconds.
type KeyStore interface {
	Get(service, user string) (string, error)
	Set(service, user, password string) error
	Delete(service, user string) error
}

// errNoKeyring means that this process has no keyring to talk to.
var errNoKeyring = errors.New("no keyring is available to this process")

// osKeyring is the keyring of the user's session.
type osKeyring struct{}

func (osKeyring) Get(service, user string) (string, error) {
	if err := keyringAvailable(); err != nil {
		return "", err
	}
	return keyring.Get(service, user)
}

func (osKeyring) Set(service, user, password string) error {
	if err := keyringAvailable(); err != nil {
		return err
	}
	return keyring.Set(service, user, password)
}

func (osKeyring) Delete(service, user string) error {
	if err := keyringAvailable(); err != nil {
		return err
	}
	return keyring.Delete(service, user)
}

// secrets are what must not be read by others.
type secrets struct {
	PrivateKey tunnel.PrivateKey
	// NextKey is one that the device was changing to; zero: none.
	NextKey tunnel.PrivateKey
	Token   api.Secret
}

// secretsWire is their form at rest: the types of secrets redact themselves.
type secretsWire struct {
	PrivateKey string `json:"private_key"`
	NextKey    string `json:"next_private_key,omitempty"`
	Token      string `json:"token"`
}

func (s secrets) encode() secretsWire {
	w := secretsWire{PrivateKey: s.PrivateKey.Base64(), Token: string(s.Token)}
	if !s.NextKey.IsZero() {
		w.NextKey = s.NextKey.Base64()
	}
	return w
}

func (w secretsWire) decode() (secrets, error) {
	k, err := tunnel.ParsePrivateKey(w.PrivateKey)
	if err != nil {
		return secrets{}, err
	}
	var next tunnel.PrivateKey
	if w.NextKey != "" {
		if next, err = tunnel.ParsePrivateKey(w.NextKey); err != nil {
			return secrets{}, err
		}
	}
	if w.Token == "" {
		return secrets{}, errors.New("the device token is missing")
	}
	return secrets{PrivateKey: k, NextKey: next, Token: api.Secret(w.Token)}, nil
}

// vault keeps the secrets in the keyring, or in a file when that cannot be had.
type vault struct {
	ring      KeyStore
	user      string // the entry in the keyring: one per state directory
	dir       *statefile.Dir
	forceFile bool
	deadline  time.Duration
	stuck     atomic.Bool // a call has not come back
}

func newVault(ring KeyStore, dir *statefile.Dir, forceFile bool) (*vault, error) {
	if ring == nil {
		ring = osKeyring{}
	}
	abs, err := filepath.Abs(dir.Path())
	if err != nil {
		return nil, fmt.Errorf("name the keyring entry: %w", err)
	}
	sum := sha256.Sum256([]byte(abs))
	return &vault{
		ring: ring, user: "device-" + hex.EncodeToString(sum[:8]), dir: dir,
		forceFile: forceFile, deadline: keyringDeadline,
	}, nil
}

// save returns where the secrets are now, and why it is not the keyring.
func (v *vault) save(ctx context.Context, s secrets) (saved, error) {
	why := EnvKeyStore + "=file is set"
	if !v.forceFile {
		err := v.saveRing(ctx, s)
		if err == nil {
			return saved{store: keyStoreKeyring}, v.dir.Remove(secretsFile)
		}
		why = err.Error()
	}
	return saved{store: keyStoreFile, why: why}, v.dir.Write(secretsFile, s.encode())
}

// saved says where secrets were put, and why not in the keyring.
type saved struct{ store, why string }

// saveRing writes, and reads back what it wrote.
func (v *vault) saveRing(ctx context.Context, s secrets) error {
	b, err := json.Marshal(s.encode())
	if err != nil {
		return err
	}
	if _, err := v.call(ctx, func() (string, error) { return "", v.ring.Set(keyringService, v.user, string(b)) }); err != nil {
		return err
	}
	got, err := v.call(ctx, func() (string, error) { return v.ring.Get(keyringService, v.user) })
	if err != nil {
		return err
	}
	if got != string(b) {
		return errors.New("the keyring does not return what was stored in it")
	}
	return nil
}

// load reads the secrets from where they were saved.
func (v *vault) load(ctx context.Context, store string) (secrets, error) {
	var w secretsWire
	switch store {
	case keyStoreKeyring:
		text, err := v.call(ctx, func() (string, error) { return v.ring.Get(keyringService, v.user) })
		if err != nil {
			return secrets{}, fmt.Errorf("read the device's key from the keyring: %w", err)
		}
		if err := json.Unmarshal([]byte(text), &w); err != nil {
			return secrets{}, errors.New("read the device's key from the keyring: the entry is damaged")
		}
	case keyStoreFile:
		if err := v.dir.Read(secretsFile, &w); err != nil {
			return secrets{}, fmt.Errorf("read the device's key: %w", err)
		}
	default:
		return secrets{}, fmt.Errorf("read the device's key: unknown key store %q", store)
	}
	s, err := w.decode()
	if err != nil {
		return secrets{}, fmt.Errorf("read the device's key: %w", err)
	}
	return s, nil
}

// wipe deletes the secrets from both places. A keyring that does not answer is an
// error only if the secrets are there.
func (v *vault) wipe(ctx context.Context, store string) error {
	err := v.dir.Remove(secretsFile)
	if store != keyStoreKeyring {
		return err
	}
	_, ringErr := v.call(ctx, func() (string, error) { return "", v.ring.Delete(keyringService, v.user) })
	if ringErr != nil && !errors.Is(ringErr, keyring.ErrNotFound) {
		err = errors.Join(err, fmt.Errorf("delete the device's key from the keyring: %w", ringErr))
	}
	return err
}

// call runs f with a deadline. A call that does not come back keeps its goroutine,
// and all further calls fail until it does: at most one can be stuck.
func (v *vault) call(ctx context.Context, f func() (string, error)) (string, error) {
	if !v.stuck.CompareAndSwap(false, true) {
		return "", errors.New("the keyring has not answered an earlier question")
	}
	type answer struct {
		text string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := f()
		v.stuck.Store(false) // before the answer, or the next call would be refused
		done <- answer{text, err}
	}()
	t := time.NewTimer(v.deadline)
	defer t.Stop()
	select {
	case a := <-done:
		return a.text, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	case <-t.C:
		return "", fmt.Errorf("the keyring did not answer within %s", v.deadline)
	}
}

// keyringAvailable says no where asking would start programs: on Unix the keyring is
// reached over the session's D-Bus, and the library would launch one.
func keyringAvailable() error {
	if !keyringNeedsBus || os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return nil
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return errNoKeyring
	}
	if _, err := os.Stat(filepath.Join(dir, "bus")); errors.Is(err, fs.ErrNotExist) {
		return errNoKeyring
	}
	return nil
}
