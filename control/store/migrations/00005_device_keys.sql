-- +goose Up
-- A key that a device was offered to change to, until it confirms it; see api.AgentKey.
ALTER TABLE devices ADD COLUMN next_public_key TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX devices_next_public_key ON devices (next_public_key) WHERE next_public_key <> '';
