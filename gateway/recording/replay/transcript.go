package replay

import (
	"errors"
	"io"
	"strings"
	"time"

	"weft/gateway/recording"
)

// Line is one line of text that a channel showed.
type Line struct {
	Time    time.Time
	Channel int
	Text    string
	// FullScreen says that it is from the screen of a full-screen program, which was looked at now and then.
	FullScreen bool
}

// fullScreenEvery is how often the screen of a full-screen program is looked at.
const fullScreenEvery = time.Second

// transcript makes lines of one channel.
type transcript struct {
	screen *Screen
	tell   func(Line)
	at     time.Time
	looked time.Time
	seen   map[string]bool // lines of the full screen at the last look
}

func newTranscript(channel int, tell func(Line)) *transcript {
	t := &transcript{tell: tell}
	t.screen = NewScreen(channel, false, func() { t.line() })
	return t
}

// line tells the line that the cursor is on, with the rows that it was wrapped from.
func (t *transcript) line() {
	m := t.screen.Term
	_, y, _ := m.Cursor()
	top := y
	for top > 0 && m.Wrapped(top-1) {
		top--
	}
	var b strings.Builder
	for ; top <= y; top++ {
		b.WriteString(m.Line(top))
	}
	t.tell(Line{Time: t.at, Channel: t.screen.channel, Text: b.String()})
}

func (t *transcript) apply(r *recording.Record) {
	t.at = r.Time
	if !t.screen.Apply(r) {
		return
	}
	if !t.screen.Term.Alternate() {
		t.seen = nil
		return
	}
	if t.at.Sub(t.looked) >= fullScreenEvery {
		t.look()
	}
}

// look tells the lines of a full screen that were not there the last time.
func (t *transcript) look() {
	t.looked = t.at
	_, rows := t.screen.Term.Size()
	seen := make(map[string]bool, rows)
	for y := range rows {
		text := t.screen.Term.Line(y)
		if text == "" {
			continue
		}
		seen[text] = true
		if !t.seen[text] {
			t.tell(Line{Time: t.at, Channel: t.screen.channel, Text: text, FullScreen: true})
		}
	}
	t.seen = seen
}

func (t *transcript) close() {
	if t.screen.Term.Alternate() {
		t.look()
		return
	}
	if x, _, _ := t.screen.Term.Cursor(); x > 0 {
		t.line()
	}
}

// Handler is told what a recording holds, in order. Nil functions are not called.
type Handler struct {
	Record func(*recording.Record) error
	Event  func(recording.Event) error
	Line   func(Line) error
}

// Read reads a recording to its end. An unfinished one is read as far as it goes, and then fails with
// recording.ErrUnfinished.
func Read(r *recording.Reader, h Handler) error {
	lines := make(map[int]*transcript)
	var failed error
	tell := func(l Line) {
		if failed == nil {
			failed = h.Line(l)
		}
	}
	var rec recording.Record
	var err error
	for failed == nil {
		if err = r.Next(&rec); err != nil {
			break
		}
		if h.Record != nil {
			failed = errors.Join(failed, h.Record(&rec))
		}
		if h.Event != nil && rec.Kind == recording.RecordEvent {
			e, eerr := rec.Event()
			if eerr == nil {
				eerr = h.Event(e)
			}
			failed = errors.Join(failed, eerr)
		}
		if h.Line != nil && rec.Channel > 0 {
			t := lines[rec.Channel]
			if t == nil {
				t = newTranscript(rec.Channel, tell)
				lines[rec.Channel] = t
			}
			t.apply(&rec)
		}
	}
	if failed != nil {
		return failed
	}
	for _, t := range lines {
		t.close()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(failed, err)
}
