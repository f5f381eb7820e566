-- +goose Up
-- What clients order and select targets by; the tags column keeps them as they were written.
CREATE TABLE target_tags (
    target_id TEXT NOT NULL REFERENCES targets (id) ON DELETE CASCADE,
    tag_key   TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    PRIMARY KEY (target_id, tag_key)
);
CREATE INDEX target_tags_value ON target_tags (tag_key, tag_value, target_id);

-- What a device said of its system last.
ALTER TABLE devices ADD COLUMN facts TEXT NOT NULL DEFAULT '{}';

CREATE TABLE posture_rules (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    type        TEXT NOT NULL,
    description TEXT NOT NULL,
    schedule    TEXT NOT NULL,
    expiration  TEXT NOT NULL,
    platforms   TEXT NOT NULL,
    input       TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL
);

CREATE TABLE posture_integrations (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL,
    type           TEXT NOT NULL,
    poll_interval  TEXT NOT NULL,
    config         TEXT NOT NULL,
    secrets_sealed TEXT NOT NULL,
    created_at     TEXT NOT NULL,
    updated_at     TEXT NOT NULL
);

-- Whether a device passed a rule when it reported last; after valid_until it does not.
CREATE TABLE posture_results (
    device_id   TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    rule_id     TEXT NOT NULL REFERENCES posture_rules (id) ON DELETE CASCADE,
    passed      INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    reported_at TEXT NOT NULL,
    valid_until TEXT NOT NULL,
    PRIMARY KEY (device_id, rule_id)
);
CREATE INDEX posture_results_valid ON posture_results (passed, valid_until);

CREATE TABLE device_settings (
    id         TEXT PRIMARY KEY,
    settings   TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- The default profile has the precedence of none.
CREATE TABLE device_profiles (
    id              TEXT PRIMARY KEY,
    is_default      INTEGER NOT NULL,
    name            TEXT NOT NULL,
    precedence      BIGINT,
    settings        TEXT NOT NULL,
    default_vnet_id TEXT REFERENCES virtual_networks (id),
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL
);
CREATE UNIQUE INDEX device_profiles_default ON device_profiles (is_default) WHERE is_default = 1;
CREATE UNIQUE INDEX device_profiles_precedence ON device_profiles (precedence) WHERE is_default = 0;

CREATE TABLE device_profile_networks (
    profile_id TEXT NOT NULL REFERENCES device_profiles (id) ON DELETE CASCADE,
    vnet_id    TEXT NOT NULL REFERENCES virtual_networks (id),
    PRIMARY KEY (profile_id, vnet_id)
);

CREATE TABLE tunnel_configurations (
    tunnel_id  TEXT PRIMARY KEY REFERENCES tunnels (id),
    config     TEXT NOT NULL,
    version    BIGINT NOT NULL,
    created_at TEXT NOT NULL
);

-- When a tunnel had its first connector since it had none, and when it lost its last.
ALTER TABLE tunnels ADD COLUMN active_at TEXT;
ALTER TABLE tunnels ADD COLUMN inactive_at TEXT;
