// Package render draws what warp-cli prints for people, and the other forms of its lists.
package render

import (
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"
)

// Table draws rows under a header with rounded borders and a line between all
// rows. Cells are left-aligned with one space at each side, and are neither
// wrapped nor truncated: a table is as wide as what it holds. Control characters
// in cells become U+FFFD.
func Table(w io.Writer, header []string, rows [][]string) error {
	columns := len(header)
	for _, r := range rows {
		columns = max(columns, len(r))
	}
	g := newGrid(columns, len(rows)+1)
	for i := range columns {
		if i < len(header) {
			g.buf = appendClean(g.buf, header[i])
		}
		g.end()
	}
	for _, r := range rows {
		for i := range columns {
			if i < len(r) {
				g.buf = appendClean(g.buf, r[i])
			}
			g.end()
		}
	}
	return g.draw(w)
}

// grid holds the cells of a table, row after row, the first of which is the header. Its text
// is bounded by what the agent may answer, far below 2 GiB.
//
// It draws what tablewriter draws with rounded borders and a line between the rows, byte for
// byte, which a test compares on random tables: tablewriter is the reference, and not in the
// program. Two measurements decided that. It took 300 ms for 10,000 rows, this takes
// 3; and merely linking it cost 0.7 ms at every start of warp-cli, for tables of its widths, for
// regular expressions and a logger, where a program that prints one line takes 1.8 ms in all, and
// warp-cli starts for every ssh.
type grid struct {
	columns int
	buf     []byte  // the text of all cells
	ends    []int32 // where each cell ends in buf
	widths  []int32 // the width of each cell
}

// cellBytes is about what a cell holds.
const cellBytes = 20

func newGrid(columns, rows int) *grid {
	n := columns * rows
	return &grid{columns: columns, buf: make([]byte, 0, cellBytes*n), ends: make([]int32, 0, n), widths: make([]int32, 0, n)}
}

// end ends the cell whose text was appended to buf.
func (g *grid) end() {
	from := int32(0)
	if n := len(g.ends); n > 0 {
		from = g.ends[n-1]
	}
	g.ends = append(g.ends, int32(len(g.buf)))
	g.widths = append(g.widths, int32(width(g.buf[from:])))
}

// draw writes the table in pieces of some 64 KiB.
func (g *grid) draw(w io.Writer) error {
	const piece = 64 << 10
	if g.columns == 0 {
		return nil
	}
	widest := make([]int32, g.columns)
	for i, n := range g.widths {
		widest[i%g.columns] = max(widest[i%g.columns], n)
	}
	between := rule(widest, "├", "┼", "┤\n")
	out := make([]byte, 0, piece+4096)
	out = append(out, rule(widest, "╭", "┬", "╮\n")...)
	at := int32(0)
	for i, end := range g.ends {
		column := i % g.columns
		if column == 0 && i > 0 {
			out = append(out, between...)
		}
		out = append(out, "│ "...)
		out = append(out, g.buf[at:end]...)
		out = appendBlanks(out, int(widest[column]-g.widths[i]+1))
		at = end
		if column < g.columns-1 {
			continue
		}
		out = append(out, "│\n"...)
		if len(out) >= piece {
			if _, err := w.Write(out); err != nil {
				return fmt.Errorf("write table: %w", err)
			}
			out = out[:0]
		}
	}
	out = append(out, rule(widest, "╰", "┴", "╯\n")...)
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// rule is a horizontal line of the table.
func rule(widths []int32, left, cross, right string) []byte {
	b := []byte(left)
	for i, n := range widths {
		if i > 0 {
			b = append(b, cross...)
		}
		for range n + 2 {
			b = append(b, "─"...)
		}
	}
	return append(b, right...)
}

const blanks = "                                                                "

func appendBlanks(b []byte, n int) []byte {
	for n > len(blanks) {
		b = append(b, blanks...)
		n -= len(blanks)
	}
	return append(b, blanks[:n]...)
}

// width is how many columns of a terminal text takes: wide characters take two,
// combining ones none. Characters of ambiguous width take one.
func width[T []byte | string](text T) int {
	n := 0
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			n++ // cells hold no control characters
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(text[i:min(len(text), i+utf8.UTFMax)]))
		n += displaywidth.Rune(r)
		i += size
	}
	return n
}
