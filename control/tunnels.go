package control

import (
	"context"
	"encoding/base64"
	"net/http"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// tunnelInput is a create or update request; nil means that a field was left out.
type tunnelInput struct {
	Name         *string     `json:"name"`
	Secret       *api.Secret `json:"tunnel_secret"`
	ConfigSource *string     `json:"config_src"`
}

func (c *Control) createTunnel(ctx context.Context, q *call) (answer, error) {
	var in tunnelInput
	if err := q.body(&in, "id", "metadata"); err != nil {
		return answer{}, err
	}
	source := deref(in.ConfigSource)
	switch source {
	case "":
		source = "local"
	case "local", "cloudflare":
	default:
		return answer{}, kind.Field("/config_src", "the source of the configuration is \"local\" or \"cloudflare\", not %q", source)
	}
	var secret []byte
	if s := deref(in.Secret); s != "" {
		var err error
		if secret, err = base64.StdEncoding.DecodeString(string(s)); err != nil {
			return answer{}, kind.Field("/tunnel_secret", "the secret is not base64")
		}
	}
	var t api.Tunnel
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		if t, err = tx.CreateTunnel(ctx, deref(in.Name), source, secret); err != nil {
			return err
		}
		t.ConnectorToken, err = c.connectorToken(ctx, &tx.Reader, t.ID)
		return err
	})
	return answer{result: t}, nameClash(err)
}

// nameClash makes a conflict the bare 409 that cloudflared looks for, and keeps the generated clients from repeating it.
func nameClash(err error) error {
	if !kind.Is(err, kind.Conflict) {
		return err
	}
	f, ok := withCode(err, kind.Conflict, codeConflict).(*failure) //nolint:errorlint // just made
	if !ok {
		return err
	}
	f.status, f.noRetry = http.StatusConflict, true
	return f
}

func (c *Control) connectorToken(ctx context.Context, r *store.Reader, id string) (string, error) {
	secret, err := r.TunnelSecret(ctx, id)
	if err != nil {
		return "", err
	}
	return api.ConnectorToken{AccountID: c.AccountID(), TunnelID: id, Secret: secret}.Encode(), nil
}

func (c *Control) listTunnels(ctx context.Context, q *call) (answer, error) {
	p, err := q.page()
	if err != nil {
		return answer{}, err
	}
	f := store.TunnelFilter{
		Name: q.query.Get("name"), ID: q.query.Get("uuid"),
		NamePrefix: q.query.Get("include_prefix"), NotNamePrefix: q.query.Get("exclude_prefix"),
	}
	if f.IsDeleted, err = q.queryBool("is_deleted"); err != nil {
		return answer{}, err
	}
	var list []api.Tunnel
	var total int
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		list, total, err = r.ListTunnels(ctx, f, p)
		return err
	})
	for i := range list {
		list[i] = c.withStatus(list[i])
	}
	return paged(list, total, p), err
}

// withStatus adds what only the running process knows.
func (c *Control) withStatus(t api.Tunnel) api.Tunnel {
	if c.streams.count(connectorStream, t.ID) > 0 {
		t.Status = "healthy"
	}
	return t
}

func (c *Control) getTunnel(ctx context.Context, q *call) (answer, error) {
	var t api.Tunnel
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		t, err = r.Tunnel(ctx, q.params["id"])
		return err
	})
	return answer{result: c.withStatus(t)}, err
}

func (c *Control) updateTunnel(ctx context.Context, q *call) (answer, error) {
	var in tunnelInput
	if err := q.body(&in, "id", "metadata"); err != nil {
		return answer{}, err
	}
	if deref(in.Secret) != "" {
		return answer{}, kind.Field("/tunnel_secret", "the secret of a tunnel cannot be changed").WithHint("make a new tunnel and move the routes to it")
	}
	var t api.Tunnel
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		if in.Name == nil {
			t, err = tx.Tunnel(ctx, q.params["id"])
			return err
		}
		t, err = tx.RenameTunnel(ctx, q.params["id"], *in.Name)
		return err
	})
	return answer{result: c.withStatus(t)}, nameClash(err)
}

func (c *Control) deleteTunnel(ctx context.Context, q *call) (answer, error) {
	cascade, err := q.queryBool("cascade")
	if err != nil {
		return answer{}, err
	}
	var t api.Tunnel
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		t, err = tx.DeleteTunnel(ctx, q.params["id"], deref(cascade))
		return withCode(err, kind.Conflict, codeTunnelInUse)
	})
	return answer{result: t}, err
}

func (c *Control) getTunnelToken(ctx context.Context, q *call) (answer, error) {
	var token string
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		token, err = c.connectorToken(ctx, r, q.params["id"])
		return err
	})
	return answer{result: token}, err
}

// listTunnelConnections lists the connectors that are in contact; DELETE, which clients send before they delete a
// tunnel, ends their streams (they come back unless the tunnel goes).
func (c *Control) listTunnelConnections(ctx context.Context, q *call) (answer, error) {
	if _, err := c.getTunnel(ctx, q); err != nil {
		return answer{}, err
	}
	return answer{result: c.streams.list(connectorStream, q.params["id"])}, nil
}

func (c *Control) dropTunnelConnections(ctx context.Context, q *call) (answer, error) {
	if _, err := c.getTunnel(ctx, q); err != nil {
		return answer{}, err
	}
	return answer{}, c.streams.drop(ctx, connectorStream, q.params["id"])
}
