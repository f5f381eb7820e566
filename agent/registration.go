package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"runtime"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/api"
	"weft/internal/kind"
	"weft/tunnel"
	"weft/vnet"
)

// Names in the state directory.
const (
	registrationFile = "registration.json"
	settingsFile     = "settings.json"
	stateFile        = "state.json"
)

// Deadlines of calls to control.
const (
	enrolTimeout      = 30 * time.Second
	unregisterTimeout = 5 * time.Second
)

// registration is what the agent keeps of an enrolment; the secrets are in the vault.
type registration struct {
	AccountID     string    `json:"account_id"`
	DeviceID      string    `json:"device_id"`
	Email         string    `json:"email"`
	ControlURL    string    `json:"control_url"`
	CAPEM         string    `json:"ca_pem,omitempty"`
	CAFingerprint string    `json:"ca_fingerprint,omitempty"`
	PublicKey     string    `json:"public_key"`
	KeyStore      string    `json:"key_store"`
	RegisteredAt  time.Time `json:"registered_at"`
}

// settings are what the user chose, kept over restarts.
type settings struct {
	// Connect is whether the tunnel should be up.
	Connect bool    `json:"connect"`
	VNET    vnet.ID `json:"vnet,omitempty"`
	// ResumeAt ends a timed pause, in UTC; zero: there is none.
	ResumeAt time.Time `json:"resume_at,omitzero"`
}

// client talks to the control plane of this registration.
func (r *registration) client(token api.Secret, version string) (*api.Client, error) {
	cfg := api.ClientConfig{BaseURL: r.ControlURL, Token: token, UserAgent: "warp-svc/" + version}
	switch {
	case r.CAPEM != "":
		cfg.Roots = x509.NewCertPool()
		if !cfg.Roots.AppendCertsFromPEM([]byte(r.CAPEM)) {
			return nil, errors.New("the control plane's certificate authority cannot be read")
		}
	case r.CAFingerprint != "":
		cfg.CAFingerprint = r.CAFingerprint
	}
	return api.NewClient(cfg)
}

// load reads what is on disk. A damaged registration is an error that the user must
// see; damaged settings or state are not worth refusing to start.
func (a *Agent) load(ctx context.Context) error {
	var r registration
	err := a.dir.Read(registrationFile, &r)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return kind.New(kind.Invalid, "the registration in %s is damaged", a.dir.Path()).
			WithHint("remove %s and register again", registrationFile).WithCause(err)
	}
	a.reg = &r
	if err := a.dir.Read(settingsFile, &a.settings); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.WarnContext(ctx, "read settings", "error", err)
	}
	if a.locked() {
		a.settings.Connect, a.settings.ResumeAt = true, time.Time{}
	}
	var c cachedState
	switch err := a.dir.Read(stateFile, &c); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		a.log.WarnContext(ctx, "read cached state", "error", err)
	case c.State != nil:
		a.lastContact.Store(c.ContactAt.UnixNano())
		a.setView(newView(c.Revision, c.State, false))
	}
	if r.KeyStore == keyStoreFile {
		a.noticeFile("")
	}
	a.status.set(localapi.Disconnected, localapi.ReasonStarting, "")
	return nil
}

// noticeFile announces that the key is in a file.
func (a *Agent) noticeFile(why string) {
	if why != "" {
		why = " (" + why + ")"
	}
	a.status.notice(noticeKeyStore, "the device's key is kept in a file in "+a.dir.Path()+" that only this user can read, not in the system's keyring"+why)
}

// Register enrols this device with an enrolment string.
func (a *Agent) Register(ctx context.Context, enrolment string) (localapi.Registration, error) {
	e, err := api.ParseEnrolmentString(enrolment)
	if err != nil {
		return localapi.Registration{}, fault.New(localapi.CodeEnrolmentInvalid, "the enrolment string is malformed: %s", fault.From(err).Message).
			WithHint("copy it whole, with its beginning \"weft1.\", from where your administrator gave it").WithCause(err)
	}
	a.regMu.Lock()
	defer a.regMu.Unlock()
	if r := a.registration(); r != nil {
		return localapi.Registration{}, fault.New(localapi.CodeAlreadyRegistered, "this device is registered already, for %s", r.Email).
			WithHint("run: warp-cli registration delete")
	}
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	r, sec, err := a.enrol(ctx, e)
	if err != nil {
		return localapi.Registration{}, enrolFault(err)
	}
	// From here on control has a device: it must be kept, or given back.
	ctx = context.WithoutCancel(ctx)
	where, err := a.vault.save(ctx, sec)
	r.KeyStore = where.store
	set := settings{Connect: a.locked()}
	if err == nil {
		err = a.dir.Write(settingsFile, set)
	}
	if err == nil {
		err = a.dir.Write(registrationFile, r)
	}
	if err != nil {
		return localapi.Registration{}, errors.Join(fmt.Errorf("keep the registration: %w", err), a.giveBack(ctx, r, sec))
	}
	if where.store == keyStoreFile {
		a.noticeFile(where.why)
	}
	a.mu.Lock()
	a.reg, a.settings = r, set
	a.mu.Unlock()
	a.status.set(localapi.Disconnected, localapi.ReasonManual, "")
	a.log.InfoContext(ctx, "device registered", "device_id", r.DeviceID, "key_store", r.KeyStore)
	a.wakeManager()
	return r.wire(), nil
}

