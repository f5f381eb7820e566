-- +goose Up
-- Network rules and the lists that they name. The text of an expression is kept as it was written.

CREATE TABLE network_rules (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL,
    description    TEXT NOT NULL,
    precedence     BIGINT NOT NULL UNIQUE,
    enabled        INTEGER NOT NULL,
    action         TEXT NOT NULL,
    traffic        TEXT NOT NULL,
    identity_rule  TEXT NOT NULL,
    device_posture TEXT NOT NULL,
    settings       TEXT NOT NULL,
    version        BIGINT NOT NULL,
    created_at     TEXT NOT NULL,
    updated_at     TEXT NOT NULL
);

CREATE TABLE lists (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    name_key    TEXT NOT NULL UNIQUE,
    type        TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL
);

CREATE TABLE list_items (
    list_id     TEXT NOT NULL REFERENCES lists (id) ON DELETE CASCADE,
    value       TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    PRIMARY KEY (list_id, value)
);
