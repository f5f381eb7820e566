package control

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"weft/api"
	"weft/control/store"
	"weft/control/strictjson"
	"weft/internal/kind"
)

var serviceTokenNoise = []string{"id", "client_id", "client_secret", "created_at", "updated_at", "expires_at", "last_seen_at"}

func serviceTokens() resource[api.ServiceToken, api.ServiceTokenWrite] {
	return resource[api.ServiceToken, api.ServiceTokenWrite]{
		read: func(q *call) (in api.ServiceTokenWrite, err error) { return in, q.body(&in, serviceTokenNoise...) },
		list: listServiceTokens, get: (*store.Reader).ServiceToken, create: (*store.Tx).CreateServiceToken, replace: (*store.Tx).ReplaceServiceToken,
		remove: (*store.Tx).DeleteServiceToken, showDeleted: true,
	}
}

func listServiceTokens(ctx context.Context, r *store.Reader, q *call) ([]api.ServiceToken, error) {
	all, err := r.ServiceTokens(ctx)
	name, search := q.query.Get("name"), strings.ToLower(q.query.Get("search"))
	return slices.DeleteFunc(all, func(t api.ServiceToken) bool {
		return name != "" && t.Name != name || search != "" && !strings.Contains(strings.ToLower(t.Name), search) && t.ClientID != search && t.ID != search
	}), err
}

func (c *Control) rotateServiceToken(ctx context.Context, q *call) (answer, error) {
	return write(ctx, c, q, readRotation, func(tx *store.Tx, until *string) (api.ServiceToken, error) {
		return tx.RotateServiceToken(ctx, q.params["id"], until)
	})
}

// rotation says how long the former secret stays good; without it, no longer.
type rotation struct {
	PreviousExpiresAt *string `json:"previous_client_secret_expires_at" openapi:"format=date-time"`
}

// readRotation reads a body that one of the clients leaves out.
func readRotation(q *call) (*string, error) {
	raw, err := q.rawBody()
	if err != nil || len(bytes.TrimSpace(raw)) == 0 || string(bytes.TrimSpace(raw)) == "null" {
		return nil, err
	}
	var in rotation
	err = strictjson.Decode(raw, &in)
	return in.PreviousExpiresAt, err
}

func (c *Control) refreshServiceToken(ctx context.Context, q *call) (answer, error) {
	return change(ctx, c, q, func(tx *store.Tx) (api.ServiceToken, error) { return tx.RefreshServiceToken(ctx, q.params["id"]) })
}

// The headers of a service token, as the public API names them.
const (
	headerClientID     = "CF-Access-Client-Id"
	headerClientSecret = "CF-Access-Client-Secret"
)

// A pair as the key of an enrolment string, which has no room for the dot of a client ID.
const (
	tokenKeyPrefix = "weft_svc_"
	clientIDSuffix = ".access"
)

// tokenKey is a pair as the key of an enrolment string.
func tokenKey(p api.ServiceTokenPair) api.Secret {
	return api.Secret(tokenKeyPrefix + strings.TrimSuffix(p.ClientID, clientIDSuffix) + "_" + string(p.ClientSecret))
}

// serviceTokenOf is the pair that a request presents, in headers or as the key of an enrolment string.
func serviceTokenOf(q *call, key string) (id, secret string, err error) {
	id, secret = q.r.Header.Get(headerClientID), q.r.Header.Get(headerClientSecret)
	if id == "" && secret == "" {
		rest, ok := strings.CutPrefix(key, tokenKeyPrefix)
		if !ok {
			return "", "", nil
		}
		id, secret, _ = strings.Cut(rest, "_")
		return id + clientIDSuffix, secret, nil
	}
	if id == "" || secret == "" || key != "" {
		return "", "", kind.New(kind.Invalid, "an enrolment needs either a key or both of the headers %s and %s", headerClientID, headerClientSecret)
	}
	return id, secret, nil
}

// authDomain is the domain under which devices without a user are shown.
func (c *Control) authDomain(ctx context.Context, r *store.Reader) (string, error) {
	o, _, err := r.Organization(ctx)
	if o.AuthDomain == "" {
		o.AuthDomain = c.defaultAuthDomain()
	}
	return o.AuthDomain, err
}
