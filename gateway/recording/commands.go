package recording

import (
	"bytes"
	"strings"
	"time"

	"weft/gateway/recording/term"
)

// maxEnters bounds the lines that were sent and whose echo is awaited.
const maxEnters = 64

// maxCommandRows bounds how many rows of the screen one command line may take.
const maxCommandRows = 200

// maxTyped bounds what is compared of a line that was typed.
const maxTyped = 256

// staleAfter is the pause in typing after which lines that were sent and not seen are given up.
const staleAfter = time.Second

// commands reads command lines off a terminal. What the client types is used only to know when a line begins and that it
// was sent; the text is what the target echoed, so that what is not echoed, a password, is never read.
//
// The first byte that is typed after a line marks the place where the text begins: what stands before it in that row is
// taken for the prompt. The first line feed after Enter on that line ends it, and its text is whatever the screen shows from
// the place on, edited, completed and recalled as the user did. Lines that were pasted several at a time have no
// such place; they are recognised by the prompt of the line before. docs/recordings.md lists what this cannot see.
type commands struct {
	t    *term.Terminal
	emit func(command, source string, cut bool)

	anchored bool
	line     int // counted over the session, see term.Scrolled
	column   int
	source   string
	prompt   string // before the place, without blanks around it
	right    string // after the place: a right-hand prompt
	enters   int

	// typed is what was typed since the place, to tell a line that is echoed from one that is not. It is not kept.
	typed []byte
	plain bool // nothing was typed that moves or edits, so that typed is what an echo shows

	now       func() int64 // in microseconds
	lastInput int64
}

func newCommands(t *term.Terminal, now func() int64, emit func(command, source string, cut bool)) *commands {
	return &commands{t: t, now: now, emit: emit}
}

// input is called with what the client sent before the target can have answered.
func (c *commands) input(b []byte) {
	if c.t.Alternate() {
		c.anchored, c.enters = false, 0
		return
	}
	if len(b) == 0 || isReport(b) {
		return
	}
	at := c.now()
	if !c.anchored && at-c.lastInput > staleAfter.Microseconds() {
		c.enters = 0 // what was pasted has been echoed by now, or will not be
	}
	c.lastInput = at
	switch {
	case c.anchored && c.enters > 0 && c.unechoed():
		c.enters, c.prompt = 0, ""
		c.place()
	case !c.anchored && c.enters == 0:
		c.place()
	}
	for _, k := range b {
		if c.enters == 0 {
			c.typing(k)
		}
		switch k {
		case '\r', '\n':
			c.enters = min(c.enters+1, maxEnters)
		case 0x03: // the line is given up
			c.anchored, c.enters = false, 0
		}
	}
}

// typing takes note of one byte of the line.
func (c *commands) typing(k byte) {
	switch {
	case k == '\r' || k == '\n':
	case k < 0x20 || k == 0x7f || len(c.typed) >= maxTyped:
		c.plain = false
	default:
		c.typed = append(c.typed, k)
	}
}

// unechoed reports whether a line that was sent was swallowed: what stands at its place is something else. A program that
// reads a password and ends without a line feed leaves it so.
func (c *commands) unechoed() bool {
	_, y, _ := c.t.Cursor()
	first := c.line - c.t.Scrolled()
	if !c.plain || first < 0 || first > y || y-first >= maxCommandRows {
		return false
	}
	shown, typed := c.text(first, y, true), strings.TrimRight(string(c.typed), " ")
	return shown != "" && !strings.HasPrefix(shown, typed) && !strings.HasPrefix(typed, shown)
}

// isReport recognises what a terminal sends by itself: answers to questions, and focus events.
func isReport(b []byte) bool {
	if len(b) < 3 || b[0] != 0x1b || bytes.ContainsAny(b, "\r\n") {
		return false
	}
	switch b[1] {
	case ']', 'P', '_':
		return true
	case '[':
		switch b[len(b)-1] {
		case 'R', 'c', 'n', 't', 'y', 'I', 'O', 'u':
			return true
		}
	}
	return false
}

