package transfer

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// The packet types of version 3 (draft-ietf-secsh-filexfer-02 section 3).
const (
	fxpInit     = 1
	fxpVersion  = 2
	fxpOpen     = 3
	fxpClose    = 4
	fxpRead     = 5
	fxpWrite    = 6
	fxpSetstat  = 9
	fxpFsetstat = 10
	fxpOpendir  = 11
	fxpRemove   = 13
	fxpMkdir    = 14
	fxpRmdir    = 15
	fxpRename   = 18
	fxpSymlink  = 20
	fxpStatus   = 101
	fxpHandle   = 102
	fxpData     = 103
	fxpExtended = 200
)

// Limits of what is remembered of a channel.
const (
	maxPacket   = 34 << 10  // of one without file content that is looked at; more is skipped
	maxLength   = 256 << 20 // of any packet: beyond it the stream is something else
	maxRequests = 4096      // waiting for their answer
	maxHandles  = 1024
	maxHandle   = 256 // bytes of a handle (section 6.3)
	maxPath     = 4096
)

// sftp follows both directions of one channel.
type sftp struct {
	tell    func(Operation)
	hashes  bool
	client  stream
	target  stream
	waiting map[uint32]request
	handles map[string]*openFile
	dead    bool
}

// request waits for its answer.
type request struct {
	op     Operation
	open   bool // op is reported when the file is closed, not now
	dir    bool
	close  bool
	handle string
	offset uint64
	read   bool
	write  int64 // bytes
}

func newSFTP(hashes bool, tell func(Operation)) *sftp {
	p := &sftp{tell: tell, hashes: hashes, waiting: make(map[uint32]request), handles: make(map[string]*openFile)}
	p.client.packet, p.client.content = p.fromClient, p.written
	p.target.packet, p.target.content = p.fromTarget, p.received
	p.client.split, p.target.split = splitWrite, splitData
	return p
}

func (p *sftp) FromClient(b []byte) { p.feed(&p.client, b) }

func (p *sftp) FromTarget(b []byte) { p.feed(&p.target, b) }

func (p *sftp) feed(s *stream, b []byte) {
	if p.dead {
		return
	}
	if problem := s.write(b); problem != "" {
		p.give(problem)
	}
}

// give gives the channel up.
func (p *sftp) give(problem string) {
	p.Close()
	p.dead, p.waiting, p.handles = true, nil, nil
	p.client, p.target = stream{}, stream{}
	p.tell(Operation{Protocol: "sftp", Name: "unparsed", Bytes: -1, Problem: problem})
}

// Close tells of files that are still open.
func (p *sftp) Close() {
	for h, f := range p.handles {
		delete(p.handles, h)
		p.report(f, "")
	}
}

func (p *sftp) wait(id uint32, r request) {
	if len(p.waiting) < maxRequests {
		p.waiting[id] = r
		return
	}
	// What became of it will not be known, but that it was asked for is told.
	if r.open && r.op.Name == "" {
		r.op.Name = "open"
	}
	if r.op.Name != "" {
		p.tell(r.op)
	}
}

// fromClient looks at a request: its type, and all of it but file content.
func (p *sftp) fromClient(typ byte, b []byte) {
	if typ == fxpInit {
		return
	}
	f := fields{b: b}
	id := f.uint32()
	op := Operation{Protocol: "sftp", Bytes: -1}
	r := request{}
	switch typ {
	case fxpOpen:
		op.Path = f.path()
		op.Flags = openFlags(f.uint32())
		r.open = true
	case fxpOpendir:
		op.Name, op.Path = "list", f.path()
		r.open, r.dir = true, true
	case fxpClose:
		r.close, r.handle = true, f.handle()
	case fxpRead:
		r.read, r.handle, r.offset = true, f.handle(), f.uint64()
	case fxpSetstat:
		op.Name, op.Path, op.Flags = "setstat", f.path(), attributes(&f)
	case fxpFsetstat:
		op.Name, op.Path, op.Flags = "setstat", p.pathOf(f.handle()), attributes(&f)
	case fxpRemove:
		op.Name, op.Path = "remove", f.path()
	case fxpMkdir:
		op.Name, op.Path = "mkdir", f.path()
	case fxpRmdir:
		op.Name, op.Path = "rmdir", f.path()
	case fxpRename:
		op.Name, op.Path, op.NewPath = "rename", f.path(), f.path()
	case fxpSymlink: // OpenSSH sends the target first, against the draft
		op.Name, op.Path, op.NewPath = "symlink", f.path(), f.path()
	case fxpExtended:
		if !p.extended(&op, &f) {
			return
		}
	default: // a question, which changes nothing
		return
	}
	if f.bad { // a server that reads it ends
		p.give("a request is malformed")
		return
	}
	r.op = op
	p.wait(id, r)
}

