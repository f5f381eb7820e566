package recording

import (
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"weft/gateway/recording/term"
	"weft/gateway/recording/transfer"
)

// How often the state of a terminal is recorded: after so much output, or so long after the last time when there was any.
const (
	keyFrameBytes = 256 << 10
	keyFrameEvery = 10 * time.Second
)

// How many cells the terminals that are followed may have, in one session and in all: a cell is eight bytes, and is only made
// when something is written there.
const (
	maxSessionCells = 512 << 10
	maxCells        = 64 << 20
)

// Channel is one channel of a session. Its methods are called in the order of the events on the channel; those for data
// may run at once with each other, one for each direction. A nil Channel records nothing.
type Channel struct {
	s  *Session
	id int

	up, down atomic.Int64 // bytes of data

	// mu guards the following.
	mu       sync.Mutex
	pty      bool
	columns  int            // of the terminal
	rows     int            //
	term     *term.Terminal // nil: no terminal, or none that is followed
	commands *commands
	cells    int64  // reserved for it
	kind     string // event that started something; "" before
	kept     [2]int64
	over     bool // the limit of output was crossed and said so
	input    bool // the client's data is recorded
	lines    *lineSplitter
	transfer transfer.Parser // nil: none
	since    int64           // bytes of output after the last key frame
	frameAt  int64           // when that was
	found    []Event         // by the parsers, during a call
}

// Channel records that a channel was opened. id is unique in the session and greater than 0.
func (s *Session) Channel(id int, kind string) *Channel {
	s.event(Event{Type: EventChannelOpen, Kind: kind}, id)
	s.mu.Lock()
	s.counts.Channels++
	s.mu.Unlock()
	return &Channel{s: s, id: id}
}

func (c *Channel) event(e Event) { c.s.event(e, c.id) }

// Env records a variable that was passed on.
func (c *Channel) Env(name, value string) {
	if c == nil {
		return
	}
	c.event(Event{Type: EventEnv, Name: name, Value: value})
}

// PTY records that the channel has a terminal from now on.
func (c *Channel) PTY(name string, columns, rows int, modes []byte) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pty = true
	columns, rows = clampSize(orSize(columns, 80), orSize(rows, 24))
	c.columns, c.rows = columns, rows
	if c.reserve(columns, rows) {
		c.makeTerm(columns, rows)
	}
	c.event(Event{Type: EventPTY, Term: name, Columns: columns, Rows: rows, Modes: hex.EncodeToString(modes)})
	c.s.record(RecordResize, c.id, sizeData(columns, rows), nil)
}

func (c *Channel) makeTerm(columns, rows int) {
	c.term = term.New(term.Config{
		Columns: columns, Rows: rows,
		OnLineFeed: func() { c.commands.lineFeed() }, OnMark: func(l byte, rest string) { c.commands.mark(l, rest) },
	})
	c.commands = newCommands(c.term, c.s.now, func(command, source string, cut bool) {
		c.found = append(c.found, Event{Type: EventCommand, Command: command, Source: source, Truncated: cut})
	})
}

func clampSize(columns, rows int) (int, int) {
	return min(columns, term.MaxColumns), min(rows, term.MaxRows)
}

// reserve takes the cells of a terminal of that size, both its screens, from what the session and all sessions may have. When
// there are not enough, the terminal's output is recorded as ever, but no command lines are read off it and no key frames
// made, and the recording says so.
func (c *Channel) reserve(columns, rows int) bool {
	more := int64(2*columns*rows) - c.cells
	r, s := c.s.r, c.s
	s.mu.Lock()
	ok := s.cells+more <= maxSessionCells
	if ok && r.cells.Add(more) > maxCells && more > 0 {
		r.cells.Add(-more)
		ok = false
	}
	if ok {
		s.cells += more
		c.cells += more
	}
	s.mu.Unlock()
	if !ok {
		r.stats.blind.Add(1)
		c.event(Event{Type: EventNote, Reason: "too many or too large terminals: no command lines are read off this one"})
	}
	return ok
}

// release gives the cells back.
func (c *Channel) release() {
	c.s.mu.Lock()
	c.s.cells -= c.cells
	c.s.mu.Unlock()
	c.s.r.cells.Add(-c.cells)
	c.cells = 0
}

func orSize(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}

// Resize records a window change.
func (c *Channel) Resize(columns, rows int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pty {
		return
	}
	columns, rows = clampSize(orSize(columns, c.columns), orSize(rows, c.rows))
	switch {
	case c.term == nil:
	case c.reserve(columns, rows):
		c.term.Resize(columns, rows)
	default:
		c.release()
		c.term, c.commands = nil, nil
	}
	c.columns, c.rows = columns, rows
	c.event(Event{Type: EventResize, Columns: columns, Rows: rows})
	c.s.record(RecordResize, c.id, sizeData(columns, rows), nil)
}

// Start records what is about to run: EventShell, EventExec with its command, or EventSubsystem with its name.
func (c *Channel) Start(kind, what string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kind = kind
	e := Event{Type: kind}
	switch kind {
	case EventExec:
		e.Command = what
	case EventSubsystem:
		e.Name = what
	}
	c.event(e)
	policy := c.s.r.cfg.Input
	c.input = policy == InputAll || (policy == InputScripts && kind == EventShell && !c.pty)
	if kind == EventShell && !c.pty {
		c.lines = &lineSplitter{emit: func(line string) {
			c.found = append(c.found, Event{Type: EventCommand, Command: line, Source: SourceInput})
		}}
	}
	if !c.pty {
		c.transfer = transfer.New(kind == EventSubsystem, what, c.s.r.cfg.HashTransfers, c.onTransfer)
	}
}

