-- +goose Up
-- The place of a target in the order of creation, and how many targets there are in each block of 1,024 places: a page
-- far down the list is found by adding up blocks instead of reading all that comes before it.
ALTER TABLE targets ADD COLUMN place BIGINT NOT NULL DEFAULT 0;
UPDATE targets SET place = o.place
FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY created_at, id) AS place FROM targets) AS o
WHERE o.id = targets.id;
CREATE UNIQUE INDEX targets_place ON targets (place);

CREATE TABLE target_blocks (
    block   BIGINT PRIMARY KEY,
    targets BIGINT NOT NULL
);
INSERT INTO target_blocks (block, targets) SELECT place / 1024, COUNT(*) FROM targets GROUP BY place / 1024;
