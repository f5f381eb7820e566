package control

import (
	"bytes"
	"context"
	"errors"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/control/sshca"
	"weft/control/store"
	"weft/internal/kind"
)

// makeKey makes the key of an authority and has record keep it; a key that could not be kept is destroyed.
func (c *Control) makeKey(ctx context.Context, a sshca.Algorithm, comment string, record func(publicKey string, reference []byte) error) error {
	public, reference, err := c.cfg.SSHKeys.Generate(ctx, a)
	if err != nil {
		return err
	}
	if sshca.AlgorithmOf(public) != a || len(reference) > sshca.MaxReferenceBytes {
		err = errors.New("the key source made another key than was asked for")
	} else {
		err = record(sshca.PublicLine(public, comment), reference)
	}
	if err != nil {
		c.destroyKey(ctx, reference)
	}
	return err
}

// destroyKey makes a key useless whose authority is gone, also when who asked for it has left.
func (c *Control) destroyKey(ctx context.Context, reference []byte) {
	if err := c.cfg.SSHKeys.Destroy(context.WithoutCancel(ctx), reference); err != nil {
		c.log.ErrorContext(ctx, "key of an SSH authority not destroyed", "error", err)
	}
}

// openKey finds the key of an authority, which must be the one that is on record.
func (c *Control) openKey(ctx context.Context, publicKey string, reference []byte) (sshca.Signer, error) {
	signer, err := c.cfg.SSHKeys.Signer(ctx, reference)
	if err != nil {
		return nil, err
	}
	want, _, _, _, err := ssh.ParseAuthorizedKey([]byte(publicKey))
	if err != nil {
		return nil, errors.New("the SSH authority on record is damaged")
	}
	if !bytes.Equal(signer.PublicKey().Marshal(), want.Marshal()) {
		return nil, errors.New("the key of the SSH authority is not the one on record")
	}
	return signer, nil
}

// signingUserCA is the authority that signs logins, with its key.
func (c *Control) signingUserCA(ctx context.Context) (ca store.UserCA, signer sshca.Signer, err error) {
	var reference []byte
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		ca, reference, err = r.SigningUserCA(ctx)
		return err
	})
	if err == nil {
		signer, err = c.openKey(ctx, ca.PublicKey, reference)
	}
	return ca, signer, err
}

func (c *Control) makeUserCA(ctx context.Context, by store.Actor, a sshca.Algorithm, next bool) (ca store.UserCA, err error) {
	err = c.makeKey(ctx, a, sshca.Comment, func(public string, reference []byte) error {
		return c.store.Update(ctx, by, func(tx *store.Tx) (err error) {
			ca, err = tx.CreateUserCA(ctx, public, reference, next)
			return err
		})
	})
	return ca, err
}

func (c *Control) removeUserCA(ctx context.Context, by store.Actor, id string, force bool) error {
	var reference []byte
	err := c.store.Update(ctx, by, func(tx *store.Tx) (err error) {
		_, reference, err = tx.DeleteUserCA(ctx, id, force)
		return err
	})
	if err != nil {
		return err
	}
	c.krl.forget()
	if reference != nil {
		c.destroyKey(ctx, reference)
	}
	return nil
}

func (c *Control) createSSHUserCA(ctx context.Context, q *call) (answer, error) {
	var in api.NewSSHUserCA
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	a, err := sshca.ParseAlgorithm(in.Algorithm)
	if err != nil {
		return answer{}, err
	}
	ca, err := c.makeUserCA(ctx, q.actor, a, in.Next)
	if err != nil {
		return answer{}, err
	}
	out, err := wireUserCA(ca)
	return answer{result: out}, err
}

func (c *Control) activateSSHUserCA(ctx context.Context, q *call) (answer, error) {
	var ca store.UserCA
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		ca, err = tx.ActivateUserCA(ctx, q.params["id"])
		return err
	})
	if err != nil {
		return answer{}, err
	}
	out, err := wireUserCA(ca)
	return answer{result: out}, err
}

func (c *Control) deleteSSHUserCA(ctx context.Context, q *call) (answer, error) {
	force, err := q.queryBool("force")
	if err != nil {
		return answer{}, err
	}
	id := q.params["id"]
	return answer{result: map[string]string{"id": id}}, c.removeUserCA(ctx, q.actor, id, force != nil && *force)
}

func wireUserCA(ca store.UserCA) (api.SSHUserCA, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ca.PublicKey))
	if err != nil {
		return api.SSHUserCA{}, kind.New(kind.Internal, "the user CA %s is damaged", ca.ID).WithCause(err)
	}
	return api.SSHUserCA{
		ID: ca.ID, PublicKey: ca.PublicKey, State: ca.State, Algorithm: string(sshca.AlgorithmOf(key)),
		Fingerprint: ssh.FingerprintSHA256(key), CreatedAt: ca.CreatedAt,
	}, nil
}

// signingKey is the public key of the authority that signs; "" for none.
func signingKey(cas []store.UserCA) string {
	if len(cas) == 0 || cas[0].State != api.UserCASigns {
		return ""
	}
	return cas[0].PublicKey
}

func userKeys(cas []store.UserCA) (keys []string) {
	for _, ca := range cas {
		keys = append(keys, ca.PublicKey)
	}
	return keys
}
