package recording

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// ErrEncrypted says that a recording needs an identity to be read.
var ErrEncrypted = errors.New("the recording is encrypted; name an identity that may read it")

// ErrUnfinished says that a recording has no end: it is being written, or its gateway died and has not sealed it yet.
var ErrUnfinished = errors.New("the recording has no end: it is still written, or was cut off")

// Reader reads one recording from the front to the back, checking every chunk on the way. It is not safe for concurrent
// use.
type Reader struct {
	c    *chunks
	aead cipher.AEAD
	dec  *zstd.Decoder

	rec   recordReader
	end   *End
	index *Index
}

// NewReader reads the header. ids open an encrypted recording; without the right one everything but Header, End and
// Index fails with ErrEncrypted.
func NewReader(f File, ids []age.Identity) (*Reader, error) {
	c, err := newChunks(f)
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPlain), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	r := &Reader{c: c, dec: dec}
	if e := c.header.Encryption; e != nil && len(ids) > 0 {
		if r.aead, err = e.unwrap(ids); err != nil {
			return nil, fmt.Errorf("read recording: %w", err)
		}
	}
	return r, nil
}

// Close frees what the Reader holds, not the file.
func (r *Reader) Close() { r.dec.Close() }

// Header is the first chunk.
func (r *Reader) Header() *Header { return &r.c.header }

// Start is when the session began.
func (r *Reader) Start() time.Time { return r.c.header.Started }

// Next reads the next record. At the end it returns io.EOF when the recording is whole, and ErrUnfinished or a *Damage
// when it is not.
func (r *Reader) Next(rec *Record) error {
	for {
		ok, err := r.rec.next(rec)
		if ok || err != nil {
			return err
		}
		if err := r.chunk(); err != nil {
			return err
		}
	}
}

// chunk reads chunks up to one with records.
func (r *Reader) chunk() error {
	h, payload, err := r.c.next()
	switch {
	case errors.Is(err, io.EOF):
		return ErrUnfinished
	case err != nil:
		return err
	}
	if r.end != nil || h.kind != kindData {
		return r.closing(h, payload)
	}
	plain, err := r.open(h, payload)
	if err != nil {
		return err
	}
	r.rec = recordReader{b: plain, at: h.first}
	return nil
}

// open decrypts and decompresses a data chunk.
func (r *Reader) open(h chunkHead, payload []byte) ([]byte, error) {
	if h.flags&flagEncrypted != 0 {
		if r.aead == nil {
			return nil, ErrEncrypted
		}
		var err error
		if payload, err = r.aead.Open(nil, nonce(h.seq), payload, h.append(nil)); err != nil {
			return nil, fmt.Errorf("decrypt chunk %d: %w", h.seq, err)
		}
	}
	if h.flags&flagZstd == 0 {
		return payload, nil
	}
	plain, err := r.dec.DecodeAll(payload, make([]byte, 0, plainSize(payload)))
	if err != nil {
		return nil, fmt.Errorf("decompress chunk %d: %w", h.seq, err)
	}
	return plain, nil
}

// plainSize is how much a compressed chunk will take, within the limit.
func plainSize(payload []byte) int {
	var h zstd.Header
	if h.Decode(payload) == nil && h.HasFCS && h.FrameContentSize <= maxPlain {
		return int(h.FrameContentSize)
	}
	return maxPlain
}

// closing reads the end, the index and the trailer.
func (r *Reader) closing(h chunkHead, payload []byte) error {
	switch {
	case h.kind == kindEnd && r.end == nil:
		r.end = &End{}
		return decodeJSON("end", payload, r.end)
	case h.kind == kindIndex && r.end != nil:
		r.index = &Index{}
		if err := decodeJSON("index", payload, r.index); err != nil {
			return err
		}
		return r.trailer(r.c.offset - headSize - int64(len(payload)) - tailSize)
	default:
		return r.c.damage(nil, fmt.Sprintf("a chunk of kind %q does not belong here", byte(h.kind)))
	}
}

func (r *Reader) trailer(index int64) error {
	b := make([]byte, trailerSize)
	if r.c.f.Size()-r.c.offset != trailerSize {
		return r.c.damage(nil, "what follows the last chunk is not the trailer")
	}
	if err := readFull(r.c.f, b, r.c.offset); err != nil {
		return err
	}
	if int64(binary.BigEndian.Uint64(b)) != index || string(b[8:]) != endMagic {
		return r.c.damage(nil, "the trailer was altered")
	}
	return io.EOF
}

// End is how the session ended, once Next has returned io.EOF; nil before.
func (r *Reader) End() *End { return r.end }

// Head is the hash of the last chunk that was read, in hex.
func (r *Reader) Head() string { return fmt.Sprintf("%x", r.c.prev) }

// Last is the time of the last record of the chunks read so far.
func (r *Reader) Last() time.Time { return fromMicros(r.c.last) }

// Info is what can be said of a recording without reading all of it, and without an identity.
type Info struct {
	Header Header
	End    *End // nil: it has none
	Index  *Index
	Size   int64
}

// Stat reads the header, the end and the index. It checks their signatures, not what is between.
func Stat(f File) (*Info, error) {
	c, err := newChunks(f)
	if err != nil {
		return nil, err
	}
	info := &Info{Header: c.header, Size: f.Size()}
	b := make([]byte, trailerSize)
	if f.Size() < trailerSize || readFull(f, b, f.Size()-trailerSize) != nil || string(b[8:]) != endMagic {
		return info, nil
	}
	offset := int64(binary.BigEndian.Uint64(b))
	if offset < 0 || offset >= f.Size() {
		return info, nil
	}
	index, err := readRaw(f, offset)
	if err != nil || index.head.kind != kindIndex || !c.authentic(offset, index) {
		return info, nil
	}
	idx := &Index{}
	if decodeJSON("index", index.payload, idx) != nil {
		return info, nil
	}
	info.Index = idx
	at, end := c.lastBefore(idx, offset)
	if end == nil || !c.authentic(at, end) {
		return info, nil
	}
	e := &End{}
	if decodeJSON("end", end.payload, e) == nil {
		info.End = e
	}
	return info, nil
}

// lastBefore finds the end chunk, which stands before the index.
func (c *chunks) lastBefore(idx *Index, offset int64) (int64, *rawChunk) {
	at := c.offset
	if n := len(idx.Chunks); n > 0 && idx.Chunks[n-1].Offset > at && idx.Chunks[n-1].Offset < offset {
		at = idx.Chunks[n-1].Offset
	}
	for at < offset {
		r, err := readRaw(c.f, at)
		if err != nil {
			return 0, nil
		}
		if r.head.kind == kindEnd && at+r.size() == offset {
			return at, r
		}
		at += r.size()
	}
	return 0, nil
}
