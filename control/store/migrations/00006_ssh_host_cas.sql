-- +goose Up
-- The authorities that sign the host keys of gateways: the newest signs, the others are still trusted.
CREATE TABLE ssh_host_cas (
    id                 TEXT PRIMARY KEY,
    public_key         TEXT NOT NULL,
    private_key_sealed TEXT NOT NULL,
    created_at         TEXT NOT NULL
);

-- The host certificates that are in force; what was ever issued is in the audit log.
CREATE TABLE ssh_host_certificates (
    serial       TEXT PRIMARY KEY,
    ca_id        TEXT NOT NULL,
    gateway_id   TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    issued_at    TEXT NOT NULL,
    valid_before TEXT NOT NULL
);
CREATE INDEX ssh_host_certificates_gateway ON ssh_host_certificates (gateway_id, issued_at);
