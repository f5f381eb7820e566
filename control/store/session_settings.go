package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"weft/api"
	"weft/internal/kind"
)

// The names of account_settings.
const (
	settingRecording = "recording"
	settingAuditSSH  = "audit_ssh_settings"
)

// setting reads one of the account's settings; one that was never written is zero.
func setting[T any](ctx context.Context, r *Reader, name string) (T, error) {
	v, _, err := one(ctx, r.q, func(rs *sql.Rows) (v T, err error) {
		var raw string
		if err := rs.Scan(&raw); err != nil {
			return v, err
		}
		return v, json.Unmarshal([]byte(raw), &v)
	}, `SELECT value FROM account_settings WHERE name = $1`, name)
	return v, err
}

func (tx *Tx) putSetting(ctx context.Context, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("render setting: %w", err)
	}
	if _, err := tx.exec(ctx, `INSERT INTO account_settings (name, value, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at`, name, string(raw), tx.at); err != nil {
		return err
	}
	return tx.changed(ctx, SessionSettings, name+".set", name, v)
}

// AuditSSHSettings are the settings of SSH session logs.
func (r *Reader) AuditSSHSettings(ctx context.Context) (api.AuditSSHSettings, error) {
	return setting[api.AuditSSHSettings](ctx, r, settingAuditSSH)
}

// SetAuditSSHKey sets the public key, "" for none. The first one comes with a seed.
func (tx *Tx) SetAuditSSHKey(ctx context.Context, publicKey string) (api.AuditSSHSettings, error) {
	return tx.editAuditSSH(ctx, func(s *api.AuditSSHSettings) error {
		s.PublicKey = publicKey
		return nil
	})
}

// RotateAuditSSHSeed gives the settings another seed.
func (tx *Tx) RotateAuditSSHSeed(ctx context.Context) (api.AuditSSHSettings, error) {
	return tx.editAuditSSH(ctx, func(s *api.AuditSSHSettings) error {
		if s.SeedID == "" {
			return kind.New(kind.NotFound, "the account has no SSH log settings yet").WithHint("first set a public key")
		}
		s.SeedID = ""
		return nil
	})
}

func (tx *Tx) editAuditSSH(ctx context.Context, edit func(*api.AuditSSHSettings) error) (api.AuditSSHSettings, error) {
	s, err := tx.AuditSSHSettings(ctx)
	if err != nil {
		return s, err
	}
	if err := edit(&s); err != nil {
		return s, err
	}
	if s.SeedID == "" {
		s.SeedID = newID()
	}
	if s.CreatedAt == "" {
		s.CreatedAt = tx.at
	}
	s.UpdatedAt = tx.at
	return s, tx.putSetting(ctx, settingAuditSSH, s)
}

func checkRecording(s *api.RecordingSetting) error {
	switch s.FailMode {
	case "", api.RecordingFailStop, api.RecordingFailAlarm:
		return nil
	}
	return kind.Field("/fail_mode", "a fail mode is %q, %q or empty", api.RecordingFailStop, api.RecordingFailAlarm)
}

// RecordingSettings are those of the account and of its applications, by their IDs.
func (r *Reader) RecordingSettings(ctx context.Context) (out api.RecordingSettings, err error) {
	if out.Account, err = setting[api.RecordingSetting](ctx, r, settingRecording); err != nil {
		return out, err
	}
	out.Applications, err = collect(ctx, r.q, scanRecording, `SELECT `+recordingColumns+` FROM recording_settings ORDER BY application_id`)
	return out, err
}

const recordingColumns = `application_id, enabled, fail_mode, updated_at`

func scanRecording(rs *sql.Rows) (api.RecordingApplication, error) {
	var a api.RecordingApplication
	var enabled sql.NullInt64
	err := rs.Scan(&a.ApplicationID, &enabled, &a.FailMode, &a.UpdatedAt)
	if enabled.Valid {
		on := enabled.Int64 != 0
		a.Enabled = &on
	}
	return a, err
}

// RecordingSetting is that of an application; kind.NotFound when it has none of its own.
func (r *Reader) RecordingSetting(ctx context.Context, application string) (api.RecordingApplication, error) {
	a, ok, err := one(ctx, r.q, scanRecording, `SELECT `+recordingColumns+` FROM recording_settings WHERE application_id = $1`, application)
	if err == nil && !ok {
		err = kind.New(kind.NotFound, "the application %q has no recording settings of its own", application)
	}
	return a, err
}

// SetRecording sets what the account's sessions are recorded by.
func (tx *Tx) SetRecording(ctx context.Context, s api.RecordingSetting) error {
	if err := checkRecording(&s); err != nil {
		return err
	}
	return tx.putSetting(ctx, settingRecording, s)
}

// SetApplicationRecording sets that of an application.
func (tx *Tx) SetApplicationRecording(ctx context.Context, application string, s api.RecordingSetting) (api.RecordingApplication, error) {
	a := api.RecordingApplication{ApplicationID: application, RecordingSetting: s, UpdatedAt: tx.at}
	if err := checkRecording(&s); err != nil {
		return a, err
	}
	var n int
	if err := tx.q.QueryRowContext(ctx, `SELECT COUNT(*) FROM applications WHERE id = $1`, application).Scan(&n); err != nil {
		return a, fmt.Errorf("find application: %w", err)
	}
	if n == 0 {
		return a, kind.New(kind.NotFound, "there is no application %q", application)
	}
	var enabled sql.NullInt64
	if s.Enabled != nil {
		enabled.Valid = true
		if *s.Enabled {
			enabled.Int64 = 1
		}
	}
	if _, err := tx.exec(ctx, `INSERT INTO recording_settings (application_id, enabled, fail_mode, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (application_id) DO UPDATE SET enabled = excluded.enabled, fail_mode = excluded.fail_mode, updated_at = excluded.updated_at`,
		application, enabled, s.FailMode, tx.at); err != nil {
		return a, err
	}
	return a, tx.changed(ctx, SessionSettings, "recording.set_application", application, a)
}

// DeleteApplicationRecording takes an application's own setting away.
func (tx *Tx) DeleteApplicationRecording(ctx context.Context, application string) error {
	a, err := tx.RecordingSetting(ctx, application)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM recording_settings WHERE application_id = $1`, application); err != nil {
		return err
	}
	return tx.changed(ctx, SessionSettings, "recording.delete_application", application, a)
}

// SetGatewayDrain says whether a gateway, by ID or name, is to take no new sessions.
func (tx *Tx) SetGatewayDrain(ctx context.Context, nameOrID string, on bool) (Gateway, error) {
	all, err := tx.Gateways(ctx)
	if err != nil {
		return Gateway{}, err
	}
	for _, g := range all {
		if g.ID != nameOrID && !strings.EqualFold(g.Name, nameOrID) {
			continue
		}
		if on == (g.DrainedAt != "") {
			return g, nil
		}
		action := "gateway.undrain"
		if g.DrainedAt = ""; on {
			g.DrainedAt, action = tx.at, "gateway.drain"
			_, err = tx.exec(ctx, `INSERT INTO gateway_drains (gateway_id, since) VALUES ($1, $2)`, g.ID, tx.at)
		} else {
			_, err = tx.exec(ctx, `DELETE FROM gateway_drains WHERE gateway_id = $1`, g.ID)
		}
		if err != nil {
			return g, err
		}
		return g, tx.changed(ctx, Gateways, action, g.ID, g)
	}
	return Gateway{}, kind.New(kind.NotFound, "there is no gateway %q", nameOrID).WithHint("list them: weft gateway list")
}
