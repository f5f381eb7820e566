package recording

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
)

// errNoHeader says that a file has no whole header: it is no recording, or its writer was killed at once.
var errNoHeader = errors.New("no whole header")

// chunks reads the chunks of a file in order and checks each against the chain and the signature of the key in the header.
// Whether that is the right key is for the caller to say.
type chunks struct {
	f      File
	header Header
	prev   hash
	seq    uint64
	offset int64
	last   int64 // time of the last record so far
}

// newChunks reads the header.
func newChunks(f File) (*chunks, error) {
	c := &chunks{f: f, prev: seedHash(), offset: int64(len(magic))}
	var m [len(magic)]byte
	if n, err := f.ReadAt(m[:], 0); n < len(m) {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read recording: %w", errNoHeader)
		}
		return nil, fmt.Errorf("read recording: %w", err)
	}
	if string(m[:]) != magic {
		return nil, &Damage{Problem: "this is not a weft recording, or its first bytes were altered"}
	}
	r, err := readRaw(f, c.offset)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("read recording: %w", errNoHeader)
		}
		return nil, c.damage(nil, "the header was altered")
	}
	if r.head.kind != kindHeader || r.head.seq != 0 || r.sum(c.prev) != r.hash {
		return nil, c.damage(nil, "the header was altered")
	}
	if err := decodeJSON("header", r.payload, &c.header); err != nil {
		return nil, err
	}
	if c.header.Version != FormatVersion {
		return nil, fmt.Errorf("read recording: version %d of the format, this program knows %d", c.header.Version, FormatVersion)
	}
	if len(c.header.PublicKey) != ed25519.PublicKeySize || !r.signed(&c.header) {
		return nil, c.damage(nil, "the signature of the header does not fit")
	}
	c.pass(r)
	return c, nil
}

// pass goes behind a chunk that is right.
func (c *chunks) pass(r *rawChunk) {
	c.prev, c.seq, c.last = r.hash, r.head.seq+1, r.head.last
	c.offset += r.size()
}

// next returns the next chunk, io.EOF behind the last byte, or a *Damage.
func (c *chunks) next() (chunkHead, []byte, error) {
	if c.offset == c.f.Size() {
		return chunkHead{}, nil, io.EOF
	}
	r, err := readRaw(c.f, c.offset)
	if errors.Is(err, errNoChunk) || errors.Is(err, io.ErrUnexpectedEOF) {
		return chunkHead{}, nil, c.unreadable(err)
	}
	if err != nil {
		return chunkHead{}, nil, err
	}
	if r.head.seq == c.seq && r.sum(c.prev) == r.hash && r.signed(&c.header) {
		c.pass(r)
		return r.head, r.payload, nil
	}
	return r.head, nil, c.diagnose(r)
}

// rawChunk is a chunk as it is in a file, not yet checked.
type rawChunk struct {
	head      chunkHead
	rawHead   []byte
	payload   []byte
	hash      hash
	signature []byte
}

func (r *rawChunk) size() int64 { return headSize + int64(len(r.payload)) + tailSize }

func (r *rawChunk) sum(prev hash) hash { return chainHash(prev, r.rawHead, r.payload) }

// signed reports whether the gateway signed a chunk with this number and hash in this recording.
func (r *rawChunk) signed(h *Header) bool {
	return ed25519.Verify(h.PublicKey, signedText(h.SessionID, r.head.seq, r.hash), r.signature)
}

// authentic reports whether a chunk that is not read in its turn is one of this recording: the hash of the chunk before it
// is taken as it stands there, and the signature tells whether it was the right one.
func (c *chunks) authentic(at int64, r *rawChunk) bool {
	var prev hash
	if at < int64(len(magic))+tailSize || readFull(c.f, prev[:], at-tailSize) != nil {
		return false
	}
	return r.sum(prev) == r.hash && r.signed(&c.header)
}

// readRaw fails with errNoChunk or io.ErrUnexpectedEOF when what is at offset is not a chunk, or not all of one.
func readRaw(f File, offset int64) (*rawChunk, error) {
	r := &rawChunk{rawHead: make([]byte, headSize)}
	if err := readFull(f, r.rawHead, offset); err != nil {
		return nil, err
	}
	var err error
	if r.head, err = parseHead(r.rawHead); err != nil {
		return nil, err
	}
	body := make([]byte, min(int64(r.head.length)+tailSize, max(f.Size()-offset-headSize, 0)))
	if err := readFull(f, body, offset+headSize); err != nil {
		return nil, err
	}
	if len(body) < int(r.head.length)+tailSize {
		return nil, io.ErrUnexpectedEOF
	}
	r.payload = body[:r.head.length]
	copy(r.hash[:], body[r.head.length:])
	r.signature = body[int(r.head.length)+hashSize:]
	return r, nil
}

func readFull(f File, b []byte, offset int64) error {
	n, err := f.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read recording: %w", err)
}
