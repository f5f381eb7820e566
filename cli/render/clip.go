package render

import "bytes"

// Height is how many lines of a terminal with the given number of columns text takes.
func Height(text []byte, columns int) int {
	n := 0
	for line := range bytes.Lines(text) {
		n += max(1, (width(bytes.TrimSuffix(line, []byte("\n")))+columns-1)/max(1, columns))
	}
	return n
}

// Clip cuts text to what fits: at most so many lines, each cut to so many columns and without its end. more is the number
// of lines that were cut off.
func Clip(text []byte, columns, lines int) (clipped []string, more int) {
	for line := range bytes.Lines(text) {
		if len(clipped) >= lines {
			more++
			continue
		}
		clipped = append(clipped, clipLine(string(bytes.TrimSuffix(line, []byte("\n"))), columns))
	}
	return clipped, more
}

// clipLine cuts a line to so many columns.
func clipLine(s string, columns int) string {
	if len(s) <= columns {
		return s // no character is wider than it has bytes
	}
	used := 0
	for i, r := range s {
		n := width(string(r))
		if used+n > columns {
			return s[:i]
		}
		used += n
	}
	return s
}

// ClipLine cuts a line to so many columns, after it was cleaned.
func ClipLine(s string, columns int) string { return clipLine(Clean(s), max(0, columns)) }
