-- +goose Up
-- What a token may do, from where and until when. Tokens of before may do everything, as they could.
ALTER TABLE api_tokens ADD COLUMN permissions TEXT NOT NULL DEFAULT '["All"]';
ALTER TABLE api_tokens ADD COLUMN sources TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_tokens ADD COLUMN expires_at TEXT;
ALTER TABLE api_tokens ADD COLUMN last_used_at TEXT;
