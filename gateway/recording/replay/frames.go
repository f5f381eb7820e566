package replay

import (
	"slices"
	"time"

	"weft/gateway/recording"
	"weft/gateway/recording/term"
)

// FrameTime is how much of what happens is shown at once.
const FrameTime = 40 * time.Millisecond

// Row is a row of a screen.
type Row struct {
	Y    int
	Runs []term.Run
}

// Frame is a change of a screen.
type Frame struct {
	Time          time.Time
	Channel       int
	Columns, Rows int
	Whole         bool // Changed has every row that is not blank
	Changed       []Row
	X, Y          int
	Cursor        bool
}

// Film makes frames of one channel.
type Film struct {
	Screen *Screen
	tell   func(Frame) error

	pending bool
	at      time.Time
	shown   [][]term.Run
	columns int
	whole   int // frames since the last whole one
}

// wholeEvery is after how many frames a whole one is made, for seeking.
const wholeEvery = 200

// NewFilm makes a film that tells its frames.
func NewFilm(screen *Screen, tell func(Frame) error) *Film {
	return &Film{Screen: screen, tell: tell}
}

// Apply shows a record. A frame is told when what follows it is no longer part of it.
func (f *Film) Apply(r *recording.Record) error {
	if f.pending && r.Time.Sub(f.at) >= FrameTime {
		if err := f.Flush(); err != nil {
			return err
		}
	}
	if f.Screen.Apply(r) && !f.pending {
		f.pending, f.at = true, r.Time
	}
	return nil
}

// Flush tells the frame that is not complete yet.
func (f *Film) Flush() error {
	if !f.pending {
		return nil
	}
	f.pending = false
	t := f.Screen.Term
	columns, rows := t.Size()
	fr := Frame{Time: f.at, Channel: f.Screen.channel, Columns: columns, Rows: rows}
	fr.X, fr.Y, fr.Cursor = t.Cursor()
	dirty := t.TakeDirty()
	if len(f.shown) != rows || f.columns != columns || f.whole >= wholeEvery {
		fr.Whole = true
		f.shown, f.columns, f.whole = make([][]term.Run, rows), columns, 0
		dirty = all(rows)
	}
	f.whole++
	for _, y := range dirty {
		runs := t.Runs(y)
		if slices.Equal(runs, f.shown[y]) {
			continue
		}
		f.shown[y] = runs
		fr.Changed = append(fr.Changed, Row{Y: y, Runs: runs})
	}
	return f.tell(fr)
}

func all(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
