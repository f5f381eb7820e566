-- +goose Up
-- What all control planes on one account have in common besides the account: secrets, sealed.
CREATE TABLE shared_secrets (
    name       TEXT PRIMARY KEY,
    sealed     TEXT NOT NULL,
    created_at TEXT NOT NULL
);
