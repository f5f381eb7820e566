package recording

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// VerifyConfig is what a recording is held against.
type VerifyConfig struct {
	// Keys are the signing keys that are trusted. None with AnyKey: whatever key the file names.
	Keys   []ed25519.PublicKey
	AnyKey bool
	// Name is that of the file, which must be of its session; "": not checked.
	Name string
	// Head is the hash of the last chunk as the audit log has it, in hex; "": not checked.
	Head string
}

// Report is what a recording was found to be.
type Report struct {
	Header Header
	KeyID  string
	Chunks uint64 // that are right
	Head   string // hash of the last of them, in hex
	Last   time.Time
	End    *End
}

// Verify reads the whole file and returns an error when it is not as the gateway wrote it: a *Damage that says where, or
// ErrUnfinished. The Report says how far it is right. No identity is needed.
func Verify(f File, cfg VerifyConfig) (*Report, error) {
	c, err := newChunks(f)
	if err != nil {
		return &Report{}, err
	}
	rep := &Report{Header: c.header, KeyID: KeyID(c.header.PublicKey), Chunks: 1}
	if err := cfg.checkIdentity(&c.header); err != nil {
		return rep, err
	}
	r := &Reader{c: c}
	for err == nil {
		h, payload, nerr := c.next()
		switch {
		case errors.Is(nerr, io.EOF):
			err = ErrUnfinished
		case nerr != nil:
			err = nerr
		case r.end != nil || h.kind != kindData:
			err = r.closing(h, payload)
		}
		rep.Chunks, rep.Head, rep.Last, rep.End = c.seq, r.Head(), fromMicros(c.last), r.end
	}
	if !errors.Is(err, io.EOF) {
		if errors.Is(err, ErrUnfinished) {
			err = fmt.Errorf("%w; it is right up to chunk %d, %s (%s after the start)", ErrUnfinished, c.seq-1,
				rep.Last.Format(time.RFC3339Nano), rep.Last.Sub(c.header.Started).Round(time.Millisecond))
		}
		return rep, err
	}
	if cfg.Head != "" {
		want, herr := hex.DecodeString(cfg.Head)
		if herr != nil || string(want) != string(c.prev[:]) {
			return rep, &Damage{Problem: fmt.Sprintf("its last chunk is not the one on record: head %s, want %s", rep.Head, cfg.Head)}
		}
	}
	return rep, nil
}

// checkIdentity asks whether the file is by whom and about what it should be.
func (cfg *VerifyConfig) checkIdentity(h *Header) error {
	id := KeyID(h.PublicKey)
	if h.KeyID != id {
		return &Damage{Problem: fmt.Sprintf("the header names key %s and holds key %s", h.KeyID, id)}
	}
	trusted := cfg.AnyKey
	for _, k := range cfg.Keys {
		trusted = trusted || k.Equal(ed25519.PublicKey(h.PublicKey))
	}
	if !trusted {
		return &Damage{Problem: fmt.Sprintf("it is signed with key %s, which is not a trusted one: it is from another gateway, or forged", id)}
	}
	if cfg.Name == "" {
		return nil
	}
	base := strings.TrimSuffix(strings.TrimSuffix(path.Base(cfg.Name), PartSuffix), Suffix)
	if base != h.SessionID {
		return &Damage{Problem: fmt.Sprintf("it is the recording of session %s: the file was put in the place of another", h.SessionID)}
	}
	return nil
}
