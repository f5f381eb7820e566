// Package term is a headless terminal: it takes what a program writes to its terminal and keeps the screen that a person
// would see. Recordings use it to read command lines off the screen, to take key frames for seeking, and to show a
// session to somebody without passing the program's own bytes on to that somebody's terminal.
//
// It follows ECMA-48 and the xterm control sequences as far as shells and full-screen programs need them. What it does not
// know it skips, without ever answering. It is made for hostile input: no sequence of bytes makes it panic, its size is
// bounded by MaxColumns and MaxRows, and rows hold only what was written to them, so an idle screen is small.
//
// A Terminal is not safe for concurrent use.
package term

import (
	"strings"
	"unicode/utf8"
)

// The bounds of a screen. What is asked for beyond them is cut to them.
const (
	MaxColumns = 512
	MaxRows    = 256
)

// maxStyles bounds the table of styles; unused ones are dropped when it is full.
const maxStyles = 4096

// Config of a Terminal.
type Config struct {
	Columns, Rows int
	// NewLine has a line feed return to the first column too, as the terminal driver does for a program's output; for
	// output that no driver has gone over.
	NewLine bool
	// OnLineFeed is called before the cursor leaves its row by a line feed, on the normal screen only. Nil: nobody asks.
	OnLineFeed func()
	// OnMark is called at a shell integration mark (OSC 133) with its letter and the rest. Nil: nobody asks.
	OnMark func(letter byte, rest string)
}

// cell is one place of the screen: a rune (0 is a space that was never written) and an index into the table of styles.
type cell struct {
	r     rune
	style uint16
	wide  uint8 // 1: the first half of a wide rune, 2: the second
}

type row struct {
	cells   []cell // up to the last one written; the rest is blank
	fill    uint16 // style of the rest
	wrapped bool   // the text goes on in the next row
}

type cursor struct {
	x, y    int
	style   Style
	pending bool // the next rune wraps first: the last column was just written
	origin  bool
	graphic [2]bool // G0 and G1 are the line-drawing set
	shift   int
}

type screen struct {
	rows  []row
	saved cursor
}

// Terminal is a screen and the state of its parser.
type Terminal struct {
	cfg        Config
	cols, rows int

	normal, other screen // the one in use is at(); other is made when it is first asked for
	alt           bool
	cur           cursor
	top, bottom   int // scroll region, inclusive
	wrap          bool
	insert        bool
	hidden        bool // cursor
	appKeys       bool
	paste         bool
	tabs          []bool
	last          rune // for repetition
	scrolled      int  // lines that left the normal screen at its top

	styles   []Style
	styleOf  map[Style]uint16
	curStyle uint16

	parser parser
	dirty  []bool // rows changed since TakeDirty
	spare  []row  // for moving rows; empty between calls
}

// New makes a blank terminal.
func New(cfg Config) *Terminal {
	t := &Terminal{cfg: cfg}
	t.cols, t.rows = clamp(cfg.Columns, 1, MaxColumns), clamp(cfg.Rows, 1, MaxRows)
	t.reset()
	return t
}

func clamp(v, low, high int) int { return max(low, min(v, high)) }

func (t *Terminal) reset() {
	t.normal = screen{rows: make([]row, t.rows)}
	t.other = screen{}
	t.alt, t.cur, t.insert, t.hidden, t.appKeys, t.paste = false, cursor{}, false, false, false, false
	t.top, t.bottom, t.wrap = 0, t.rows-1, true
	t.tabs = nil
	t.styles, t.styleOf, t.curStyle = []Style{{}}, map[Style]uint16{{}: 0}, 0
	t.dirty = make([]bool, t.rows)
	t.allDirty()
}

// Size is the number of columns and rows.
func (t *Terminal) Size() (columns, rows int) { return t.cols, t.rows }

// Cursor is where the next rune goes, from zero, and whether the cursor is shown.
func (t *Terminal) Cursor() (column, row int, visible bool) { return t.cur.x, t.cur.y, !t.hidden }

// Alternate reports whether the screen for full-screen programs is shown.
func (t *Terminal) Alternate() bool { return t.alt }

// Scrolled counts the lines that have left the normal screen, so that row y is line Scrolled()+y of the session.
func (t *Terminal) Scrolled() int { return t.scrolled }

// Settled reports whether the bytes so far end between two sequences, which is where a Snapshot is whole.
func (t *Terminal) Settled() bool { return t.parser.state == stateGround && t.parser.need == 0 }

