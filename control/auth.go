package control

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// maxTokenBytes bounds a credential before it is looked at.
const maxTokenBytes = 4096

// credential is what the request presents: a bearer token, or one of the two older headers that clients know.
func credential(r *http.Request) (string, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, ok := strings.Cut(h, " ")
		token = strings.TrimSpace(token)
		if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxTokenBytes {
			return "", &failure{
				is:     kind.New(kind.Unauthenticated, "the Authorization header is not \"Bearer\" and a token"),
				status: http.StatusBadRequest, code: 6003,
			}
		}
		return token, nil
	}
	// A key of the second form comes with the address of its owner. Tokens here have none, so what it says does not count, but
	// a client that leaves it out is broken.
	for _, name := range []string{"X-Auth-User-Service-Key", "X-Auth-Key"} {
		token := r.Header.Get(name)
		if token != "" && len(token) <= maxTokenBytes && (name != "X-Auth-Key" || r.Header.Get("X-Auth-Email") != "") {
			return token, nil
		}
	}
	return "", &failure{
		is: kind.New(kind.Unauthenticated, "missing X-Auth-Key, X-Auth-Email or Authorization headers").
			WithHint("send \"Authorization: Bearer <token>\""),
		status: http.StatusBadRequest, code: codeMissingToken,
	}
}

// as is the caller as an actor.
func (q *call) as(typ, id string) store.Actor {
	a := store.Actor{Type: typ, ID: id, RequestID: q.id}
	if q.addr.IsValid() {
		a.IP = q.addr.String()
	}
	return a
}

func authNone(*Control, context.Context, *call) error { return nil }

// authAs runs find in one state and notes its revision.
func (c *Control) authAs(ctx context.Context, q *call, find func(r *store.Reader, token string) error) error {
	token, err := credential(q.r)
	if err != nil {
		return err
	}
	return c.store.View(ctx, func(r *store.Reader) error {
		if err := find(r, token); err != nil {
			return err
		}
		q.revision, err = r.Revision(ctx)
		return err
	})
}

// authAPI asks for an API token that may be used from where the request comes; what it may do is the endpoint's area.
func authAPI(c *Control, ctx context.Context, q *call) error {
	err := c.authAs(ctx, q, func(r *store.Reader, token string) (err error) {
		q.token, err = r.TokenBySecret(ctx, token)
		q.actor = q.as("token", q.token.ID)
		return err
	})
	if err != nil {
		return err
	}
	if !q.token.From(q.addr) {
		return kind.New(kind.Denied, "this API token may not be used from %s", q.addr).WithHint("use it from one of the networks that it was made for")
	}
	c.lastUsed.note(q.token.ID, time.Now())
	return nil
}

func authDevice(c *Control, ctx context.Context, q *call) error {
	return c.authAs(ctx, q, func(r *store.Reader, token string) (err error) {
		q.device, err = r.DeviceByToken(ctx, token)
		q.actor = q.as("device", q.device.ID)
		return err
	})
}

func authGateway(c *Control, ctx context.Context, q *call) error {
	return c.authAs(ctx, q, func(r *store.Reader, token string) (err error) {
		q.gateway, err = r.GatewayByToken(ctx, token)
		q.actor = q.as("gateway", q.gateway.ID)
		return err
	})
}

func authConnector(c *Control, ctx context.Context, q *call) error {
	return c.authAs(ctx, q, func(r *store.Reader, token string) error {
		parsed, err := api.ParseConnectorToken(token)
		if err != nil {
			return kind.New(kind.Unauthenticated, "the connector token is malformed").WithCause(err)
		}
		q.tunnel, err = r.AuthenticateConnector(ctx, parsed)
		q.tunnelSecret = sha256.Sum256(parsed.Secret)
		q.actor = q.as("connector", q.tunnel.ID)
		return err
	})
}
