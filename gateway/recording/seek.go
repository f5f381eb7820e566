package recording

import (
	"time"
)

// SeekTo goes to a place from which the state of a channel's terminal at t can be built: a key frame not after t, or the
// beginning. The chunks in between are not checked; those that are read from there on are, among themselves.
// It reports whether it jumped: without an index, or a key frame ahead, the recording is read from where it is.
func (r *Reader) SeekTo(idx *Index, channel int, t time.Time) (bool, error) {
	if idx == nil {
		return false, nil
	}
	at := int64(-1)
	for _, k := range idx.KeyFrames {
		if k.Channel == channel && k.Time <= micros(t) {
			at = max(at, k.Offset)
		}
	}
	if at <= r.c.offset {
		return false, nil
	}
	raw, err := readRaw(r.c.f, at)
	if err != nil {
		return false, r.c.unreadable(err)
	}
	if !r.c.authentic(at, raw) {
		return false, &Damage{
			Chunk: raw.head.seq, At: fromMicros(raw.head.first), Since: fromMicros(raw.head.first).Sub(r.c.header.Started),
			Problem: "its content was altered",
		}
	}
	plain, err := r.open(raw.head, raw.payload)
	if err != nil {
		return false, err
	}
	r.c.offset = at
	r.c.pass(raw)
	r.rec = recordReader{b: plain, at: raw.head.first}
	return true, nil
}