// Resize changes the size. Rows are kept from the bottom, as terminals do, so that the cursor's stays.
func (t *Terminal) Resize(columns, rows int) {
	columns, rows = clamp(columns, 1, MaxColumns), clamp(rows, 1, MaxRows)
	if columns == t.cols && rows == t.rows {
		return
	}
	for _, s := range []*screen{&t.normal, &t.other} {
		if s.rows == nil {
			continue
		}
		drop := 0
		if rows < t.rows {
			drop = clamp(t.cur.y-rows+1, 0, t.rows-rows)
		}
		if s == t.at() {
			t.cur.y -= drop
		}
		if s == &t.normal {
			t.scrolled += drop
		}
		kept := make([]row, rows)
		copy(kept, s.rows[drop:])
		for i := range kept {
			if len(kept[i].cells) > columns {
				kept[i].cells = kept[i].cells[:columns]
			}
		}
		s.rows = kept
	}
	t.cols, t.rows = columns, rows
	t.cur.x, t.cur.y = clamp(t.cur.x, 0, columns-1), clamp(t.cur.y, 0, rows-1)
	t.cur.pending = false
	t.top, t.bottom, t.tabs = 0, rows-1, nil
	t.dirty = make([]bool, rows)
	t.allDirty()
}

func (t *Terminal) at() *screen {
	if t.alt {
		return &t.other
	}
	return &t.normal
}

func (t *Terminal) allDirty() {
	for i := range t.dirty {
		t.dirty[i] = true
	}
}

// TakeDirty returns the rows that may have changed since it was last called.
func (t *Terminal) TakeDirty() []int {
	var out []int
	for i, d := range t.dirty {
		if d {
			out = append(out, i)
			t.dirty[i] = false
		}
	}
	return out
}

// Line is the text of a row without the blanks at its end.
func (t *Terminal) Line(y int) string { return t.LineFrom(y, 0) }

// LineFrom is the text of a row from a column on, without the blanks at its end.
func (t *Terminal) LineFrom(y, x int) string {
	if y < 0 || y >= t.rows {
		return ""
	}
	cells := t.at().rows[y].cells
	if x < 0 || x >= len(cells) {
		return ""
	}
	out := make([]byte, 0, len(cells)-x)
	end := 0
	for _, c := range cells[x:] {
		if c.wide == 2 {
			continue
		}
		if c.r == 0 {
			out = append(out, ' ')
			continue
		}
		out = utf8.AppendRune(out, c.r)
		if c.r != ' ' {
			end = len(out)
		}
	}
	return string(out[:end])
}

// Wrapped reports whether the text of a row goes on in the next because it reached the edge.
func (t *Terminal) Wrapped(y int) bool { return y >= 0 && y < t.rows && t.at().rows[y].wrapped }

// Full reports whether something is written in the last column of a row.
func (t *Terminal) Full(y int) bool {
	return y >= 0 && y < t.rows && len(t.at().rows[y].cells) == t.cols
}

// Run is a piece of a row in one style.
type Run struct {
	Text  string
	Style Style
}

// Runs is a row as pieces of one style each, without the unstyled blanks at its end.
func (t *Terminal) Runs(y int) []Run {
	if y < 0 || y >= t.rows {
		return nil
	}
	cells, fill := t.at().rows[y].cells, t.at().rows[y].fill
	for fill == 0 && len(cells) > 0 && (cells[len(cells)-1].r == 0 || cells[len(cells)-1].r == ' ') && cells[len(cells)-1].style == 0 {
		cells = cells[:len(cells)-1]
	}
	var out []Run
	var text []byte
	for i, c := range cells {
		if c.wide != 2 {
			r := c.r
			if r == 0 {
				r = ' '
			}
			text = utf8.AppendRune(text, r)
		}
		if i+1 == len(cells) || cells[i+1].style != c.style {
			out = append(out, Run{Text: string(text), Style: t.styles[c.style]})
			text = text[:0]
		}
	}
	if rest := t.cols - len(cells); fill != 0 && rest > 0 {
		blanks := strings.Repeat(" ", rest)
		if n := len(out); n > 0 && cells[len(cells)-1].style == fill {
			out[n-1].Text += blanks
		} else {
			out = append(out, Run{Text: blanks, Style: t.styles[fill]})
		}
	}
	return out
}
