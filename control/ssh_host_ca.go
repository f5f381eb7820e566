package control

import (
	"context"
	"strconv"
	"strings"
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
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		ca, private, err := signingHostCA(ctx, tx)
		if err != nil {
			return err
		}
		cert, err := sshca.SignHost(private, sshca.HostRequest{Key: key, Principal: api.SSHGatewayPrincipal, KeyID: keyID}, tx.Now())
		if err != nil {
			return err
		}
		before := time.Unix(int64(cert.ValidBefore), 0).UTC()
		out = api.HostCertificate{
			Certificate: strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(cert)), "\n"), Serial: cert.Serial, KeyID: keyID, CAID: ca.ID, ValidBefore: before,
		}
		// Written before the effect that it allows: no record, no certificate.
		return tx.RecordHostCertificate(ctx, store.IssuedHostCertificate{
			Serial: strconv.FormatUint(cert.Serial, 10), KeyID: keyID, CAID: ca.ID, GatewayID: q.gateway.ID,
			Fingerprint: ssh.FingerprintSHA256(key), ValidBefore: store.Stamp(before),
		})
	})
	return answer{result: out}, err
}

// signingHostCA is the newest authority with its key; when there is none it is made.
func signingHostCA(ctx context.Context, tx *store.Tx) (store.SSHHostCA, []byte, error) {
	have, err := tx.SSHHostCAs(ctx)
	if err != nil {
		return store.SSHHostCA{}, nil, err
	}
	if len(have) == 0 {
		return makeHostCA(ctx, tx)
	}
	private, err := tx.SSHHostCAKey(ctx, have[0].ID)
	return have[0], private, err
}

func makeHostCA(ctx context.Context, tx *store.Tx) (store.SSHHostCA, []byte, error) {
	public, private, err := sshca.GenerateHost()
	if err != nil {
		return store.SSHHostCA{}, nil, err
	}
	ca, err := tx.CreateSSHHostCA(ctx, public, private)
	return ca, private, err
}

func (c *Control) createSSHHostCA(ctx context.Context, q *call) (answer, error) {
	var ca store.SSHHostCA
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		ca, _, err = makeHostCA(ctx, tx)
		return err
	})
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
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeleteSSHHostCA(ctx, id, force != nil && *force) })
	return answer{result: map[string]string{"id": id}}, err
}

func (c *Control) listSSHCAs(ctx context.Context, _ *call) (answer, error) {
	out := api.SSHCAs{Host: []api.SSHHostCA{}}
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		if out.User, err = r.GatewayCAs(ctx); err != nil {
			return err
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
