package recording

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A recording is a magic string and a row of chunks, and when it was finished a trailer:
//
//	file    = magic chunk* [trailer]
//	chunk   = head payload hash signature
//	head    = kind(1) flags(1) zero(2) length(4) sequence(8) first(8) last(8)      big endian, 32 bytes
//	hash    = SHA-256(hash of the chunk before || head || payload)                  the first one's is SHA-256(magic)
//	signature = Ed25519("weft recording chunk 1" || session ID || 0 || sequence || hash)
//	trailer = offset of the index chunk(8) "WEFTEND1"
//
// first and last are the times of the first and last record of the chunk in microseconds since 1970. The first chunk is the
// Header, in clear JSON. Data chunks hold records, compressed and perhaps encrypted. The End, clear JSON, says how it
// ended, and the Index, clear JSON too and without a word of content, where things are.
const (
	magic     = "WEFTREC1"
	endMagic  = "WEFTEND1"
	chainSeed = magic
	sigPrefix = "weft recording chunk 1"

	headSize    = 32
	hashSize    = sha256.Size
	sigSize     = 64
	tailSize    = hashSize + sigSize
	trailerSize = 16
)

// chunkKind says what a chunk holds.
type chunkKind byte

const (
	kindHeader chunkKind = 'H'
	kindData   chunkKind = 'D'
	kindEnd    chunkKind = 'E'
	kindIndex  chunkKind = 'I'
)

// Flags of a chunk.
const (
	flagZstd      = 1 << 0
	flagEncrypted = 1 << 1
)

// Limits of what is read from a file.
const (
	maxChunk    = 16 << 20 // a payload as it is in the file
	maxPlain    = 16 << 20 // a payload decompressed
	maxRecords  = 1 << 20  // in one chunk
	maxIndexEnt = 1 << 22
)

type hash = [hashSize]byte

// chunkHead is the fixed part of a chunk.
type chunkHead struct {
	kind        chunkKind
	flags       byte
	length      uint32
	seq         uint64
	first, last int64
}

func (h chunkHead) append(b []byte) []byte {
	b = append(b, byte(h.kind), h.flags, 0, 0)
	b = binary.BigEndian.AppendUint32(b, h.length)
	b = binary.BigEndian.AppendUint64(b, h.seq)
	b = binary.BigEndian.AppendUint64(b, uint64(h.first))
	return binary.BigEndian.AppendUint64(b, uint64(h.last))
}

var errNoChunk = errors.New("no chunk is here")

func parseHead(b []byte) (chunkHead, error) {
	h := chunkHead{
		kind: chunkKind(b[0]), flags: b[1], length: binary.BigEndian.Uint32(b[4:]), seq: binary.BigEndian.Uint64(b[8:]),
		first: int64(binary.BigEndian.Uint64(b[16:])), last: int64(binary.BigEndian.Uint64(b[24:])),
	}
	switch h.kind {
	case kindHeader, kindData, kindEnd, kindIndex:
	default:
		return h, fmt.Errorf("%w: unknown kind %#x", errNoChunk, byte(h.kind))
	}
	if h.length > maxChunk {
		return h, fmt.Errorf("%w: length %d", errNoChunk, h.length)
	}
	return h, nil
}

func seedHash() hash { return sha256.Sum256([]byte(chainSeed)) }

// chainHash is the hash of a chunk.
func chainHash(prev hash, head, payload []byte) hash {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(head)
	h.Write(payload)
	return hash(h.Sum(nil))
}

// signedText is what the signature of a chunk is over. The session ID keeps chunks of other recordings out.
func signedText(session string, seq uint64, sum hash) []byte {
	b := make([]byte, 0, len(sigPrefix)+len(session)+1+8+hashSize)
	b = append(b, sigPrefix...)
	b = append(b, session...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, seq)
	return append(b, sum[:]...)
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
