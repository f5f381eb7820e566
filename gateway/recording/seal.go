package recording

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// errNotOurs says that this gateway did not write a file, or not as it is.
var errNotOurs = errors.New("this gateway did not sign it")

// sealFile writes the end of a recording that has none and gives it its name. A torn chunk at its end is cut off; how
// much that was is part of the end. A file that this gateway did not sign, or that was changed, stays as it is.
func (r *Recorder) sealFile(ctx context.Context, name string) (Summary, error) {
	path := r.path(name) + PartSuffix
	in, err := OpenFile(path)
	if err != nil {
		return Summary{}, err
	}
	w, end, err := r.resume(in)
	if err = errors.Join(err, in.Close()); err != nil {
		if errors.Is(err, errNoHeader) { // it was killed before a word was on disk
			return Summary{}, os.Remove(path)
		}
		return Summary{}, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0o600)
	if err != nil {
		return Summary{}, err
	}
	sum := Summary{Name: name, End: *end}
	head, err := r.sealTo(f, w, end)
	if err = errors.Join(err, f.Close()); err != nil {
		return sum, err
	}
	sum.Head = fmt.Sprintf("%x", head)
	if ctx.Err() != nil {
		return sum, ctx.Err()
	}
	return sum, r.publish(name)
}

func (r *Recorder) sealTo(f *os.File, w *chunkWriter, end *End) (hash, error) {
	w.f = f
	if err := f.Truncate(w.offset); err != nil {
		return hash{}, err
	}
	if _, err := f.Seek(w.offset, 0); err != nil {
		return hash{}, err
	}
	head, err := w.finish(end)
	if err != nil {
		return hash{}, err
	}
	return head, f.Sync()
}

// resume reads the chunks of an unfinished file and returns a writer that stands behind the last whole one.
func (r *Recorder) resume(in File) (*chunkWriter, *End, error) {
	c, err := newChunks(in)
	if _, damaged := errors.AsType[*Damage](err); damaged {
		return nil, nil, fmt.Errorf("%w: %w", errNotOurs, err)
	}
	if err != nil {
		return nil, nil, err
	}
	if string(c.header.PublicKey) != string(r.PublicKey()) {
		return nil, nil, errNotOurs
	}
	w := newChunkWriter(nil, c.header.SessionID, r.cfg.Key)
	w.enc = r.enc
	end := &End{Reason: EndInterrupted, Ended: c.header.Started}
	for {
		w.prev, w.seq, w.offset = c.prev, c.seq, c.offset
		at := c.offset
		h, _, err := c.next()
		if err != nil {
			break // what follows is no whole chunk of this recording: it is cut off
		}
		if h.kind != kindData { // the end was written, or a part of it: it is written anew
			break
		}
		w.index.Chunks = thin(append(w.index.Chunks, ChunkRef{Offset: at, First: h.first, Last: h.last}))
		end.Ended = fromMicros(h.last)
	}
	end.Discarded = in.Size() - w.offset
	if end.Ended.IsZero() {
		end.Ended = time.Now().UTC()
	}
	return w, end, nil
}
