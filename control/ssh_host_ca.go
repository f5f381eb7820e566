package control

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/control/sshca"
	"weft/control/store"
	"weft/internal/kind"
)

// signHostCertificate signs one of the SSH host keys of the gateway that asks. The first request of all makes the
// authority, so that an account of before has one as soon as one of its gateways can use it.
func (c *Control) signHostCertificate(ctx context.Context, q *call) (answer, error) {
	var in api.HostCertificateRequest
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	key, err := userKey(in.PublicKey)
	if err != nil {
		return answer{}, err
	}
	keyID := api.SSHGatewayPrincipal + " " + q.gateway.ID
	var out api.HostCertificate
	if err := c.needHostCA(ctx, q.actor); err != nil {
		return answer{}, err
	}
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		ca, reference, err := tx.SigningSSHHostCA(ctx)
		if err != nil {
			return err
		}
		signer, err := c.openKey(ctx, ca.PublicKey, reference)
		if err != nil {
			return err
		}
		cert, err := sshca.SignHost(signer, sshca.HostRequest{Key: key, Principal: api.SSHGatewayPrincipal, KeyID: keyID}, tx.Now())
		if err != nil {
			return err
		}
		before := time.Unix(int64(cert.ValidBefore), 0).UTC()
		out = api.HostCertificate{Certificate: sshca.Line(cert), Serial: cert.Serial, KeyID: keyID, CAID: ca.ID, ValidBefore: before}
		// Written before the effect that it allows: no record, no certificate.
		return tx.RecordHostCertificate(ctx, store.IssuedHostCertificate{
			Serial: strconv.FormatUint(cert.Serial, 10), KeyID: keyID, CAID: ca.ID, GatewayID: q.gateway.ID,
			Fingerprint: ssh.FingerprintSHA256(key), ValidBefore: store.Stamp(before),
		})
	})
	return answer{result: out}, err
}

// needHostCA makes the first authority of host keys unless there is one.
func (c *Control) needHostCA(ctx context.Context, by store.Actor) error {
	var have []store.SSHHostCA
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		have, err = r.SSHHostCAs(ctx)
		return err
	})
	if err != nil || len(have) > 0 {
		return err
	}
	_, err = c.makeHostCA(ctx, by, func(tx *store.Tx) error {
		have, err := tx.SSHHostCAs(ctx)
		if err == nil && len(have) > 0 {
			err = errMadeMeanwhile
		}
		return err
	})
	if errors.Is(err, errMadeMeanwhile) {
		err = nil
	}
	return err
}

var errMadeMeanwhile = errors.New("another request made it")

// makeHostCA makes an authority of host keys, if in its transaction check allows it.
func (c *Control) makeHostCA(ctx context.Context, by store.Actor, check func(*store.Tx) error) (ca store.SSHHostCA, err error) {
	err = c.makeKey(ctx, sshca.ECDSAP256, sshca.HostComment, func(public string, reference []byte) error {
		return c.store.Update(ctx, by, func(tx *store.Tx) (err error) {
			if err = check(tx); err == nil {
				ca, err = tx.CreateSSHHostCA(ctx, public, reference)
			}
			return err
		})
	})
	return ca, err
}

func (c *Control) createSSHHostCA(ctx context.Context, q *call) (answer, error) {
	ca, err := c.makeHostCA(ctx, q.actor, func(*store.Tx) error { return nil })
	if err != nil {
		return answer{}, err
	}
	out, err := wireHostCA(ca, true)
	return answer{result: out}, err
}

func (c *Control) deleteSSHHostCA(ctx context.Context, q *call) (answer, error) {
	force, err := q.queryBool("force")
	if err != nil {
		return answer{}, err
	}
	id := q.params["id"]
	var reference []byte
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		reference, err = tx.DeleteSSHHostCA(ctx, id, force != nil && *force)
		return err
	})
	if err == nil && reference != nil {
		c.destroyKey(ctx, reference)
	}
	return answer{result: map[string]string{"id": id}}, err
}

func (c *Control) listSSHCAs(ctx context.Context, _ *call) (answer, error) {
	out := api.SSHCAs{User: []api.SSHUserCA{}, Host: []api.SSHHostCA{}}
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		users, err := r.UserCAs(ctx)
		if err != nil {
			return err
		}
		for _, ca := range users {
			w, err := wireUserCA(ca)
			if err != nil {
				return err
			}
			out.User = append(out.User, w)
		}
		list, err := r.SSHHostCAs(ctx)
		if err != nil {
			return err
		}
		for i, ca := range list {
			w, err := wireHostCA(ca, i == 0)
			if err != nil {
				return err
			}
			out.Host = append(out.Host, w)
		}
		return nil
	})
	return answer{result: out}, err
}

func wireHostCA(ca store.SSHHostCA, signs bool) (api.SSHHostCA, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ca.PublicKey))
	if err != nil {
		return api.SSHHostCA{}, kind.New(kind.Internal, "the host CA %s is damaged", ca.ID).WithCause(err)
	}
	return api.SSHHostCA{ID: ca.ID, PublicKey: ca.PublicKey, Fingerprint: ssh.FingerprintSHA256(key), CreatedAt: ca.CreatedAt, Signs: signs}, nil
}