// place makes the cursor's place the beginning of a line, or the end of the prompt if the row begins with the one that is
// known: then some of the line was typed ahead.
func (c *commands) place() {
	x, y, _ := c.t.Cursor()
	text := c.t.Line(y)
	c.anchored, c.source = true, SourceScreen
	c.typed, c.plain = c.typed[:0], true
	c.line, c.column = c.t.Scrolled()+y, x
	if c.prompt != "" && strings.HasPrefix(text, c.prompt) {
		if w := columnsOf(c.prompt); w < x && strings.TrimSpace(c.t.LineFrom(y, w)) != "" && c.typedAhead(y, w, x) {
			c.column = w
			return
		}
	}
	c.right = strings.TrimSpace(c.t.LineFrom(y, x))
	c.setPrompt(y, x)
}

// typedAhead reports whether something stands between the prompt and the cursor.
func (c *commands) typedAhead(y, from, to int) bool {
	return strings.TrimSpace(c.between(y, from, to)) != ""
}

func (c *commands) between(y, from, to int) string {
	all, rest := c.t.LineFrom(y, from), c.t.LineFrom(y, to)
	return strings.TrimSuffix(all, rest)
}

func (c *commands) setPrompt(y, x int) {
	p := c.between(y, 0, x)
	if p = strings.TrimRight(p, " "); p != "" && columnsOf(p) <= x {
		c.prompt = p
	}
}

// columnsOf counts the columns of a text of the screen.
func columnsOf(s string) int {
	n := 0
	for _, r := range s {
		n += term.RuneWidth(r)
	}
	return n
}

// mark is a shell integration mark; B is the end of the prompt.
func (c *commands) mark(letter byte, _ string) {
	if letter != 'B' {
		return
	}
	x, y, _ := c.t.Cursor()
	c.anchored, c.source = true, SourceMarks
	c.typed, c.plain = c.typed[:0], true
	c.line, c.column, c.right = c.t.Scrolled()+y, x, ""
	c.setPrompt(y, x)
}

// lineFeed is called before the cursor leaves its row.
func (c *commands) lineFeed() {
	if c.enters == 0 {
		if c.anchored && c.source == SourceScreen {
			c.anchored = false // output ran over the place
		}
		return
	}
	_, y, _ := c.t.Cursor()
	if c.anchored {
		c.anchored = false
		c.enters--
		first := c.line - c.t.Scrolled()
		cut := first < 0 || y-first >= maxCommandRows
		if first > y {
			return
		}
		c.tell(c.text(max(first, 0, y-maxCommandRows+1), y, first >= 0), cut)
		return
	}
	if c.prompt == "" {
		return
	}
	// The first row of what may be several.
	top := y
	for top > 0 && c.t.Wrapped(top-1) && y-top < maxCommandRows {
		top--
	}
	if strings.HasPrefix(c.t.Line(top), c.prompt) {
		c.enters--
		c.source = SourceScreen
		c.column, c.right = columnsOf(c.prompt), ""
		c.tell(c.text(top, y, true), false)
	}
}

// text is the line from its place in row first to the end of row last.
func (c *commands) text(first, last int, whole bool) string {
	var b strings.Builder
	columns, _ := c.t.Size()
	for y := first; y <= last; y++ {
		from := 0
		if y == first && whole {
			from = c.column
		}
		line := c.t.LineFrom(y, from)
		b.WriteString(line)
		switch {
		case y == last:
		case c.t.Wrapped(y): // blanks at the edge are part of the line
			b.WriteString(strings.Repeat(" ", max(columns-from-columnsOf(line), 0)))
		default:
			b.WriteByte('\n')
		}
	}
	text := strings.TrimSpace(b.String())
	if c.right != "" {
		text = strings.TrimSpace(strings.TrimSuffix(text, c.right))
	}
	return text
}

func (c *commands) tell(text string, cut bool) {
	if text == "" {
		return
	}
	c.emit(text, c.source, cut)
}
