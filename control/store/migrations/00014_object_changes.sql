-- +goose Up
-- Which objects of the large collections changed at which revision, so that a view is made from the one before. An empty
-- object_id: any of them may have.
CREATE TABLE object_changes (
    collection TEXT NOT NULL,
    object_id  TEXT NOT NULL,
    revision   BIGINT NOT NULL,
    PRIMARY KEY (collection, object_id)
);
CREATE INDEX object_changes_revision ON object_changes (collection, revision);