// enrol makes a key and registers its public half.
func (a *Agent) enrol(ctx context.Context, e api.EnrolmentString) (*registration, secrets, error) {
	r := &registration{ControlURL: e.ControlURL, CAFingerprint: e.CAFingerprint}
	c, err := r.client("", a.cfg.Version)
	if err != nil {
		return nil, secrets{}, err
	}
	defer c.Close()
	key, err := tunnel.NewPrivateKey()
	if err != nil {
		return nil, secrets{}, err
	}
	resp, err := c.Enrol(ctx, api.EnrolRequest{
		Key: string(e.Key), DeviceName: a.cfg.DeviceName, OS: runtime.GOOS,
		Version: a.cfg.Version, PublicKey: key.Public().String(),
	})
	if err != nil {
		return nil, secrets{}, err
	}
	if resp.Token == "" || resp.DeviceID == "" {
		return nil, secrets{}, kind.New(kind.Unavailable, "the control plane's answer to the enrolment is incomplete")
	}
	r.AccountID, r.DeviceID, r.Email = resp.AccountID, resp.DeviceID, resp.Email
	r.CAPEM, r.PublicKey, r.RegisteredAt = resp.CAPEM, key.Public().String(), time.Now().UTC()
	return r, secrets{PrivateKey: key, Token: api.Secret(resp.Token)}, nil
}

// enrolFault tells apart what the user can do about a failed enrolment.
func enrolFault(err error) error {
	f := fault.From(err)
	switch kind.Of(err) {
	case kind.Unauthenticated, kind.Denied, kind.NotFound, kind.Conflict, kind.Limit:
		return fault.New(localapi.CodeEnrolmentRefused, "the control plane refused the enrolment string: %s", f.Message).
			WithHint("it may be expired, used up or revoked: ask your administrator for a fresh one").WithCause(err)
	case kind.Invalid:
		return fault.New(localapi.CodeEnrolmentInvalid, "the enrolment cannot be used: %s", f.Message).
			WithHint("ask your administrator for a fresh enrolment string").WithCause(err)
	case kind.Unavailable, kind.Timeout:
		hint := f.Hint
		if hint == "" {
			hint = "check the network and try again: the enrolment string was not used up"
		}
		return fault.New(string(kind.Unavailable), "%s", f.Message).WithHint("%s", hint).WithCause(err)
	default:
		return fmt.Errorf("enrol: %w", err)
	}
}

// giveBack removes a device from control whose registration could not be kept.
func (a *Agent) giveBack(ctx context.Context, r *registration, s secrets) error {
	return errors.Join(a.tellControl(ctx, r, s.Token), a.vault.wipe(ctx, r.KeyStore))
}

// tellControl ends the registration at control, within a deadline.
func (a *Agent) tellControl(ctx context.Context, r *registration, token api.Secret) error {
	ctx, cancel := context.WithTimeout(ctx, unregisterTimeout)
	defer cancel()
	c, err := r.client(token, a.cfg.Version)
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.Do(ctx, http.MethodDelete, api.PathAgentSelf, nil, nil)
	if kind.Is(err, kind.Unauthenticated) || kind.Is(err, kind.NotFound) {
		return nil // control does not know the device any more: that was the purpose
	}
	if err != nil {
		return fmt.Errorf("end the registration at control: %w", err)
	}
	return nil
}

// Unregister ends the registration: control is told if it answers within five
// seconds, the keys are wiped in any case.
func (a *Agent) Unregister(ctx context.Context) error {
	a.regMu.Lock()
	defer a.regMu.Unlock()
	r := a.registration()
	if r == nil {
		return errNotRegistered()
	}
	if err := a.MayUnregister(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // half a deletion is worse than none
	told := a.unregisterAtControl(ctx, r)
	a.mu.Lock()
	s := a.session
	a.reg, a.settings = nil, settings{}
	a.mu.Unlock()
	if s != nil {
		s.stop()
	}
	err := errors.Join(
		a.dir.Remove(registrationFile), a.dir.Remove(stateFile), a.dir.Remove(settingsFile), a.vault.wipe(ctx, r.KeyStore))
	a.setView(nil)
	a.lastContact.Store(0)
	a.status.withdraw(noticeKeyStore, noticeRevoked)
	a.status.set(localapi.Unregistered, localapi.ReasonNeverRegistered, "")
	if told != nil {
		a.log.WarnContext(ctx, "control was not told of the end of the registration", "device_id", r.DeviceID, "error", told)
		a.status.notice(noticeControlNotTold, "control did not hear that this device was removed: ask your administrator to revoke device "+r.DeviceID)
	}
	if err != nil {
		return fmt.Errorf("forget the registration: %w", err)
	}
	return nil
}

func (a *Agent) unregisterAtControl(ctx context.Context, r *registration) error {
	sec, err := a.vault.load(ctx, r.KeyStore)
	if err != nil {
		return err
	}
	return a.tellControl(ctx, r, sec.Token)
}

func (a *Agent) registration() *registration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reg
}

// Registration returns this device's registration.
func (a *Agent) Registration() (localapi.Registration, error) {
	r := a.registration()
	if r == nil {
		return localapi.Registration{}, errNotRegistered()
	}
	return r.wire(), nil
}

func (r *registration) wire() localapi.Registration {
	return localapi.Registration{
		SchemaVersion: localapi.SchemaVersion,
		AccountID:     r.AccountID, DeviceID: r.DeviceID, Email: r.Email, ControlURL: r.ControlURL,
		PublicKey: r.PublicKey, KeyStore: r.KeyStore, RegisteredAt: r.RegisteredAt,
	}
}

func errNotRegistered() *fault.Error {
	return fault.New(localapi.CodeNotRegistered, "this device is not registered").
		WithHint("run: warp-cli registration new ENROLMENT")
}
