package recording

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Damage is what is wrong with a recording, and where.
type Damage struct {
	Chunk   uint64    // the first one that is not as it was written
	At      time.Time // the time of the last record that is certain; zero: none is
	Since   time.Duration
	Problem string
}

// Error implements error.
func (d *Damage) Error() string {
	if d.At.IsZero() {
		return d.Problem
	}
	return fmt.Sprintf("chunk %d, from %s on (%s after the start): %s", d.Chunk, d.At.Format("2006-01-02T15:04:05.000Z"), d.Since.Round(time.Millisecond), d.Problem)
}

// damage is a Damage at the place of c; r is the chunk that was found there, if it is one.
func (c *chunks) damage(r *rawChunk, problem string) *Damage {
	d := &Damage{Chunk: c.seq, Problem: problem}
	if c.seq > 0 {
		d.At = fromMicros(c.last)
		d.Since = d.At.Sub(c.header.Started)
	}
	_ = r
	return d
}

// diagnose says what is wrong with a chunk that can be read and does not fit.
func (c *chunks) diagnose(r *rawChunk) error {
	signed := r.signed(&c.header)
	switch {
	case signed && r.head.seq > c.seq && c.findsLater(r):
		return c.damage(r, fmt.Sprintf("chunk %d stands here; the chunks are not in their order", r.head.seq))
	case signed && r.head.seq > c.seq:
		return c.damage(r, fmt.Sprintf("%s missing", span(c.seq, r.head.seq-1)))
	case signed && r.head.seq < c.seq:
		return c.damage(r, fmt.Sprintf("chunk %d stands here once more, or was moved", r.head.seq))
	case signed:
		return c.damage(r, "its content was altered")
	default:
		return c.damage(r, "it was altered, or is not from this recording")
	}
}

// findsLater reports whether the chunk that should be here stands further back.
func (c *chunks) findsLater(r *rawChunk) bool {
	at := c.offset + r.size()
	for {
		n, err := readRaw(c.f, at)
		if err != nil {
			return false
		}
		if n.head.seq == c.seq && n.signed(&c.header) {
			return true
		}
		at += n.size()
	}
}

func span(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("chunk %d is", from)
	}
	return fmt.Sprintf("chunks %d to %d are", from, to)
}

// unreadable says what is wrong where no chunk can be read.
func (c *chunks) unreadable(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return c.damage(nil, "the file ends within it: its tail was cut off, or its length was altered")
	}
	return c.damage(nil, "it was altered: "+err.Error())
}
