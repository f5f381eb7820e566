package recording

import (
	"bytes"
	"strings"
)

// maxLines bounds how many lines of a script become events, and maxLine how long each is.
const (
	maxLines = 10000
	maxLine  = 16 << 10
)

// lineSplitter makes lines of the input of a shell without a terminal.
type lineSplitter struct {
	emit  func(string)
	buf   []byte
	lines int
}

func (l *lineSplitter) write(b []byte) {
	for len(b) > 0 && l.lines < maxLines {
		i := bytes.IndexByte(b, '\n')
		part := b
		if i >= 0 {
			part = b[:i]
		}
		if room := maxLine - len(l.buf); len(part) > room {
			part = part[:room]
		}
		l.buf = append(l.buf, part...)
		if i < 0 {
			return
		}
		l.end()
		b = b[i+1:]
	}
}

func (l *lineSplitter) end() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(l.buf), "\uFFFD"))
	l.buf = l.buf[:0]
	if line != "" {
		l.lines++
		l.emit(line)
	}
}

func (l *lineSplitter) close() {
	if l.lines < maxLines {
		l.end()
	}
}
