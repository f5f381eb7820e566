// Package replay shows what a recording holds: screens as they changed, the text that went over them, and the events. The
// program's own bytes go into a headless terminal and no further; what comes out is text and colours.
package replay

import (
	"weft/gateway/recording"
	"weft/gateway/recording/term"
)

// The size of the screen on which output without a terminal is shown.
const (
	plainColumns = 120
	plainRows    = 36
)

// Screen is the terminal of one channel in the course of a recording.
type Screen struct {
	Term *term.Terminal

	channel    int
	pty        bool
	waiting    bool // for a key frame: what comes before it belongs to another time
	onLineFeed func()
}

// NewScreen makes the screen of a channel. After a jump (recording.Reader.SeekTo) it waits for a key frame.
func NewScreen(channel int, jumped bool, onLineFeed func()) *Screen {
	s := &Screen{channel: channel, waiting: jumped, onLineFeed: onLineFeed}
	s.make(plainColumns, plainRows)
	return s
}

func (s *Screen) make(columns, rows int) {
	s.Term = term.New(term.Config{Columns: columns, Rows: rows, NewLine: !s.pty, OnLineFeed: s.onLineFeed})
}

// Terminal reports whether the channel has a terminal; without one, its output is shown as a terminal would.
func (s *Screen) Terminal() bool { return s.pty }

// Apply shows a record and reports whether it changed the screen.
func (s *Screen) Apply(r *recording.Record) bool {
	if r.Channel != s.channel {
		return false
	}
	switch r.Kind {
	case recording.RecordKeyFrame:
		if !s.waiting {
			return false
		}
		s.waiting, s.pty = false, true
		s.make(r.Size())
		_, _ = s.Term.Write(r.Data[min(4, len(r.Data)):]) // never fails
		return true
	case recording.RecordResize:
		if s.waiting {
			return false
		}
		if !s.pty {
			s.pty = true
			s.make(r.Size())
			return true
		}
		s.Term.Resize(r.Size())
		return true
	case recording.RecordOutput, recording.RecordStderr:
		if s.waiting {
			return false
		}
		_, _ = s.Term.Write(r.Data)
		return true
	case recording.RecordInput, recording.RecordEvent:
	}
	return false
}