// onTransfer is called by the parser, with mu held.
func (c *Channel) onTransfer(o transfer.Operation) {
	e := Event{
		Type: o.Protocol, Operation: o.Name, Path: o.Path, NewPath: o.NewPath, Flags: o.Flags, Result: o.Result, SHA256: o.SHA256,
		Reason: o.Problem,
	}
	if o.Bytes >= 0 {
		e.Bytes = Number(o.Bytes)
	}
	if o.Problem != "" { // whatever it is, it is output from now on
		c.s.r.stats.unparsed.Add(1)
		c.transfer = nil
	}
	c.found = append(c.found, e)
}

// Input takes data of the client before it is passed on.
func (c *Channel) Input(b []byte) {
	if c == nil {
		return
	}
	c.up.Add(int64(len(b)))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.commands != nil {
		c.commands.input(b)
	}
	if c.transfer != nil {
		c.transfer.FromClient(b)
	}
	if c.input {
		c.record(RecordInput, b)
	}
	if c.lines != nil {
		c.lines.write(b)
	}
	c.tellLocked()
}

// Output takes data of the target's standard output, or terminal, before it is passed on.
func (c *Channel) Output(b []byte) {
	if c == nil {
		return
	}
	c.down.Add(int64(len(b)))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.pty:
		c.terminalOutput(b)
	case c.transfer != nil:
		c.transfer.FromTarget(b)
		if c.transfer == nil {
			c.keep(RecordOutput, 0, b)
		}
	default:
		c.keep(RecordOutput, 0, b)
	}
	c.tellLocked()
}

// Stderr takes data of the target's standard error before it is passed on.
func (c *Channel) Stderr(b []byte) {
	if c == nil {
		return
	}
	c.down.Add(int64(len(b)))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pty {
		c.record(RecordStderr, b)
		return
	}
	c.keep(RecordStderr, 1, b)
}

// terminalOutput records first what was seen, then what that means.
func (c *Channel) terminalOutput(b []byte) {
	if c.term == nil {
		c.record(RecordOutput, b)
		return
	}
	_, _ = c.term.Write(b) // never fails
	c.record(RecordOutput, b)
	c.since += int64(len(b))
	now := c.s.now()
	if c.frameAt == 0 {
		c.frameAt = now
	}
	if c.since < keyFrameBytes && now-c.frameAt < keyFrameEvery.Microseconds() {
		return
	}
	if !c.term.Settled() {
		return
	}
	columns, rows := c.term.Size()
	c.s.record(RecordKeyFrame, c.id, append(sizeData(columns, rows), c.term.Snapshot()...), nil)
	c.since, c.frameAt = 0, now
}

// keep records output up to the limit of a channel without a terminal.
func (c *Channel) keep(kind RecordKind, which int, b []byte) {
	limit := c.s.r.cfg.OutputLimit
	if left := limit - c.kept[which]; left < int64(len(b)) {
		if !c.over {
			c.over = true
			c.found = append(c.found, Event{Type: EventTruncated, Bytes: Number(max(limit, 0))})
		}
		over := int64(len(b)) - max(left, 0)
		c.s.mu.Lock()
		c.s.counts.Unwritten += over
		c.s.mu.Unlock()
		b = b[:max(left, 0)]
	}
	c.kept[which] += int64(len(b))
	c.record(kind, b)
}

func (c *Channel) record(kind RecordKind, b []byte) {
	if len(b) == 0 {
		return
	}
	c.s.record(kind, c.id, b, func() {
		if kind == RecordOutput || kind == RecordStderr {
			c.s.counts.Output += int64(len(b))
		}
	})
}

// tellLocked records what the parsers found.
func (c *Channel) tellLocked() {
	for _, e := range c.found {
		c.event(e)
	}
	c.found = c.found[:0]
}

// Signal records a signal that the client sent.
func (c *Channel) Signal(name string) {
	if c == nil {
		return
	}
	c.event(Event{Type: EventSignal, Signal: name})
}

// Break records a break that the client sent.
func (c *Channel) Break() {
	if c == nil {
		return
	}
	c.event(Event{Type: EventBreak})
}

// Exit records how the program ended.
func (c *Channel) Exit(status uint32) {
	if c == nil {
		return
	}
	c.event(Event{Type: EventExit, Status: &status})
}

// ExitSignal records that a signal ended the program.
func (c *Channel) ExitSignal(name string) {
	if c == nil {
		return
	}
	c.event(Event{Type: EventExit, Signal: name})
}

// Close records the end of the channel.
func (c *Channel) Close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transfer != nil {
		c.transfer.Close()
		c.transfer = nil
	}
	c.release()
	c.term, c.commands = nil, nil
	if c.lines != nil {
		c.lines.close()
	}
	c.tellLocked()
	c.event(Event{Type: EventChannelClose, BytesUp: Number(c.up.Load()), BytesDown: Number(c.down.Load())})
}
