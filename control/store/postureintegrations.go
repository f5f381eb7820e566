package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weft/api"
	"weft/internal/kind"
)

// Limits of integrations.
const (
	maxPostureIntegrations = 50
	maxConfigMembers       = 16
	maxConfigBytes         = 4096
)

// integrationTypes are those of the public API. None is asked: the rules that name one fail.
var integrationTypes = []string{"workspace_one", "crowdstrike_s2s", "uptycs", "intune", "kolide", "tanium", "tanium_s2s", "sentinelone_s2s", "custom_s2s"}

const integrationColumns = `id, name, type, poll_interval, config`

func scanIntegration(rs *sql.Rows) (api.PostureIntegration, error) {
	var p api.PostureIntegration
	var config string
	if err := rs.Scan(&p.ID, &p.Name, &p.Type, &p.Interval, &config); err != nil {
		return p, err
	}
	return p, json.Unmarshal([]byte(config), &p.Config)
}

// PostureIntegrations lists by creation.
func (r *Reader) PostureIntegrations(ctx context.Context) ([]api.PostureIntegration, error) {
	return collect(ctx, r.q, scanIntegration, `SELECT `+integrationColumns+` FROM posture_integrations ORDER BY created_at, id`)
}

// PostureIntegration finds one; its secrets are never shown.
func (r *Reader) PostureIntegration(ctx context.Context, id string) (api.PostureIntegration, error) {
	p, ok, err := one(ctx, r.q, scanIntegration, `SELECT `+integrationColumns+` FROM posture_integrations WHERE id = $1`, id)
	if err == nil && !ok {
		return p, kind.New(kind.NotFound, "there is no posture integration %q", clip(id))
	}
	return p, err
}

// CreatePostureIntegration adds an integration.
func (tx *Tx) CreatePostureIntegration(ctx context.Context, in api.PostureIntegrationWrite) (api.PostureIntegration, error) {
	p := api.PostureIntegration{ID: newID(), Config: map[string]string{}}
	n, err := tx.count(ctx, `posture_integrations`, &where{})
	if err != nil {
		return p, err
	}
	if n >= maxPostureIntegrations {
		return p, kind.New(kind.Limit, "the account has reached its limit of %d posture integrations", maxPostureIntegrations)
	}
	if err := tx.putIntegration(ctx, &p, in, map[string]string{}); err != nil {
		return p, err
	}
	return p, tx.audit(ctx, "posture_integration.create", "posture_integrations", p.ID, p)
}

// UpdatePostureIntegration changes what is not nil.
func (tx *Tx) UpdatePostureIntegration(ctx context.Context, id string, in api.PostureIntegrationWrite) (api.PostureIntegration, error) {
	before, err := tx.PostureIntegration(ctx, id)
	if err != nil {
		return before, err
	}
	var sealed string
	if err := tx.q.QueryRowContext(ctx, `SELECT secrets_sealed FROM posture_integrations WHERE id = $1`, id).Scan(&sealed); err != nil {
		return before, fmt.Errorf("read posture integration: %w", err)
	}
	raw, err := tx.store.box.open(integrationPlace(id), sealed)
	if err != nil {
		return before, err
	}
	secrets := map[string]string{}
	if err := json.Unmarshal(raw, &secrets); err != nil {
		return before, fmt.Errorf("secrets of posture integration %s: %w", id, err)
	}
	p := before
	p.Config = maps.Clone(before.Config)
	if err := tx.putIntegration(ctx, &p, in, secrets); err != nil {
		return p, err
	}
	return p, tx.audit(ctx, "posture_integration.update", "posture_integrations", id, change{before, p})
}

// DeletePostureIntegration removes one.
func (tx *Tx) DeletePostureIntegration(ctx context.Context, id string) error {
	p, err := tx.PostureIntegration(ctx, id)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM posture_integrations WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.audit(ctx, "posture_integration.delete", "posture_integrations", id, p)
}

// shownConfig are the members of a configuration that are no secrets. Any other may be one, whatever it is called, so it is
// never shown: neither to who may read nor in the audit log.
var shownConfig = []string{"access_client_id", "api_url", "auth_url", "client_id", "customer_id"}

func integrationPlace(id string) string { return "posture_integrations.secrets/" + id }

// putIntegration writes in over p and the secrets, checks the result and keeps it.
func (tx *Tx) putIntegration(ctx context.Context, p *api.PostureIntegration, in api.PostureIntegrationWrite, secrets map[string]string) error {
	for _, set := range []struct{ to, from *string }{{&p.Name, in.Name}, {&p.Type, in.Type}, {&p.Interval, in.Interval}} {
		if set.from != nil {
			*set.to = *set.from
		}
	}
	if err := checkName(p.Name); err != nil {
		return err
	}
	if !slices.Contains(integrationTypes, p.Type) {
		return kind.Field("/type", "there is no posture integration type %q", clip(p.Type)).WithHint("they are: %s", strings.Join(integrationTypes, ", "))
	}
	if d, err := time.ParseDuration(p.Interval); err != nil || d < time.Minute || d > 24*time.Hour {
		return kind.Field("/interval", "the interval is a duration of 1m to 24h")
	}
	if len(in.Config) > maxConfigMembers {
		return kind.Field("/config", "the configuration has more than %d members", maxConfigMembers)
	}
	for k, v := range in.Config {
		if err := CheckShort("/config/"+clip(k), k+v, maxConfigBytes); err != nil {
			return err
		}
		if slices.Contains(shownConfig, k) {
			p.Config[k] = v
		} else {
			secrets[k] = v
		}
	}
	if len(p.Config)+len(secrets) > maxConfigMembers { // with those of earlier writes
		return kind.Field("/config", "the configuration has more than %d members", maxConfigMembers)
	}
	config, err := json.Marshal(p.Config)
	if err != nil {
		return fmt.Errorf("render configuration: %w", err)
	}
	hidden, err := json.Marshal(secrets)
	if err != nil {
		return fmt.Errorf("render secrets: %w", err)
	}
	_, err = tx.exec(ctx, `INSERT INTO posture_integrations (id, name, type, poll_interval, config, secrets_sealed, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
		ON CONFLICT (id) DO UPDATE SET name = $2, type = $3, poll_interval = $4, config = $5, secrets_sealed = $6, updated_at = $7`,
		p.ID, p.Name, p.Type, p.Interval, string(config), tx.store.box.seal(integrationPlace(p.ID), hidden), tx.at)
	return err
}

// CheckShort accepts text of at most some bytes that can be shown on one line.
func CheckShort(pointer, s string, most int) error {
	if len(s) > most {
		return kind.Field(pointer, "the value is longer than %d bytes", most)
	}
	return checkText(pointer, s)
}
