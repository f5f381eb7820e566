package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/api"
	"weft/internal/kind"
	"weft/tunnel"
)

const (
	rekeyTimeout   = 20 * time.Second       // of a whole change of the key
	rekeyHandshake = 4 * time.Second        // for the new key's first handshake
	rekeyLook      = 5 * time.Millisecond   // between looks at whether it has come
	rekeyAgain     = 250 * time.Millisecond // between handshakes: the gateway may hear of the key a moment later
)

// RotateKeys implements server.Agent: it gives the device another WireGuard key. Flows live on. See api.AgentKey for the
// order; the old key is in force until the gateway has shaken hands with the new one, and after a failure at any point
// exactly one of the two is, which control names in the state (see chooseKey).
func (a *Agent) RotateKeys(ctx context.Context) (localapi.KeyRotation, error) {
	a.regMu.Lock()
	defer a.regMu.Unlock()
	begun := time.Now()
	a.mu.Lock()
	r, s := a.reg, a.session
	a.mu.Unlock()
	p := a.plane.Load()
	state, _, _, _ := a.status.current()
	switch {
	case r == nil:
		return localapi.KeyRotation{}, errNotRegistered()
	case s == nil || p == nil || state != localapi.Connected:
		return localapi.KeyRotation{}, a.notConnected()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rekeyTimeout) // half a change is worse than a late one
	defer cancel()
	k, err := a.changeKey(ctx, r, s, p.link)
	if err != nil {
		return localapi.KeyRotation{}, err
	}
	k.FlowsKept, _, _ = a.flows.count()
	k.TookMS = float64(time.Since(begun).Microseconds()) / 1000
	a.log.InfoContext(ctx, "device key changed", "public_key", k.NewPublicKey, "flows_kept", k.FlowsKept)
	return k, nil
}

func (a *Agent) changeKey(ctx context.Context, r *registration, s *session, l *link) (localapi.KeyRotation, error) {
	sec := *s.secrets.Load()
	next, err := tunnel.NewPrivateKey()
	if err != nil {
		return localapi.KeyRotation{}, err
	}
	client, err := r.client(sec.Token, a.cfg.Version)
	if err != nil {
		return localapi.KeyRotation{}, err
	}
	defer client.Close()
	offered := sec
	offered.NextKey = next
	if err := a.keepSecrets(ctx, offered); err != nil { // before anybody hears of the key
		return localapi.KeyRotation{}, fmt.Errorf("keep the new key: %w", err)
	}
	s.secrets.Store(&offered)
	if _, err := client.ChangeKey(ctx, api.AgentKey{PublicKey: next.Public().String()}); err != nil {
		return localapi.KeyRotation{}, rekeyFault("offer the new key to the control plane", err)
	}
	s.rekeying.Store(true)
	defer func() {
		s.rekeying.Store(false)
		s.look()
	}()
	if err := l.tryKey(ctx, next); err != nil {
		return localapi.KeyRotation{}, errors.Join(rekeyFault("shake hands with the new key", err), l.setKey(sec.PrivateKey))
	}
	if _, err := client.ChangeKey(ctx, api.AgentKey{PublicKey: next.Public().String(), Confirm: true}); err != nil {
		// Whether control has heard is not known: the old key is tried, and its next state says which one holds.
		return localapi.KeyRotation{}, errors.Join(rekeyFault("confirm the new key to the control plane", err), l.setKey(sec.PrivateKey))
	}
	l.mon.Check()
	if err := a.adoptKey(ctx, s, next); err != nil {
		return localapi.KeyRotation{}, err
	}
	return localapi.KeyRotation{
		SchemaVersion: localapi.SchemaVersion, OldPublicKey: sec.PrivateKey.Public().String(), NewPublicKey: next.Public().String(),
	}, nil
}

// rekeyFault says that the old key stays, and why.
func rekeyFault(doing string, err error) error {
	f := fault.From(err)
	if f.Code == string(kind.Internal) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fault.New(f.Code, "the key was not changed: could not %s: %s", doing, f.Message).
		WithHint("the old key stays in force; try again").WithCause(err)
}

// adoptKey makes next the device's only key, here.
func (a *Agent) adoptKey(ctx context.Context, s *session, next tunnel.PrivateKey) error {
	sec := *s.secrets.Load()
	sec.PrivateKey, sec.NextKey = next, tunnel.PrivateKey{}
	if err := a.keepSecrets(ctx, sec); err != nil {
		return fmt.Errorf("keep the new key: %w", err)
	}
	s.secrets.Store(&sec)
	return nil
}

// keepSecrets writes the secrets, then the registration that says where they are and which key is in force.
func (a *Agent) keepSecrets(ctx context.Context, sec secrets) error {
	where, err := a.vault.save(ctx, sec)
	if err != nil {
		return err
	}
	old := a.registration()
	if old == nil {
		return errNotRegistered()
	}
	r := *old
	r.PublicKey, r.KeyStore = sec.PrivateKey.Public().String(), where.store
	if err := a.dir.Write(registrationFile, r); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reg == old { // else it has ended meanwhile, and its files are about to be removed
		a.reg = &r
	}
	return nil
}

// chooseKey returns the key that control has for this device: after a change that was cut short, it may be either.
func chooseKey(sec *secrets, public string) tunnel.PrivateKey {
	if !sec.NextKey.IsZero() && public == sec.NextKey.Public().String() {
		return sec.NextKey
	}
	return sec.PrivateKey
}

// followKey makes the link use the key that control names, and keeps no other.
func (s *session) followKey(ctx context.Context, v *view, l *link) {
	sec := s.secrets.Load()
	key := chooseKey(sec, v.state.Self.PublicKey)
	if s.rekeying.Load() {
		return
	}
	if l.tun.PublicKey() != key.Public() {
		s.a.log.InfoContext(ctx, "control names another key of this device", "public_key", key.Public())
		if err := l.setKey(key); err != nil {
			s.a.log.ErrorContext(ctx, "change key", "error", err)
		}
	}
	if key == sec.NextKey {
		if err := s.a.adoptKey(ctx, s, key); err != nil {
			s.a.log.ErrorContext(ctx, "keep the key that control names", "error", err)
		}
	}
}

// setKey changes the key of the tunnel and has the link checked.
func (l *link) setKey(k tunnel.PrivateKey) error {
	if err := l.tun.SetPrivateKey(k); err != nil {
		return err
	}
	l.mon.GatewayRestarted() // the sessions are gone: shake hands again, and again
	return nil
}

// tryKey changes the key and waits for its first handshake. The liveness monitor goes on probing meanwhile.
func (l *link) tryKey(ctx context.Context, k tunnel.PrivateKey) error {
	ctx, cancel := context.WithTimeout(ctx, rekeyHandshake)
	defer cancel()
	begun := time.Now()
	if err := l.tun.SetPrivateKey(k); err != nil {
		return err
	}
	again := time.NewTicker(rekeyAgain)
	defer again.Stop()
	look := time.NewTicker(rekeyLook)
	defer look.Stop()
	if err := l.Handshake(); err != nil {
		return err
	}
	for {
		if s, ok := l.tun.PeerStats(l.peer()); ok && s.LastHandshake.After(begun) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(localapi.CodeTimeout, "the gateway does not answer the new key").WithCause(ctx.Err())
		case <-look.C:
		case <-again.C:
			if err := l.Handshake(); err != nil {
				return err
			}
		}
	}
}
