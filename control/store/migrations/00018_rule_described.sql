-- Whether a network rule was written with a description: one that was not has null for it, and one that was has "" when it was that.
-- +goose Up
ALTER TABLE network_rules ADD COLUMN described INTEGER NOT NULL DEFAULT 0;
UPDATE network_rules SET described = 1 WHERE description <> '';
