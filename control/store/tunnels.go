package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"weft/api"
	"weft/internal/kind"
)

// TunnelType is the only type of tunnel here.
const TunnelType = "cfd_tunnel"

// TunnelFilter selects tunnels; zero fields select all, but deleted ones are listed only when asked for.
type TunnelFilter struct {
	Name, ID      string
	NamePrefix    string
	NotNamePrefix string
	IsDeleted     *bool
	AnyState      bool // deleted or not

	ExistedAt, WasActiveAt, WasInactiveAt time.Time
	// Status is "healthy", "down", "inactive" or "degraded", which none is; Live are the tunnels with a connector now.
	Status string
	Live   []string
	Types  []string // nil: all
}

const tunnelColumns = `id, name, config_src, created_at, deleted_at, active_at, inactive_at`

func (r *Reader) scanTunnel(rs *sql.Rows) (api.Tunnel, error) {
	t := api.Tunnel{
		AccountTag: r.store.account.ID, TunnelType: TunnelType, Status: "inactive",
		Connections: []api.TunnelConn{}, Metadata: map[string]any{},
	}
	err := rs.Scan(&t.ID, &t.Name, &t.ConfigSource, &t.CreatedAt, &t.DeletedAt, &t.ConnsActiveAt, &t.ConnsInactive)
	t.RemoteConfig = t.ConfigSource == "cloudflare"
	return t, err
}

// ListTunnels lists by name; total counts all pages.
func (r *Reader) ListTunnels(ctx context.Context, f TunnelFilter, p Page) (list []api.Tunnel, total int, err error) {
	var w where
	if f.Name != "" {
		w.add(`name_key = ?`, nameKey(f.Name))
	}
	if f.ID != "" {
		w.add(`id = ?`, f.ID)
	}
	if f.NamePrefix != "" {
		w.add(`name_key LIKE ? ESCAPE '\'`, escapeLike(nameKey(f.NamePrefix))+"%")
	}
	if f.NotNamePrefix != "" {
		w.add(`name_key NOT LIKE ? ESCAPE '\'`, escapeLike(nameKey(f.NotNamePrefix))+"%")
	}
	if !f.AnyState && (f.ExistedAt.IsZero() || f.IsDeleted != nil) {
		w.deleted(f.IsDeleted)
	}
	f.activity(&w)
	if f.Types != nil && !slices.Contains(f.Types, TunnelType) {
		w.add(`1 = 0`)
	}
	if total, err = r.count(ctx, `tunnels`, &w); err != nil {
		return nil, 0, err
	}
	list, err = collect(ctx, r.q, r.scanTunnel, `SELECT `+tunnelColumns+` FROM tunnels`+w.String()+
		` ORDER BY name_key, id LIMIT `+w.next(p.Size)+` OFFSET `+w.next(p.offset()), w.args...)
	return list, total, err
}

func (r *Reader) count(ctx context.Context, from string, w *where) (int, error) {
	var n int
	if err := r.q.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+from+w.String(), w.args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	return n, nil
}

// Tunnel finds one that is not deleted.
func (r *Reader) Tunnel(ctx context.Context, id string) (api.Tunnel, error) {
	t, ok, err := one(ctx, r.q, r.scanTunnel, `SELECT `+tunnelColumns+` FROM tunnels WHERE id = $1 AND deleted_at IS NULL`, id)
	if err == nil && !ok {
		return t, kind.New(kind.NotFound, "there is no tunnel %q", id)
	}
	return t, err
}

func (r *Reader) tunnelRef(ctx context.Context, pointer, id string) (api.Tunnel, error) {
	t, err := r.Tunnel(ctx, id)
	if kind.Is(err, kind.NotFound) {
		return t, kind.Field(pointer, "there is no tunnel %q", id)
	}
	return t, err
}

