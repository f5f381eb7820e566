package transfer

import (
	"crypto/sha256"
	"hash"
)

// openFile is a file or directory that the client holds open.
type openFile struct {
	op            Operation
	dir           bool
	problem       string
	read, written content
}

func newOpenFile(op Operation, dir, hashes bool) *openFile {
	f := &openFile{op: op, dir: dir}
	f.read.wanted, f.written.wanted = hashes, hashes
	return f
}

// content is what went by of a file in one direction. Its hash is made while each piece follows the one before.
type content struct {
	bytes  int64
	next   uint64
	wanted bool
	broken bool
	h      hash.Hash
}

// begin says that a piece at offset follows.
func (c *content) begin(offset uint64) {
	if offset != c.next {
		c.broken, c.h = true, nil
	}
}

func (c *content) add(b []byte) {
	c.bytes += int64(len(b))
	c.next += uint64(len(b))
	if !c.wanted || c.broken {
		return
	}
	if c.h == nil {
		c.h = sha256.New()
	}
	c.h.Write(b)
}

func (c *content) sum() string {
	if c.broken || c.h == nil {
		return ""
	}
	return sumText(c.h.Sum(nil))
}

// splitWrite says how many bytes of a write request stand before the content: ID, handle, offset and length.
func splitWrite(typ byte, b []byte) (int, bool) {
	if typ != fxpWrite {
		return 0, false
	}
	if len(b) < 8 {
		return 8, true
	}
	f := fields{b: b[4:]}
	return 4 + 4 + int(min(f.uint32(), maxHandle)) + 8 + 4, true
}

// splitData says the same of an answer with data: ID and length.
func splitData(typ byte, _ []byte) (int, bool) { return 8, typ == fxpData }

// written is called with the head of a write request (piece nil) and then with the content.
func (p *sftp) written(head, piece []byte) {
	f := fields{b: head}
	id := f.uint32()
	handle := f.handle()
	offset, length := f.uint64(), f.uint32()
	if f.bad {
		return
	}
	file := p.handles[handle]
	if piece == nil {
		if file != nil {
			file.written.begin(offset)
		}
		p.wait(id, request{handle: handle, write: int64(length)})
		return
	}
	if file != nil {
		file.written.add(piece)
	}
}

// received is called with the head of an answer (piece nil) and then with the content.
func (p *sftp) received(head, piece []byte) {
	f := fields{b: head}
	id := f.uint32()
	if piece == nil {
		p.target.reading = nil
		if r, ok := p.waiting[id]; ok && r.read {
			delete(p.waiting, id)
			if file := p.handles[r.handle]; file != nil {
				file.read.begin(r.offset)
				p.target.reading = file
			}
		}
		return
	}
	if p.target.reading != nil {
		p.target.reading.read.add(piece)
	}
}
