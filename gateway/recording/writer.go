package recording

import (
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// file is what a recording is written to.
type file interface {
	io.Writer
	Truncate(size int64) error
	Sync() error
	Close() error
}

// maxIndex bounds the index that is kept while a session runs; every second entry goes when it is full.
const maxIndex = 4096

// chunkWriter writes the chunks of one recording. After an error the file holds whole chunks only, as far as the file
// system lets it be cut.
type chunkWriter struct {
	f       file
	session string
	key     ed25519.PrivateKey
	aead    cipher.AEAD // nil: not encrypted
	enc     *zstd.Encoder

	prev   hash
	seq    uint64
	offset int64
	index  Index
	buf    []byte // of one chunk, between calls only while it is small
}

func newChunkWriter(f file, session string, key ed25519.PrivateKey) *chunkWriter {
	return &chunkWriter{f: f, session: session, key: key, prev: seedHash()}
}

// start writes the magic and the header.
func (w *chunkWriter) start(h *Header) error {
	b, err := encodeJSON("header", h)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w.f, magic); err != nil {
		return fmt.Errorf("write header: %w", err)
	}
	w.offset = int64(len(magic))
	at := micros(h.Started)
	return w.chunk(kindHeader, 0, at, at, b)
}

// data writes records as one chunk.
func (w *chunkWriter) data(first, last int64, records []byte, frames []KeyFrameRef) error {
	at := w.offset
	flags := byte(flagZstd)
	if w.aead != nil {
		flags |= flagEncrypted
	}
	if err := w.compressed(flags, first, last, records); err != nil {
		return err
	}
	w.index.Chunks = append(w.index.Chunks, ChunkRef{Offset: at, First: first, Last: last})
	for _, f := range frames {
		f.Offset = at
		w.index.KeyFrames = append(w.index.KeyFrames, f)
	}
	w.index.Chunks = thin(w.index.Chunks)
	w.index.KeyFrames = thin(w.index.KeyFrames)
	return nil
}

func thin[T any](s []T) []T {
	if len(s) < maxIndex {
		return s
	}
	n := 0
	for i := 0; i < len(s); i += 2 {
		s[n] = s[i]
		n++
	}
	return s[:n]
}

func (w *chunkWriter) compressed(flags byte, first, last int64, records []byte) error {
	payload := w.enc.EncodeAll(records, w.buf[:0])
	length := len(payload)
	if w.aead != nil {
		length += w.aead.Overhead()
	}
	head := chunkHead{kind: kindData, flags: flags, length: uint32(length), seq: w.seq, first: first, last: last}
	if w.aead != nil {
		payload = w.aead.Seal(payload[:0], nonce(w.seq), payload, head.append(nil))
	}
	w.buf = payload
	err := w.write(head, payload)
	if cap(w.buf) > 4<<10 { // an idle session keeps nothing big
		w.buf = nil
	}
	return err
}

func (w *chunkWriter) chunk(kind chunkKind, flags byte, first, last int64, payload []byte) error {
	return w.write(chunkHead{
		kind: kind, flags: flags, length: uint32(len(payload)), seq: w.seq, first: first, last: last,
	}, payload)
}

// write puts a chunk into the file by one call, so that a process that is killed leaves whole chunks in most cases and
// one torn chunk at the end otherwise.
func (w *chunkWriter) write(h chunkHead, payload []byte) error {
	if len(payload) > maxChunk {
		return fmt.Errorf("write chunk %d: %d bytes are too many", w.seq, len(payload))
	}
	out := make([]byte, 0, headSize+len(payload)+tailSize)
	out = h.append(out)
	out = append(out, payload...)
	sum := chainHash(w.prev, out[:headSize], payload)
	out = append(out, sum[:]...)
	out = append(out, ed25519.Sign(w.key, signedText(w.session, w.seq, sum))...)
	if _, err := w.f.Write(out); err != nil {
		return errors.Join(fmt.Errorf("write chunk %d: %w", w.seq, err), w.f.Truncate(w.offset))
	}
	w.prev = sum
	w.seq++
	w.offset += int64(len(out))
	return nil
}

// finish writes the end, the index and the trailer, and returns the hash of the last chunk.
func (w *chunkWriter) finish(e *End) (hash, error) {
	at := micros(e.Ended)
	b, err := encodeJSON("end", e)
	if err != nil {
		return hash{}, err
	}
	if err := w.chunk(kindEnd, 0, at, at, b); err != nil {
		return hash{}, err
	}
	if b, err = encodeJSON("index", &w.index); err != nil {
		return hash{}, err
	}
	offset := w.offset
	if err := w.chunk(kindIndex, 0, at, at, b); err != nil {
		return hash{}, err
	}
	trailer := append(binary.BigEndian.AppendUint64(nil, uint64(offset)), endMagic...)
	if _, err := w.f.Write(trailer); err != nil {
		return hash{}, fmt.Errorf("write trailer: %w", err)
	}
	return w.prev, nil
}
