-- +goose Up
-- The applications whose SSH CA was asked for by the application. There is one authority, that of the account.
CREATE TABLE application_cas (
    application_id TEXT PRIMARY KEY REFERENCES applications (id) ON DELETE CASCADE,
    id             TEXT NOT NULL UNIQUE,
    created_at     TEXT NOT NULL
);
