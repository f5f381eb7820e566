-- +goose Up
-- A user CA goes through states: 'next' is published and does not sign yet, one 'signs', 'trusted' ones did and are
-- still published. Of one that is gone its public key stays, for the key revocation list.
ALTER TABLE gateway_cas ADD COLUMN state TEXT NOT NULL DEFAULT 'signs';
CREATE UNIQUE INDEX gateway_cas_signs ON gateway_cas (state) WHERE state = 'signs';
CREATE UNIQUE INDEX gateway_cas_next ON gateway_cas (state) WHERE state = 'next';

CREATE TABLE retired_user_cas (
    id         TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    retired_at TEXT NOT NULL
);

ALTER TABLE ssh_certificates ADD COLUMN ca_id TEXT NOT NULL DEFAULT '';
ALTER TABLE ssh_certificates ADD COLUMN revoked_at TEXT;
CREATE INDEX ssh_certificates_valid ON ssh_certificates (valid_before);

-- The authorities whose host certificates are taken from targets. hostnames is a JSON list of patterns.
CREATE TABLE target_host_cas (
    id          TEXT PRIMARY KEY,
    public_key  TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    hostnames   TEXT NOT NULL,
    vnet_id     TEXT NOT NULL,
    required    INTEGER NOT NULL,
    created_at  TEXT NOT NULL
);
CREATE UNIQUE INDEX target_host_cas_key ON target_host_cas (fingerprint, vnet_id);
