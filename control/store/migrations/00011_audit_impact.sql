-- +goose Up
-- What a change did to who may reach what; '' where nothing was compared.
ALTER TABLE audit_events ADD COLUMN impact TEXT NOT NULL DEFAULT '';
