-- +goose Up
-- Policies that applications share. A policy of one application stays in policies.
CREATE TABLE reusable_policies (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    decision         TEXT NOT NULL,
    include_rules    TEXT NOT NULL,
    exclude_rules    TEXT NOT NULL,
    require_rules    TEXT NOT NULL,
    connection_rules TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL
);

CREATE TABLE application_policies (
    application_id TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    policy_id      TEXT NOT NULL REFERENCES reusable_policies (id),
    precedence     INTEGER NOT NULL,
    PRIMARY KEY (application_id, policy_id)
);
CREATE INDEX application_policies_policy ON application_policies (policy_id);

-- The former secret of a token stays good until previous_expires_at.
CREATE TABLE service_tokens (
    id                  TEXT PRIMARY KEY,
    name                TEXT NOT NULL,
    client_id           TEXT NOT NULL UNIQUE,
    secret_hash         TEXT NOT NULL,
    secret_version      BIGINT NOT NULL,
    previous_hash       TEXT NOT NULL,
    previous_expires_at TEXT,
    duration            TEXT NOT NULL,
    enabled             INTEGER NOT NULL,
    counted_from        TEXT NOT NULL,
    expires_at          TEXT,
    last_seen_at        TEXT,
    created_at          TEXT NOT NULL,
    updated_at          TEXT NOT NULL
);

-- The user of the devices that a service token enrolled is nobody: it has the ID of the token and an e-mail key of its own.
ALTER TABLE users ADD COLUMN service_token_id TEXT NOT NULL DEFAULT '';
-- A user who was deleted keeps the row that devices and certificates name.
ALTER TABLE users ADD COLUMN deleted_at TEXT;

CREATE TABLE identity_providers (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    type          TEXT NOT NULL,
    config_sealed TEXT NOT NULL,
    scim_config   TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    updated_at    TEXT NOT NULL
);

CREATE TABLE organizations (
    account_id TEXT PRIMARY KEY,
    settings   TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- Enrolments and SSH logins, allowed or not. Old events are removed.
CREATE TABLE access_events (
    id          TEXT PRIMARY KEY,
    at          TEXT NOT NULL,
    action      TEXT NOT NULL,
    allowed     INTEGER NOT NULL,
    email       TEXT NOT NULL,
    email_key   TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    device_id   TEXT NOT NULL,
    app_id      TEXT NOT NULL,
    app_name    TEXT NOT NULL,
    app_aud     TEXT NOT NULL,
    target_id   TEXT NOT NULL,
    hostname    TEXT NOT NULL,
    login       TEXT NOT NULL,
    connection  TEXT NOT NULL,
    ip          TEXT NOT NULL,
    reason      TEXT NOT NULL,
    request_id  TEXT NOT NULL
);
CREATE INDEX access_events_at ON access_events (at, id);
CREATE INDEX access_events_user ON access_events (user_id, allowed, at);

ALTER TABLE audit_events ADD COLUMN actor_ip TEXT NOT NULL DEFAULT '';
