package control

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// tunnelNoise are keys that clients send back from an answer.
var tunnelNoise = []string{
	"id", "account_tag", "created_at", "deleted_at", "connections", "conns_active_at", "conns_inactive_at", "tun_type", "status",
	"remote_config", "metadata", "token",
}

// tunnelInput is a create or update request; nil means that a field was left out.
type tunnelInput struct {
	Name         *string     `json:"name"`
	Secret       *api.Secret `json:"tunnel_secret"`
	ConfigSource *string     `json:"config_src"`
}

// secret is the secret in a request; nil when it holds none.
func (in *tunnelInput) secret() ([]byte, error) {
	if deref(in.Secret) == "" {
		return nil, nil
	}
	secret, err := base64.StdEncoding.DecodeString(string(*in.Secret))
	if err != nil {
		return nil, kind.Field("/tunnel_secret", "the secret is not base64")
	}
	return secret, nil
}

func (c *Control) createTunnel(ctx context.Context, q *call) (answer, error) {
	var in tunnelInput
	if err := q.body(&in, tunnelNoise...); err != nil {
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
	secret, err := in.secret()
	if err != nil {
		return answer{}, err
	}
	var t api.Tunnel
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
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
		NamePrefix: q.query.Get("include_prefix"), NotNamePrefix: q.query.Get("exclude_prefix"), Types: q.tunnelTypes(),
	}
	if f.IsDeleted, err = q.queryBool("is_deleted"); err != nil {
		return answer{}, err
	}
	for name, to := range map[string]*time.Time{"existed_at": &f.ExistedAt, "was_active_at": &f.WasActiveAt, "was_inactive_at": &f.WasInactiveAt} {
		if *to, err = q.queryTime(name); err != nil {
			return answer{}, err
		}
	}
	if f.Status = q.query.Get("status"); f.Status != "" {
		if f.Status, err = oneOf(q, "status", "inactive", "degraded", "healthy", "down"); err != nil {
			return answer{}, err
		}
		f.Live = c.streams.live(connectorStream)
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
	live := c.streams.list(connectorStream, t.ID)
	switch {
	case t.DeletedAt != nil:
	case len(live) > 0:
		t.Status = "healthy"
	case t.ConnsActiveAt != nil:
		t.Status = "down"
	}
	for _, connector := range live {
		t.Connections = append(t.Connections, connector.Conns...)
	}
	return t
}

// connectorCame and connectorLeft note when a tunnel has its first connector, and when it lost its last.
func (c *Control) connectorCame(ctx context.Context, tunnel string) { c.noteActive(ctx, tunnel, true) }

func (c *Control) connectorLeft(ctx context.Context, tunnel string) {
	if c.streams.count(connectorStream, tunnel) == 0 {
		c.noteActive(context.WithoutCancel(ctx), tunnel, false)
	}
}

func (c *Control) noteActive(ctx context.Context, tunnel string, active bool) {
	err := c.store.Update(ctx, store.System, func(tx *store.Tx) error { return tx.SetTunnelActive(ctx, tunnel, active) })
	if err != nil && ctx.Err() == nil {
		c.log.DebugContext(ctx, "note when connectors came and left", "error", err)
	}
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
	if err := q.body(&in, tunnelNoise...); err != nil {
		return answer{}, err
	}
	secret, err := in.secret()
	if err != nil {
		return answer{}, err
	}
	id := q.params["id"]
	var t api.Tunnel
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		if t, err = tx.Tunnel(ctx, id); err != nil {
			return err
		}
		if from := deref(in.ConfigSource); from != "" && from != t.ConfigSource {
			return kind.Field("/config_src", "the source of a tunnel's configuration cannot be changed from %q", t.ConfigSource).
				WithHint("make a new tunnel and move the routes to it")
		}
		if in.Name == nil && secret == nil {
			return nil
		}
		t, err = tx.UpdateTunnel(ctx, id, store.TunnelChange{Name: in.Name, Secret: secret})
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
	return answer{}, c.streams.drop(ctx, connectorStream, q.params["id"], q.query.Get("client_id"))
}

// getConnector finds a connector that is in contact.
func (c *Control) getConnector(ctx context.Context, q *call) (answer, error) {
	if _, err := c.getTunnel(ctx, q); err != nil {
		return answer{}, err
	}
	for _, x := range c.streams.list(connectorStream, q.params["id"]) {
		if x.ID == q.params["connector"] {
			return answer{result: x}, nil
		}
	}
	return answer{}, kind.New(kind.NotFound, "the tunnel has no connector %q in contact", q.params["connector"])
}

func (c *Control) getTunnelConfiguration(ctx context.Context, q *call) (answer, error) {
	return look(ctx, c, func(r *store.Reader) (api.TunnelConfiguration, error) {
		return r.TunnelConfiguration(ctx, q.params["id"])
	})
}

// tunnelConfigurationInput is a body.
type tunnelConfigurationInput struct {
	Config json.RawMessage `json:"config"`
}

func (c *Control) setTunnelConfiguration(ctx context.Context, q *call) (answer, error) {
	return write(ctx, c, q, func(q *call) (config json.RawMessage, err error) {
		var in tunnelConfigurationInput
		err = q.body(&in, "account_id", "tunnel_id", "source", "version", "created_at")
		return in.Config, err
	}, func(tx *store.Tx, config json.RawMessage) (api.TunnelConfiguration, error) {
		return tx.SetTunnelConfiguration(ctx, q.params["id"], config)
	})
}

// manageTunnel is refused: a token that opens nothing would be a promise.
func (c *Control) manageTunnel(ctx context.Context, q *call) (answer, error) {
	if _, err := c.getTunnel(ctx, q); err != nil {
		return answer{}, err
	}
	return answer{}, kind.New(kind.Invalid, "connectors have no management service here").WithHint("their logs are where they run: weft connector writes to standard error")
}
