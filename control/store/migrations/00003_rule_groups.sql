-- +goose Up
CREATE TABLE rule_groups (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    name_key      TEXT NOT NULL UNIQUE,
    include_rules TEXT NOT NULL,
    exclude_rules TEXT NOT NULL,
    require_rules TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    updated_at    TEXT NOT NULL
);
