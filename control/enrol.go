package control

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

func (c *Control) createEnrolmentKey(ctx context.Context, q *call) (answer, error) {
	var in api.NewEnrolmentKey
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	if in.ServiceToken != nil {
		return c.serviceTokenEnrolment(ctx, q, in)
	}
	var k store.EnrolmentKey
	var secret string
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		k, secret, err = tx.CreateEnrolmentKey(ctx, in)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	expires, err := time.Parse(time.RFC3339, k.ExpiresAt)
	if err != nil {
		return answer{}, err
	}
	e := api.EnrolmentString{ControlURL: c.publicURL, CAFingerprint: c.certs.fingerprint(), Key: api.Secret(secret)}
	return answer{result: api.EnrolmentKey{ID: k.ID, Enrolment: e.Encode(), Email: k.Email, MaxUses: k.MaxUses, ExpiresAt: expires}}, nil
}

// serviceTokenEnrolment answers with the enrolment string of a service token, so that any agent can enrol by it.
func (c *Control) serviceTokenEnrolment(ctx context.Context, q *call, in api.NewEnrolmentKey) (answer, error) {
	pair := *in.ServiceToken
	in.ServiceToken = nil
	if in.Email != "" || in.Name != "" || len(in.Groups) > 0 || in.TTLSeconds != 0 || in.MaxUses != 0 {
		return answer{}, kind.Field("/service_token", "with a service token nothing else can be chosen: name, groups and duration are the token's")
	}
	var t api.ServiceToken
	var domain string
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		if t, err = tx.CheckServiceToken(ctx, pair.ClientID, string(pair.ClientSecret)); err != nil {
			return under("/service_token", err)
		}
		domain, err = c.authDomain(ctx, &tx.Reader)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	e := api.EnrolmentString{ControlURL: c.publicURL, CAFingerprint: c.certs.fingerprint(), Key: tokenKey(pair)}
	k := api.EnrolmentKey{ID: t.ID, Enrolment: e.Encode(), Email: store.TokenEmail(domain)}
	if t.ExpiresAt != nil {
		k.ExpiresAt, err = time.Parse(time.RFC3339, *t.ExpiresAt)
	}
	return answer{result: k}, err
}

// authEnrol comes before the body: the key is in it, so until then all that is known is the address.
func authEnrol(c *Control, _ context.Context, q *call) error {
	if !c.enrolments.allow(hostOf(q.addr), time.Now()) {
		return tooMany("too many enrolments")
	}
	return nil
}

func (c *Control) enrol(ctx context.Context, q *call) (answer, error) {
	var in api.EnrolRequest
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	key, err := parsePublicKey("/public_key", in.PublicKey)
	if err != nil {
		return answer{}, err
	}
	clientID, clientSecret, err := serviceTokenOf(q, in.Key)
	if err != nil {
		return answer{}, err
	}
	q.actor = q.as("enrolment", q.addr.String())
	var d store.Device
	var token string
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		n := store.NewDevice{Name: in.DeviceName, OS: in.OS, Version: in.Version, PublicKey: key, SourceIP: q.addr.String()}
		if clientID == "" {
			d, token, err = tx.Enrol(ctx, in.Key, n)
			return err
		}
		domain, err := c.authDomain(ctx, &tx.Reader)
		if err != nil {
			return err
		}
		d, token, err = tx.EnrolByServiceToken(ctx, clientID, clientSecret, domain, n)
		return err
	})
	if err != nil {
		return answer{}, errors.Join(err, c.refusedEnrolment(ctx, q, in.Key, clientID, clientSecret, err))
	}
	return answer{result: api.EnrolResponse{
		AccountID: c.AccountID(), DeviceID: d.ID, RegistrationID: d.RegistrationID, Token: token, Email: d.Email, CAPEM: string(c.CAPEM()),
	}}, nil
}

// refusedEnrolment records a refusal of one who was known.
func (c *Control) refusedEnrolment(ctx context.Context, q *call, key, clientID, clientSecret string, refusal error) error {
	k, ok := asKind(refusal)
	if !ok || k.Kind == kind.Unavailable || k.Kind == kind.Internal {
		return nil
	}
	return c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		return tx.RecordRefusedEnrolment(ctx, key, clientID, clientSecret, q.addr.String(), k.Message)
	})
}

// parsePublicKey reads a Curve25519 public key (RFC 7748) in base64 and returns its one spelling. A key of low order
// agrees on the same secret with everybody, so the few of them are refused by their shape: all but a byte or two zero.
func parsePublicKey(pointer, s string) (string, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != 32 {
		return "", kind.Field(pointer, "a public key is 32 bytes in base64")
	}
	zeros := 0
	for _, b := range raw {
		if b == 0 {
			zeros++
		}
	}
	if zeros >= 31 {
		return "", kind.Field(pointer, "the public key is not usable")
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

func (c *Control) agentSelf(_ context.Context, q *call) (answer, error) {
	return selfAnswer(c, &q.device)
}

func selfAnswer(c *Control, d *store.Device) (answer, error) {
	created, err := time.Parse(time.RFC3339, d.CreatedAt)
	return answer{result: api.AgentSelf{
		AccountID: c.AccountID(), DeviceID: d.ID, Email: d.Email, Name: d.Name, PublicKey: d.PublicKey, CreatedAt: created,
	}}, err
}

func (c *Control) agentDelete(ctx context.Context, q *call) (answer, error) {
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeleteDevice(ctx, q.device.ID) })
	return answer{}, err
}
