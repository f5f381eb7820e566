package control

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// Limits of the patterns of an authority of targets' host keys.
const (
	maxHostPatterns     = 64
	maxHostPatternBytes = 253
)

// targetCAKeyTypes are what may sign targets' host keys.
var targetCAKeyTypes = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
}

func (c *Control) listSSHTargetCAs(ctx context.Context, _ *call) (answer, error) {
	var list []api.SSHTargetCA
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		list, err = r.TargetHostCAs(ctx)
		return err
	})
	return answer{result: list}, err
}

func (c *Control) createSSHTargetCA(ctx context.Context, q *call) (answer, error) {
	var in api.NewSSHTargetCA
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	ca := api.SSHTargetCA{Hostnames: in.Hostnames, VNET: in.VNET, Required: in.Required}
	key, err := publicKey(in.PublicKey, targetCAKeyTypes)
	if err != nil {
		return answer{}, err
	}
	ca.PublicKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	ca.Fingerprint = ssh.FingerprintSHA256(key)
	if err := checkHostPatterns(in.Hostnames); err != nil {
		return answer{}, err
	}
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		ca, err = tx.CreateTargetHostCA(ctx, ca)
		return err
	})
	return answer{result: ca}, err
}

func (c *Control) deleteSSHTargetCA(ctx context.Context, q *call) (answer, error) {
	id := q.params["id"]
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.DeleteTargetHostCA(ctx, id) })
	return answer{result: map[string]string{"id": id}}, err
}

// checkHostPatterns: none would be an authority for nothing, so all must be meant.
func checkHostPatterns(patterns []string) error {
	if len(patterns) == 0 || len(patterns) > maxHostPatterns {
		return kind.Field("/hostnames", "an authority vouches for 1 to %d hostnames, addresses or patterns; write * for all targets", maxHostPatterns)
	}
	for i, p := range patterns {
		if p == "" || len(p) > maxHostPatternBytes || strings.ContainsFunc(p, notPatternRune) {
			return kind.Field("/hostnames/"+strconv.Itoa(i), "a pattern is at most %d letters, digits, '.', '-', ':' and the wildcards * and ?", maxHostPatternBytes)
		}
		if slices.Index(patterns, p) < i {
			return kind.Field("/hostnames/"+strconv.Itoa(i), "the pattern %q stands twice", p)
		}
	}
	return nil
}

func notPatternRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-:*?", r)
}

func gatewayTargetCAs(cas []api.SSHTargetCA) (out []api.GatewayTargetCA) {
	for _, c := range cas {
		out = append(out, api.GatewayTargetCA{PublicKey: c.PublicKey, Hostnames: c.Hostnames, VNET: c.VNET, Required: c.Required})
	}
	return out
}
