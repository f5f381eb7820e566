-- +goose Up
-- Portable SQL: text for identifiers, times (RFC 3339, UTC, microseconds: they sort as text), JSON and base64;
-- integers for flags. Keys ending in _key are the folded form by which a name or address is compared.

CREATE TABLE accounts (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    ula        TEXT NOT NULL,
    key_check  TEXT NOT NULL,
    created_at TEXT NOT NULL
);

CREATE TABLE collection_revisions (
    collection TEXT PRIMARY KEY,
    revision   BIGINT NOT NULL
);

CREATE TABLE audit_events (
    id          TEXT PRIMARY KEY,
    revision    BIGINT NOT NULL,
    at          TEXT NOT NULL,
    actor_type  TEXT NOT NULL,
    actor_id    TEXT NOT NULL,
    action      TEXT NOT NULL,
    object_type TEXT NOT NULL,
    object_id   TEXT NOT NULL,
    detail      TEXT NOT NULL
);
CREATE INDEX audit_events_at ON audit_events (at);
CREATE INDEX audit_events_object ON audit_events (object_type, object_id);

CREATE TABLE api_tokens (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    revoked_at TEXT
);

CREATE TABLE virtual_networks (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    name_key   TEXT NOT NULL,
    comment    TEXT NOT NULL,
    is_default INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    deleted_at TEXT
);
CREATE UNIQUE INDEX virtual_networks_name ON virtual_networks (name_key) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX virtual_networks_default ON virtual_networks (is_default) WHERE deleted_at IS NULL AND is_default = 1;

CREATE TABLE tunnels (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    name_key      TEXT NOT NULL,
    secret_hash   TEXT NOT NULL,
    secret_sealed TEXT NOT NULL,
    config_src    TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    deleted_at    TEXT
);
CREATE UNIQUE INDEX tunnels_name ON tunnels (name_key) WHERE deleted_at IS NULL;

CREATE TABLE routes (
    id         TEXT PRIMARY KEY,
    network    TEXT NOT NULL,
    family     INTEGER NOT NULL,
    bits       INTEGER NOT NULL,
    first_key  TEXT NOT NULL,
    last_key   TEXT NOT NULL,
    vnet_id    TEXT NOT NULL REFERENCES virtual_networks (id),
    tunnel_id  TEXT NOT NULL REFERENCES tunnels (id),
    comment    TEXT NOT NULL,
    created_at TEXT NOT NULL,
    deleted_at TEXT
);
CREATE UNIQUE INDEX routes_network ON routes (vnet_id, family, bits, first_key) WHERE deleted_at IS NULL;
CREATE INDEX routes_tunnel ON routes (tunnel_id);

CREATE TABLE targets (
    id           TEXT PRIMARY KEY,
    hostname     TEXT NOT NULL,
    hostname_key TEXT NOT NULL,
    tags         TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    modified_at  TEXT NOT NULL
);
CREATE INDEX targets_hostname ON targets (hostname_key, id);
CREATE INDEX targets_created ON targets (created_at, id);

CREATE TABLE target_addresses (
    target_id TEXT NOT NULL REFERENCES targets (id) ON DELETE CASCADE,
    family    INTEGER NOT NULL,
    addr      TEXT NOT NULL,
    addr_key  TEXT NOT NULL,
    vnet_id   TEXT NOT NULL REFERENCES virtual_networks (id),
    PRIMARY KEY (target_id, family),
    UNIQUE (addr_key, vnet_id)
);
CREATE INDEX target_addresses_vnet ON target_addresses (vnet_id);

CREATE TABLE applications (
    id         TEXT PRIMARY KEY,
    aud        TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    criteria   TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE policies (
    id               TEXT PRIMARY KEY,
    application_id   TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    name             TEXT NOT NULL,
    decision         TEXT NOT NULL,
    precedence       INTEGER NOT NULL,
    include_rules    TEXT NOT NULL,
    exclude_rules    TEXT NOT NULL,
    require_rules    TEXT NOT NULL,
    connection_rules TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL
);
CREATE INDEX policies_application ON policies (application_id, precedence);

CREATE TABLE gateway_cas (
    id                 TEXT PRIMARY KEY,
    public_key         TEXT NOT NULL,
    private_key_sealed TEXT NOT NULL,
    created_at         TEXT NOT NULL
);

CREATE TABLE users (
    id         TEXT PRIMARY KEY,
    email      TEXT NOT NULL,
    email_key  TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    group_list TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    revoked_at TEXT
);

CREATE TABLE enrolment_keys (
    id         TEXT PRIMARY KEY,
    hash       TEXT NOT NULL UNIQUE,
    email      TEXT NOT NULL,
    email_key  TEXT NOT NULL,
    name       TEXT NOT NULL,
    group_list TEXT NOT NULL,
    max_uses   INTEGER NOT NULL,
    uses       INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    revoked_at TEXT
);
CREATE INDEX enrolment_keys_email ON enrolment_keys (email_key);

CREATE TABLE devices (
    id              TEXT PRIMARY KEY,
    registration_id TEXT NOT NULL UNIQUE,
    user_id         TEXT NOT NULL REFERENCES users (id),
    name            TEXT NOT NULL,
    os              TEXT NOT NULL,
    version         TEXT NOT NULL,
    public_key      TEXT NOT NULL,
    token_hash      TEXT NOT NULL UNIQUE,
    source_ip       TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    last_seen_at    TEXT NOT NULL,
    revoked_at      TEXT,
    deleted_at      TEXT
);
CREATE UNIQUE INDEX devices_public_key ON devices (public_key) WHERE deleted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX devices_user ON devices (user_id);

-- A block of tunnel addresses stays with its device until it has been free for the quarantine.
CREATE TABLE device_blocks (
    block_index INTEGER PRIMARY KEY,
    device_id   TEXT NOT NULL UNIQUE REFERENCES devices (id),
    freed_at    TEXT
);

CREATE TABLE device_slots (
    device_id TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    vnet_id   TEXT NOT NULL REFERENCES virtual_networks (id),
    slot      INTEGER NOT NULL,
    PRIMARY KEY (device_id, vnet_id),
    UNIQUE (device_id, slot)
);

CREATE TABLE gateways (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    name_key   TEXT NOT NULL UNIQUE,
    token_hash TEXT NOT NULL UNIQUE,
    report     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE ssh_certificates (
    serial       TEXT PRIMARY KEY,
    key_id       TEXT NOT NULL,
    gateway_id   TEXT NOT NULL,
    device_id    TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    target_id    TEXT NOT NULL,
    session_id   TEXT NOT NULL,
    principal    TEXT NOT NULL,
    policy_id    TEXT NOT NULL,
    issued_at    TEXT NOT NULL,
    valid_before TEXT NOT NULL
);
CREATE INDEX ssh_certificates_issued ON ssh_certificates (issued_at);
