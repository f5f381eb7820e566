package replay

import (
	"strings"
	"time"

	"weft/gateway/recording"
)

// Match is a place in a recording.
type Match struct {
	Time    time.Time
	Channel int
	Kind    string // "output", or the type of the event
	Text    string
}

// Query is what is looked for; case does not matter.
type Query struct {
	Text     string
	Commands bool // look at commands and file operations only
	Output   bool // look at output only
}

// Search tells the places where the query's text is. An error of tell ends it.
func Search(r *recording.Reader, q Query, tell func(Match) error) error {
	want := strings.ToLower(q.Text)
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), want) }
	h := Handler{}
	if !q.Output {
		h.Event = func(e recording.Event) error {
			text := EventText(&e)
			if !commandTypes[e.Type] || !has(text) {
				return nil
			}
			return tell(Match{Time: e.Time, Channel: e.Channel, Kind: e.Type, Text: text})
		}
	}
	if !q.Commands {
		h.Line = func(l Line) error {
			if !has(l.Text) {
				return nil
			}
			return tell(Match{Time: l.Time, Channel: l.Channel, Kind: "output", Text: l.Text})
		}
	}
	return Read(r, h)
}

var commandTypes = map[string]bool{
	recording.EventExec: true, recording.EventCommand: true, recording.EventSubsystem: true,
	recording.EventSFTP: true, recording.EventSCP: true, recording.EventForward: true, recording.EventRefused: true,
}
