package control

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/api"
	"weft/control/sshca"
	"weft/control/store"
)

// probeKeyID stands in the log of a server that was asked.
const probeKeyID = "weft-ssh-ca-check"

// probeSSHCAs makes certificates by which a server can be asked whether it would take those of each authority (RFC 4252 section
// 7: the query without a signature). The key is made here and its private half is not kept, so that no login can
// follow, whoever gets hold of the certificate; should that ever be untrue, the command that it forces does nothing.
func (c *Control) probeSSHCAs(ctx context.Context, q *call) (answer, error) {
	var in api.SSHProbeRequest
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	if err := access.ValidateLogin(in.Login); err != nil {
		return answer{}, under("/login", err)
	}
	type authority struct {
		store.UserCA
		reference []byte
	}
	var cas []authority
	err := c.store.View(ctx, func(r *store.Reader) error {
		list, err := r.UserCAs(ctx)
		for i := 0; i < len(list) && err == nil; i++ {
			a := authority{UserCA: list[i]}
			a.reference, err = r.UserCAReference(ctx, a.ID)
			cas = append(cas, a)
		}
		return err
	})
	if err != nil {
		return answer{}, err
	}
	out := api.SSHProbe{Certificates: []api.SSHProbeCertificate{}}
	for _, ca := range cas {
		signer, err := c.openKey(ctx, ca.PublicKey, ca.reference)
		if err != nil {
			return answer{}, err
		}
		p, err := c.probe(ctx, q, ca.UserCA, signer, in.Login)
		if err != nil {
			return answer{}, err
		}
		out.Certificates = append(out.Certificates, p)
	}
	return answer{result: out}, nil
}

func (c *Control) probe(ctx context.Context, q *call, ca store.UserCA, signer sshca.Signer, login string) (api.SSHProbeCertificate, error) {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return api.SSHProbeCertificate{}, fmt.Errorf("make probe key: %w", err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		return api.SSHProbeCertificate{}, fmt.Errorf("make probe key: %w", err)
	}
	cert, err := sshca.Sign(signer, sshca.Request{Key: key, Principal: login, KeyID: probeKeyID, ForceCommand: "/bin/false"}, c.cfg.Now())
	if err != nil {
		return api.SSHProbeCertificate{}, err
	}
	w, err := wireUserCA(ca)
	if err != nil {
		return api.SSHProbeCertificate{}, err
	}
	before := time.Unix(int64(cert.ValidBefore), 0).UTC()
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		return tx.RecordProbe(ctx, store.IssuedCertificate{
			Serial: strconv.FormatUint(cert.Serial, 10), KeyID: probeKeyID, Principal: login, ValidBefore: store.Stamp(before), CAID: ca.ID,
		})
	})
	return api.SSHProbeCertificate{CA: w, Certificate: sshca.Line(cert), ValidBefore: before}, err
}
