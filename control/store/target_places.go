package store

import (
	"context"
	"database/sql"
	"fmt"

	"weft/api"
)

// placesPerBlock is how many places of targets are counted together. The migration that made the blocks has it too.
const placesPerBlock = 1024

// takePlace gives a new target the place behind all others and counts it.
func (tx *Tx) takePlace(ctx context.Context) (int64, error) {
	var last sql.NullInt64
	if err := tx.q.QueryRowContext(ctx, `SELECT MAX(place) FROM targets`).Scan(&last); err != nil {
		return 0, fmt.Errorf("find place of target: %w", err)
	}
	place := last.Int64 + 1
	_, err := tx.exec(ctx, `INSERT INTO target_blocks (block, targets) VALUES ($1, 1)
		ON CONFLICT (block) DO UPDATE SET targets = target_blocks.targets + 1`, place/placesPerBlock)
	return place, err
}

// leavePlace takes a target that is about to be deleted out of the count.
func (tx *Tx) leavePlace(ctx context.Context, id string) error {
	const block = `(SELECT place / 1024 FROM targets WHERE id = $1)`
	if _, err := tx.exec(ctx, `UPDATE target_blocks SET targets = targets - 1 WHERE block = `+block, id); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `DELETE FROM target_blocks WHERE targets = 0 AND block = `+block, id)
	return err
}

// targetCount is how many targets there are.
func (r *Reader) targetCount(ctx context.Context) (int, error) {
	var n sql.NullInt64
	if err := r.q.QueryRowContext(ctx, `SELECT SUM(targets) FROM target_blocks`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count targets: %w", err)
	}
	return int(n.Int64), nil
}

type targetBlock struct{ block, targets int64 }

// targetPage lists a page of all targets by creation. What it costs does not grow with the page's number.
func (r *Reader) targetPage(ctx context.Context, descending bool, p Page) (list []api.Target, total int, err error) {
	direction, from := "ASC", `place >= $1`
	if descending {
		direction, from = "DESC", `place < $1`
	}
	blocks, err := collect(ctx, r.q, func(rs *sql.Rows) (b targetBlock, err error) {
		return b, rs.Scan(&b.block, &b.targets)
	}, `SELECT block, targets FROM target_blocks ORDER BY block `+direction)
	if err != nil {
		return nil, 0, err
	}
	skip, start := int64(p.offset()), int64(-1)
	for _, b := range blocks {
		total += int(b.targets)
		switch {
		case start >= 0:
		case skip >= b.targets:
			skip -= b.targets
		case descending:
			start = (b.block + 1) * placesPerBlock
		default:
			start = b.block * placesPerBlock
		}
	}
	if start < 0 {
		return []api.Target{}, total, nil
	}
	list, err = collect(ctx, r.q, scanTarget, `SELECT `+targetColumns+` FROM
		(SELECT * FROM targets WHERE `+from+` ORDER BY place `+direction+` LIMIT $2 OFFSET $3) t `+targetAddressTables+
		` ORDER BY t.place `+direction, start, p.Size, skip)
	return list, total, err
}
