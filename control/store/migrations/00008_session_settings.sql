-- +goose Up
-- Gateways that are to take no new sessions.
CREATE TABLE gateway_drains (
    gateway_id TEXT PRIMARY KEY REFERENCES gateways (id) ON DELETE CASCADE,
    since      TEXT NOT NULL
);

-- Whether the sessions of an application are recorded, and what becomes of one that cannot be. NULL and '': as the account has it.
CREATE TABLE recording_settings (
    application_id TEXT PRIMARY KEY REFERENCES applications (id) ON DELETE CASCADE,
    enabled        INTEGER,
    fail_mode      TEXT NOT NULL,
    updated_at     TEXT NOT NULL
);

-- Settings of which the account has one each, as JSON.
CREATE TABLE account_settings (
    name       TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
