package export

import (
	"fmt"
	"io"
	"time"

	"weft/gateway/recording"
	"weft/gateway/recording/replay"
)

// Text writes what was to be read on the screens, line by line with the time since the start, between the events. Control
// sequences are gone; screens of full-screen programs are left out.
func Text(w io.Writer, r *recording.Reader) error {
	h := r.Header()
	if _, err := fmt.Fprintf(w, "session %s\n%s on %s as %s, %s\n\n", h.SessionID, replay.Clean(h.Email), replay.Clean(h.Hostname),
		replay.Clean(h.Login), h.Started.Format(time.RFC3339)); err != nil {
		return err
	}
	return replay.Read(r, replay.Handler{
		Event: func(e recording.Event) error {
			_, err := fmt.Fprintf(w, "%s  [%d] == %s %s\n", Offset(e.Time.Sub(h.Started)), e.Channel, e.Type, replay.EventText(&e))
			return err
		},
		Line: func(l replay.Line) error {
			if l.FullScreen {
				return nil
			}
			_, err := fmt.Fprintf(w, "%s  [%d] %s\n", Offset(l.Time.Sub(h.Started)), l.Channel, replay.Clean(l.Text))
			return err
		},
	})
}

// Offset is a time since the start as h:mm:ss.t.
func Offset(d time.Duration) string {
	d = max(d, 0).Round(100 * time.Millisecond)
	return fmt.Sprintf("%d:%02d:%02d.%d", d/time.Hour, d/time.Minute%60, d/time.Second%60, d/(100*time.Millisecond)%10)
}
