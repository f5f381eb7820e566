package cli

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"weft/cli/render"
)

// screen draws a list on a terminal, over and over in the same place: the lines below the
// prompt, without taking the whole screen.
type screen struct {
	w    *os.File
	out  *output
	last *render.List
	news string // what changed last
	up   int    // how many lines were drawn
	wide int    // how wide the terminal was then
}

// defaultColumns and defaultLines are the size of a terminal that does not tell.
const defaultColumns, defaultLines = 80, 24

func (s *screen) show(l *render.List, deltas []delta) error {
	s.last = l
	if n := len(deltas); n > 0 {
		d := &deltas[n-1]
		s.news = fmt.Sprintf("%s %s %s %d", d.Type, render.Name(d.Target.Target), d.Target.Protocol, d.Target.Port)
		if n > 1 {
			s.news += fmt.Sprintf(" and %d more", n-1)
		}
	}
	return s.redraw()
}

// redraw draws the last list for the size that the terminal has now.
func (s *screen) redraw() error {
	if s.last == nil {
		return nil
	}
	columns, lines, err := term.GetSize(int(s.w.Fd()))
	if err != nil || columns < 1 || lines < 3 {
		columns, lines = defaultColumns, defaultLines
	}
	var table bytes.Buffer
	if err := s.out.write(&table, s.last); err != nil {
		return err
	}
	// One line is the foot's, and one the cursor's.
	rows, more := render.Clip(table.Bytes(), columns, lines-2)
	rows = append(rows, render.ClipLine(s.foot(more), columns))
	var b strings.Builder
	switch {
	case s.up > 0 && s.wide != columns:
		b.WriteString("\x1b[2J\x1b[H") // its lines have been broken anew: nobody knows where they begin
	case s.up > 0:
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", s.up)
	}
	for _, row := range rows {
		b.WriteString(row + "\n")
	}
	s.up, s.wide = len(rows), columns
	if _, err := s.w.WriteString(b.String()); err != nil {
		return fmt.Errorf("draw list: %w", err)
	}
	return nil
}

// foot is the line below the table.
func (s *screen) foot(more int) string {
	parts := []string{fmt.Sprintf("rows: %d, revision %d", len(s.last.Targets), s.last.Revision)}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("%d lines do not fit", more))
	}
	if s.last.Stale {
		parts = append(parts, "the control plane is not being heard; "+render.Age(s.last.AgeSeconds)+" old")
	}
	if s.news != "" {
		parts = append(parts, "last change: "+s.news)
	}
	return strings.Join(append(parts, "Ctrl-C ends"), " | ")
}

// sortByKey makes the order of rows that have gone the same every time.
func sortByKey(rows []render.Row) {
	slices.SortFunc(rows, func(a, b render.Row) int { return strings.Compare(rowKey(&a), rowKey(&b)) })
}
