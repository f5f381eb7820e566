package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"weft/api"
	"weft/internal/kind"
)

const gatewayTokenPrefix = "weft_gw_"

// maxGateways bounds what every agent is told of.
const maxGateways = 64

// Gateway is a gateway as the store keeps it. Report is zero until the gateway said something.
type Gateway struct {
	ID, Name  string
	Report    api.GatewayReport
	CreatedAt string
	UpdatedAt string
	// DrainedAt is when an administrator wanted it to take no new sessions; "": nobody does.
	DrainedAt string
	// TokenHash tells a token that was replaced from the one in force; it is on no record.
	TokenHash string `json:"-"`
}

const gatewayColumns = `id, name, report, created_at, updated_at, token_hash,
	COALESCE((SELECT d.since FROM gateway_drains d WHERE d.gateway_id = gateways.id), '')`

// Draining reports whether it takes no new sessions, by an administrator's wish or because it is being stopped.
func (g *Gateway) Draining() bool { return g.DrainedAt != "" || g.Report.Draining }

func scanGateway(rs *sql.Rows) (Gateway, error) {
	var g Gateway
	var report string
	if err := rs.Scan(&g.ID, &g.Name, &report, &g.CreatedAt, &g.UpdatedAt, &g.TokenHash, &g.DrainedAt); err != nil {
		return g, err
	}
	return g, json.Unmarshal([]byte(report), &g.Report)
}

// Gateways lists all by name.
func (r *Reader) Gateways(ctx context.Context) ([]Gateway, error) {
	return collect(ctx, r.q, scanGateway, `SELECT `+gatewayColumns+` FROM gateways ORDER BY name_key`)
}

// GatewayByToken authenticates a gateway.
func (r *Reader) GatewayByToken(ctx context.Context, token string) (Gateway, error) {
	g, ok, err := one(ctx, r.q, scanGateway, `SELECT `+gatewayColumns+` FROM gateways WHERE token_hash = $1`, HashToken(token))
	if err == nil && !ok {
		return g, kind.New(kind.Unauthenticated, "the gateway token is unknown or was replaced").WithHint("give the gateway a new token")
	}
	return g, err
}

// CreateGateway adds a gateway; its token is returned only here.
func (tx *Tx) CreateGateway(ctx context.Context, name string) (Gateway, string, error) {
	g := Gateway{ID: newID(), Name: name, CreatedAt: tx.at, UpdatedAt: tx.at}
	if err := checkName(name); err != nil {
		return g, "", err
	}
	all, err := tx.Gateways(ctx)
	if err != nil {
		return g, "", err
	}
	if len(all) >= maxGateways {
		return g, "", kind.New(kind.Limit, "the account has reached its limit of %d gateways", maxGateways)
	}
	for _, o := range all {
		if nameKey(o.Name) == nameKey(name) {
			return g, "", kind.New(kind.Conflict, "the name %q already belongs to gateway %s", name, o.ID).At("/name")
		}
	}
	token := NewToken(gatewayTokenPrefix)
	g.TokenHash = HashToken(token)
	if _, err := tx.exec(ctx, `INSERT INTO gateways (id, name, name_key, token_hash, report, created_at, updated_at) VALUES ($1, $2, $3, $4, '{}', $5, $5)`,
		g.ID, g.Name, nameKey(g.Name), g.TokenHash, tx.at); err != nil {
		return g, "", err
	}
	return g, token, tx.changed(ctx, Gateways, "gateway.create", g.ID, g)
}

// EnsureGateway makes the gateway of a name known and gives it a new token; the old one is worth nothing any more.
func (tx *Tx) EnsureGateway(ctx context.Context, name string) (Gateway, string, error) {
	g, ok, err := one(ctx, tx.q, scanGateway, `SELECT `+gatewayColumns+` FROM gateways WHERE name_key = $1`, nameKey(name))
	if err != nil {
		return g, "", err
	}
	if !ok {
		return tx.CreateGateway(ctx, name)
	}
	token := NewToken(gatewayTokenPrefix)
	g.TokenHash = HashToken(token)
	if _, err := tx.exec(ctx, `UPDATE gateways SET token_hash = $1, updated_at = $2 WHERE id = $3`, g.TokenHash, tx.at, g.ID); err != nil {
		return g, "", err
	}
	// The collection changes, so that a stream that was opened by the old token is looked at, and ends.
	return g, token, tx.changed(ctx, Gateways, "gateway.rotate_token", g.ID, g)
}

// ReportGateway keeps what a gateway says of itself.
func (tx *Tx) ReportGateway(ctx context.Context, id string, r api.GatewayReport) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("render report: %w", err)
	}
	n, err := tx.exec(ctx, `UPDATE gateways SET report = $1, updated_at = $2 WHERE id = $3 AND report <> $1`, string(raw), tx.at, id)
	if err != nil || n == 0 {
		return err
	}
	return tx.changed(ctx, Gateways, "gateway.report", id, r)
}
