package control

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// reading is look as an endpoint.
func reading[T any](c *Control, get func(context.Context, *store.Reader, *call) (T, error)) serveFunc {
	return func(ctx context.Context, q *call) (answer, error) {
		return look(ctx, c, func(r *store.Reader) (T, error) { return get(ctx, r, q) })
	}
}

// writing is write as an endpoint, with a body that is decoded strictly, but for what is noise.
func writing[In, Out any](c *Control, put func(context.Context, *store.Tx, *call, *In) (Out, error), noise ...string) serveFunc {
	return func(ctx context.Context, q *call) (answer, error) {
		body := func(q *call) (in In, err error) {
			err = q.body(&in, noise...)
			return in, err
		}
		return write(ctx, c, q, body, func(tx *store.Tx, in In) (Out, error) { return put(ctx, tx, q, &in) })
	}
}

// changing is change as an endpoint.
func changing[T any](c *Control, do func(context.Context, *store.Tx, *call) (T, error)) serveFunc {
	return func(ctx context.Context, q *call) (answer, error) {
		return change(ctx, c, q, func(tx *store.Tx) (T, error) { return do(ctx, tx, q) })
	}
}

// sessionSettingsEndpoints are those of what control says about sessions.
func (c *Control) sessionSettingsEndpoints() map[string]*endpoint {
	one := api.PathRecordingApplications + "/{id}"
	return map[string]*endpoint{
		"GET " + api.PathRecordingSettings: {auth: authAPI, area: areaSSH, reads: true, serve: reading(c,
			func(ctx context.Context, r *store.Reader, _ *call) (api.RecordingSettings, error) {
				return r.RecordingSettings(ctx)
			})},
		"PUT " + api.PathRecordingSettings: {auth: authAPI, area: areaSSH, serve: writing(c,
			func(ctx context.Context, tx *store.Tx, _ *call, in *api.RecordingSetting) (api.RecordingSetting, error) {
				return *in, tx.SetRecording(ctx, *in)
			})},
		"GET " + one: {auth: authAPI, area: areaSSH, reads: true, serve: reading(c,
			func(ctx context.Context, r *store.Reader, q *call) (api.RecordingApplication, error) {
				return r.RecordingSetting(ctx, q.params["id"])
			})},
		"PUT " + one: {auth: authAPI, area: areaSSH, serve: writing(c,
			func(ctx context.Context, tx *store.Tx, q *call, in *api.RecordingSetting) (api.RecordingApplication, error) {
				return tx.SetApplicationRecording(ctx, q.params["id"], *in)
			})},
		"DELETE " + one: {auth: authAPI, area: areaSSH, serve: changing(c,
			func(ctx context.Context, tx *store.Tx, q *call) (map[string]string, error) {
				return map[string]string{"application_id": q.params["id"]}, tx.DeleteApplicationRecording(ctx, q.params["id"])
			})},
		"GET " + api.PathGateways:                 {auth: authAPI, area: areaWeft, reads: true, serve: reading(c, c.listGateways)},
		"PUT " + api.PathGateways + "/{id}/drain": {auth: authAPI, area: areaWeft, serve: writing(c, c.drainGateway)},
	}
}

// auditSSHEndpoints are those of the public API's audit_ssh_settings.
func (c *Control) auditSSHEndpoints(path string) map[string]serveFunc {
	return map[string]serveFunc{
		"GET " + path: reading(c, func(ctx context.Context, r *store.Reader, _ *call) (api.AuditSSHSettings, error) {
			return r.AuditSSHSettings(ctx)
		}),
		"PUT " + path: writing(c, putAuditSSH, "seed_id", "created_at", "updated_at"),
		// The public API's seed is what the proxy's host key identity is made from; here that is the host CA, and the next one signs.
		"POST " + path + "/rotate_seed": func(ctx context.Context, q *call) (answer, error) {
			var s api.AuditSSHSettings
			_, err := c.makeHostCA(ctx, q.actor, func(tx *store.Tx) (err error) {
				s, err = tx.RotateAuditSSHSeed(ctx)
				return err
			})
			return answer{result: s}, err
		},
	}
}

func putAuditSSH(ctx context.Context, tx *store.Tx, _ *call, in *api.AuditSSHWrite) (api.AuditSSHSettings, error) {
	if in.PublicKey == nil {
		return api.AuditSSHSettings{}, kind.Field("/public_key", "a public key is required; an empty one turns the logs off")
	}
	if *in.PublicKey != "" {
		if err := checkLogKey(*in.PublicKey); err != nil {
			return api.AuditSSHSettings{}, kind.Field("/public_key", "the key is not that of ssh-log-cli: 32 bytes of X25519 in base64").WithCause(err).
				WithHint("make a pair: ssh-log-cli generate-key-pair -o sshkey, and send the content of sshkey.pub")
		}
	}
	return tx.SetAuditSSHKey(ctx, *in.PublicKey)
}

// checkLogKey tells a key for which something can be encrypted from one for which it cannot, such as a point of low order.
func checkLogKey(text string) error {
	if len(text) != base64.StdEncoding.EncodedLen(32) { // the decoder passes over line feeds
		return errors.New("not 44 characters")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return err
	}
	public, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return err
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	_, err = private.ECDH(public)
	return err
}

func (c *Control) listGateways(ctx context.Context, r *store.Reader, _ *call) ([]api.GatewayInfo, error) {
	all, err := r.Gateways(ctx)
	out := make([]api.GatewayInfo, len(all))
	for i := range all {
		out[i] = c.gatewayInfo(&all[i])
	}
	return out, err
}

func (c *Control) gatewayInfo(g *store.Gateway) api.GatewayInfo {
	return api.GatewayInfo{
		ID: g.ID, Name: g.Name, Version: g.Report.Version, Endpoints: append([]string{}, g.Report.Endpoints...),
		Connected: c.streams.count(gatewayStream, g.ID) > 0, Draining: g.Draining(), DrainedAt: g.DrainedAt, CreatedAt: g.CreatedAt,
	}
}

func (c *Control) drainGateway(ctx context.Context, tx *store.Tx, q *call, in *api.GatewayDrain) (api.GatewayInfo, error) {
	if in.Draining == nil {
		return api.GatewayInfo{}, kind.Field("/draining", "true or false is required")
	}
	g, err := tx.SetGatewayDrain(ctx, q.params["id"], *in.Draining)
	return c.gatewayInfo(&g), err
}