// CreateTunnel adds a tunnel with a secret of at least 32 bytes; nil makes one. The clash of a name is kind.Conflict.
func (tx *Tx) CreateTunnel(ctx context.Context, name, configSource string, secret []byte) (api.Tunnel, error) {
	t := api.Tunnel{
		ID: newID(), AccountTag: tx.store.account.ID, Name: name, CreatedAt: tx.at, TunnelType: TunnelType, Status: "inactive",
		Connections: []api.TunnelConn{}, Metadata: map[string]any{}, ConfigSource: configSource, RemoteConfig: configSource == "cloudflare",
	}
	if err := checkTunnelName(name); err != nil {
		return t, err
	}
	if secret == nil {
		secret = make([]byte, api.MinTunnelSecretBytes)
		_, _ = rand.Read(secret)
	}
	if err := checkTunnelSecret(secret); err != nil {
		return t, err
	}
	other, ok, err := one(ctx, tx.q, tx.scanTunnel, `SELECT `+tunnelColumns+` FROM tunnels WHERE name_key = $1 AND deleted_at IS NULL`, nameKey(name))
	if err != nil {
		return t, err
	}
	if ok {
		return t, kind.New(kind.Conflict, "the name %q already belongs to tunnel %q (%s)", name, other.Name, other.ID).At("/name")
	}
	sum := sha256.Sum256(secret)
	if _, err := tx.exec(ctx, `INSERT INTO tunnels (id, name, name_key, secret_hash, secret_sealed, config_src, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		t.ID, name, nameKey(name), hex.EncodeToString(sum[:]), tx.store.box.seal(tunnelPlace(t.ID), secret), configSource, tx.at); err != nil {
		return t, err
	}
	return t, tx.changed(ctx, Tunnels, "tunnel.create", t.ID, t)
}

func tunnelPlace(id string) string { return "tunnels.secret/" + id }

// TunnelSecret reveals a tunnel's secret, for its token.
func (r *Reader) TunnelSecret(ctx context.Context, id string) ([]byte, error) {
	if _, err := r.Tunnel(ctx, id); err != nil {
		return nil, err
	}
	var sealed string
	if err := r.q.QueryRowContext(ctx, `SELECT secret_sealed FROM tunnels WHERE id = $1`, id).Scan(&sealed); err != nil {
		return nil, fmt.Errorf("read tunnel: %w", err)
	}
	return r.store.box.open(tunnelPlace(id), sealed)
}

// AuthenticateConnector checks a connector's token.
func (r *Reader) AuthenticateConnector(ctx context.Context, tok api.ConnectorToken) (api.Tunnel, error) {
	refused := kind.New(kind.Unauthenticated, "the connector token is not valid: its tunnel is deleted or its secret is another").
		WithHint("get the token anew from the tunnel's token endpoint")
	if tok.AccountID != r.store.account.ID {
		return api.Tunnel{}, kind.New(kind.Unauthenticated, "the connector token is for another account")
	}
	t, err := r.Tunnel(ctx, tok.TunnelID)
	if kind.Is(err, kind.NotFound) {
		return t, refused
	}
	if err != nil {
		return t, err
	}
	var kept string
	if err := r.q.QueryRowContext(ctx, `SELECT secret_hash FROM tunnels WHERE id = $1`, t.ID).Scan(&kept); err != nil {
		return t, fmt.Errorf("read tunnel: %w", err)
	}
	sum := sha256.Sum256(tok.Secret)
	if subtle.ConstantTimeCompare([]byte(kept), []byte(hex.EncodeToString(sum[:]))) != 1 {
		return t, refused
	}
	return t, nil
}

// TunnelChange is what an update of a tunnel changes; what is nil stays.
type TunnelChange struct {
	Name   *string
	Secret []byte
}

// tunnelAudit is a tunnel in the audit log, which never holds the secret itself.
type tunnelAudit struct {
	api.Tunnel
	SecretChanged bool `json:"secret_changed,omitempty"`
}

// UpdateTunnel changes name and secret. With another secret the tokens made before are refused, and connectors that came
// with one are cut: by control and by the gateways, when they hear of the change.
func (tx *Tx) UpdateTunnel(ctx context.Context, id string, ch TunnelChange) (api.Tunnel, error) {
	t, err := tx.Tunnel(ctx, id)
	if err != nil {
		return t, err
	}
	before, after := tunnelAudit{Tunnel: t}, tunnelAudit{}
	if ch.Name != nil {
		if err := tx.renameTunnel(ctx, &t, *ch.Name); err != nil {
			return t, err
		}
	}
	if ch.Secret != nil {
		if after.SecretChanged, err = tx.setTunnelSecret(ctx, id, ch.Secret); err != nil {
			return t, err
		}
	}
	after.Tunnel = t
	return t, tx.changed(ctx, Tunnels, "tunnel.update", id, change{before, after})
}

func (tx *Tx) renameTunnel(ctx context.Context, t *api.Tunnel, name string) error {
	if err := checkTunnelName(name); err != nil {
		return err
	}
	other, ok, err := one(ctx, tx.q, tx.scanTunnel, `SELECT `+tunnelColumns+` FROM tunnels
		WHERE name_key = $1 AND id <> $2 AND deleted_at IS NULL`, nameKey(name), t.ID)
	if err != nil {
		return err
	}
	if ok {
		return kind.New(kind.Conflict, "the name %q already belongs to tunnel %q (%s)", name, other.Name, other.ID).At("/name")
	}
	t.Name = name
	_, err = tx.exec(ctx, `UPDATE tunnels SET name = $1, name_key = $2 WHERE id = $3`, name, nameKey(name), t.ID)
	return err
}

// setTunnelSecret reports whether the secret is another than before.
func (tx *Tx) setTunnelSecret(ctx context.Context, id string, secret []byte) (bool, error) {
	if err := checkTunnelSecret(secret); err != nil {
		return false, err
	}
	former, err := tx.TunnelSecret(ctx, id)
	if err != nil || subtle.ConstantTimeCompare(former, secret) == 1 {
		return false, err
	}
	sum := sha256.Sum256(secret)
	_, err = tx.exec(ctx, `UPDATE tunnels SET secret_hash = $1, secret_sealed = $2 WHERE id = $3`,
		hex.EncodeToString(sum[:]), tx.store.box.seal(tunnelPlace(id), secret), id)
	return true, err
}

func checkTunnelName(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := uuid.Parse(name); err == nil {
		return kind.Field("/name", "the name of a tunnel cannot have the form of a UUID")
	}
	return nil
}

func checkTunnelSecret(secret []byte) error {
	if len(secret) < api.MinTunnelSecretBytes || len(secret) > api.MaxTunnelSecretBytes {
		return kind.Field("/tunnel_secret", "the secret is not %d to %d bytes", api.MinTunnelSecretBytes, api.MaxTunnelSecretBytes)
	}
	return nil
}

// DeleteTunnel refuses while routes lead to the tunnel, and names them, unless they are to be deleted with it.
func (tx *Tx) DeleteTunnel(ctx context.Context, id string, cascade bool) (api.Tunnel, error) {
	t, err := tx.Tunnel(ctx, id)
	if err != nil {
		return t, err
	}
	routes, err := collect(ctx, tx.q, func(rs *sql.Rows) ([2]string, error) {
		var x [2]string
		return x, rs.Scan(&x[0], &x[1])
	}, `SELECT id, network FROM routes WHERE tunnel_id = $1 AND deleted_at IS NULL ORDER BY first_key`, id)
	if err != nil {
		return t, err
	}
	if len(routes) > 0 && !cascade {
		var names []string
		for _, r := range routes[:min(len(routes), 10)] {
			names = append(names, fmt.Sprintf("route %s (%s)", r[1], r[0]))
		}
		return t, kind.New(kind.Conflict, "tunnel %q is in use by %s", t.Name, strings.Join(names, ", ")).
			WithHint("delete the routes first")
	}
	for _, r := range routes {
		if _, err := tx.DeleteRoute(ctx, r[0]); err != nil {
			return t, err
		}
	}
	t.DeletedAt = &tx.at
	if _, err := tx.exec(ctx, `UPDATE tunnels SET deleted_at = $1 WHERE id = $2`, tx.at, id); err != nil {
		return t, err
	}
	return t, tx.changed(ctx, Tunnels, "tunnel.delete", id, t)
}