// extended knows those extensions of OpenSSH that change something (its PROTOCOL file, section 4).
func (p *sftp) extended(op *Operation, f *fields) bool {
	switch name := f.text(256); name {
	case "posix-rename@openssh.com":
		op.Name, op.Path, op.NewPath = "rename", f.path(), f.path()
	case "hardlink@openssh.com":
		op.Name, op.Path, op.NewPath = "hardlink", f.path(), f.path()
	case "lsetstat@openssh.com":
		op.Name, op.Path, op.Flags = "setstat", f.path(), attributes(f)
	case "copy-data":
		op.Name, op.Path = "copy", p.pathOf(f.handle())
		f.uint64()
		op.Bytes = int64(f.uint64() &^ (1 << 63))
		op.NewPath = p.pathOf(f.handle())
	default:
		return false
	}
	return true
}

func (p *sftp) pathOf(handle string) string {
	if f := p.handles[handle]; f != nil {
		return f.op.Path
	}
	return ""
}

// fromTarget looks at an answer.
func (p *sftp) fromTarget(typ byte, b []byte) {
	if typ == fxpVersion {
		f := fields{b: b}
		if v := f.uint32(); v != 3 {
			p.give("version " + strconv.FormatUint(uint64(v), 10) + " of the protocol")
		}
		return
	}
	f := fields{b: b}
	id := f.uint32()
	r, ok := p.waiting[id]
	if !ok || f.bad {
		return
	}
	delete(p.waiting, id)
	switch typ {
	case fxpHandle:
		p.opened(r, f.handle())
	case fxpStatus:
		p.answered(r, statusText(f.uint32()))
	}
}

func (p *sftp) opened(r request, handle string) {
	if !r.open {
		return
	}
	if len(p.handles) >= maxHandles {
		r.op.Name, r.op.Result = "open", "ok"
		p.tell(r.op)
		return
	}
	p.handles[handle] = newOpenFile(r.op, r.dir, p.hashes)
}

func (p *sftp) answered(r request, result string) {
	file := p.handles[r.handle]
	switch {
	case r.close:
		if file != nil {
			delete(p.handles, r.handle)
			p.report(file, result)
		}
	case r.read:
		if file != nil && result != "ok" && result != "end of file" {
			file.problem = result
		}
	case r.write > 0:
		if file != nil && result != "ok" {
			file.problem, file.written.broken = result, true
		}
	default:
		r.op.Result = result
		if r.open && r.op.Name == "" {
			r.op.Name = "open"
		}
		p.tell(r.op)
	}
}

// report tells what was done with a file while it was open.
func (p *sftp) report(f *openFile, result string) {
	if f.problem != "" {
		result = f.problem
	}
	f.op.Result = result
	if f.dir {
		p.tell(f.op)
		return
	}
	write := f.written.bytes > 0 || strings.Contains(f.op.Flags, "write") || strings.Contains(f.op.Flags, "append")
	if write {
		p.tell(f.done("write", &f.written))
	}
	if f.read.bytes > 0 || !write {
		p.tell(f.done("read", &f.read))
	}
}

func (f *openFile) done(name string, c *content) Operation {
	op := f.op
	op.Name, op.Bytes, op.SHA256 = name, c.bytes, c.sum()
	return op
}

func openFlags(v uint32) string {
	var out []string
	for i, n := range []string{"read", "write", "append", "create", "truncate", "exclusive"} {
		if v&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return strings.Join(out, ",")
}

// attributes reads what a setstat sets (section 5).
func attributes(f *fields) string {
	flags := f.uint32()
	var out []string
	if flags&1 != 0 {
		out = append(out, "size="+strconv.FormatUint(f.uint64(), 10))
	}
	if flags&2 != 0 {
		uid, gid := f.uint32(), f.uint32()
		out = append(out, "owner="+strconv.FormatUint(uint64(uid), 10)+":"+strconv.FormatUint(uint64(gid), 10))
	}
	if flags&4 != 0 {
		out = append(out, "mode="+strconv.FormatUint(uint64(f.uint32())&0o7777, 8))
	}
	if flags&8 != 0 {
		_, mtime := f.uint32(), f.uint32()
		out = append(out, "mtime="+strconv.FormatUint(uint64(mtime), 10))
	}
	return strings.Join(out, ",")
}

func statusText(code uint32) string {
	texts := []string{
		"ok", "end of file", "no such file", "permission denied", "failure", "bad message", "no connection", "connection lost", "not supported",
	}
	if int(code) < len(texts) {
		return texts[code]
	}
	return "status " + strconv.FormatUint(uint64(code), 10)
}

// fields reads the parts of a packet. After one that is not there it is bad, and everything reads as zero.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad || n < 0 || len(f.b) < n {
		f.bad = true
		return nil
	}
	out := f.b[:n]
	f.b = f.b[n:]
	return out
}

func (f *fields) uint32() uint32 {
	b := f.take(4)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (f *fields) uint64() uint64 {
	b := f.take(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (f *fields) text(limit int) string {
	n := f.uint32()
	if n > uint32(limit) {
		f.bad = true
		return ""
	}
	return string(f.take(int(n)))
}

// path is clipped, not refused: what is too long for us may do something all the same.
func (f *fields) path() string {
	s := f.text(maxPacket)
	if len(s) > maxPath {
		s = s[:maxPath] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func (f *fields) handle() string { return f.text(maxHandle) }

func sumText(b []byte) string { return hex.EncodeToString(b) }
