-- What a reusable policy says for applications in a browser, as JSON; nothing enforces it.
-- +goose Up
ALTER TABLE reusable_policies ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
