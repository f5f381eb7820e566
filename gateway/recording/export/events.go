package export

import (
	"encoding/json"
	"fmt"
	"io"

	"weft/gateway/recording"
	"weft/gateway/recording/replay"
)

// eventLine is a line of the event log: the session and how far into it, then the event.
type eventLine struct {
	SessionID string  `json:"session_id"`
	Offset    float64 `json:"offset"` // seconds since the start
	recording.Event
}

// Events writes the event log as JSON lines. The first line is the header, with the type "session"; the last, of a
// finished recording, the end, with the type "session_end".
func Events(w io.Writer, r *recording.Reader) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	h := r.Header()
	if err := enc.Encode(struct {
		Type string `json:"type"`
		*recording.Header
	}{"session", h}); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	err := replay.Read(r, replay.Handler{Event: func(e recording.Event) error {
		return enc.Encode(eventLine{SessionID: h.SessionID, Offset: e.Time.Sub(h.Started).Seconds(), Event: e})
	}})
	if err != nil || r.End() == nil {
		return err
	}
	return enc.Encode(struct {
		Type      string `json:"type"`
		SessionID string `json:"session_id"`
		*recording.End
	}{"session_end", h.SessionID, r.End()})
}
