package recording

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// RecordKind says what a record is.
type RecordKind byte

// The kinds of record.
const (
	RecordOutput   RecordKind = 'o' // what the target wrote to standard output or the terminal
	RecordStderr   RecordKind = 'e' // standard error
	RecordInput    RecordKind = 'i' // what the client sent, only when that is asked for
	RecordResize   RecordKind = 'r' // columns(2) rows(2)
	RecordKeyFrame RecordKind = 'k' // columns(2) rows(2) and the state of the terminal as control sequences
	RecordEvent    RecordKind = 'v' // an Event, in JSON
)

// Record is one thing in a recording. Data is only good until the next one is read.
type Record struct {
	Time    time.Time
	Kind    RecordKind
	Channel int // from 1; 0 is the connection
	Data    []byte
}

// Size is that of the terminal in a resize or key frame.
func (r Record) Size() (columns, rows int) {
	if len(r.Data) < 4 {
		return 0, 0
	}
	return int(binary.BigEndian.Uint16(r.Data)), int(binary.BigEndian.Uint16(r.Data[2:]))
}

// appendRecord writes a record as it is in a chunk: kind(1), channel, microseconds since the record before (the chunk's first time at first), length, data; numbers
// are unsigned varints.
func appendRecord(b []byte, kind RecordKind, channel int, delta int64, data []byte) []byte {
	b = append(b, byte(kind))
	b = binary.AppendUvarint(b, uint64(channel))
	b = binary.AppendUvarint(b, uint64(max(delta, 0)))
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

var errRecord = errors.New("record is malformed")

// recordReader reads the records of one chunk.
type recordReader struct {
	b  []byte
	at int64
}

func (r *recordReader) uvarint() (uint64, error) {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<53 {
		return 0, errRecord
	}
	r.b = r.b[n:]
	return v, nil
}

// next returns false at the end of the chunk.
func (r *recordReader) next(rec *Record) (bool, error) {
	if len(r.b) == 0 {
		return false, nil
	}
	rec.Kind = RecordKind(r.b[0])
	r.b = r.b[1:]
	var v [3]uint64
	for i := range v {
		n, err := r.uvarint()
		if err != nil {
			return false, err
		}
		v[i] = n
	}
	if v[0] > 1<<30 || v[2] > uint64(len(r.b)) {
		return false, fmt.Errorf("%w: %d bytes where %d are left", errRecord, v[2], len(r.b))
	}
	r.at += int64(v[1])
	rec.Channel, rec.Time = int(v[0]), fromMicros(r.at)
	rec.Data, r.b = r.b[:v[2]], r.b[v[2]:]
	return true, nil
}

func sizeData(columns, rows int) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(columns))
	return binary.BigEndian.AppendUint16(b, uint16(rows))
}
