package recording

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// The types of Event. They are part of the format.
const (
	EventChannelOpen  = "channel_open"  // type
	EventChannelClose = "channel_close" // bytes_up, bytes_down
	EventEnv          = "env"           // name, value
	EventPTY          = "pty"           // term, columns, rows
	EventResize       = "window_change" // columns, rows
	EventShell        = "shell"
	EventExec         = "exec"      // command
	EventSubsystem    = "subsystem" // name
	EventCommand      = "command"   // a shell command line: command, source, truncated
	EventSFTP         = "sftp"      // operation, path, new_path, flags, bytes, result, sha256
	EventSCP          = "scp"       // operation, path, bytes
	EventForward      = "forward"   // direction, destination
	EventForwardEnd   = "forward_end"
	EventSignal       = "signal" // signal
	EventBreak        = "break"
	EventExit         = "exit"      // status or signal
	EventRefused      = "refused"   // name, reason, destination
	EventTruncated    = "truncated" // output over the limit is counted, not kept: bytes
	EventNote         = "note"      // reason: something about the recording itself
)

// Where a shell command line comes from.
const (
	SourceScreen = "screen"         // read off the screen when the line was sent
	SourceMarks  = "semantic_marks" // the same, begun at the shell's own mark (OSC 133)
	SourceInput  = "input"          // a line of the standard input of a shell without a terminal
)

// Event is something that happened in a session. Type says which of the other fields have a meaning.
type Event struct {
	Time        time.Time `json:"time,omitzero"`
	Type        string    `json:"type"`
	Channel     int       `json:"channel,omitempty"`
	Kind        string    `json:"kind,omitempty"` // of a channel
	Command     string    `json:"command,omitempty"`
	Source      string    `json:"source,omitempty"`
	Name        string    `json:"name,omitempty"`
	Value       string    `json:"value,omitempty"`
	Term        string    `json:"term,omitempty"`
	Columns     int       `json:"columns,omitempty"`
	Rows        int       `json:"rows,omitempty"`
	Modes       string    `json:"modes,omitempty"` // of a terminal, in hex as they came (RFC 4254 section 8)
	Operation   string    `json:"operation,omitempty"`
	Path        string    `json:"path,omitempty"`
	NewPath     string    `json:"new_path,omitempty"`
	Flags       string    `json:"flags,omitempty"`
	Bytes       *int64    `json:"bytes,omitempty"`
	BytesUp     *int64    `json:"bytes_up,omitempty"`
	BytesDown   *int64    `json:"bytes_down,omitempty"`
	Result      string    `json:"result,omitempty"`
	SHA256      string    `json:"sha256,omitempty"`
	Direction   string    `json:"direction,omitempty"`
	Destination string    `json:"destination,omitempty"`
	Signal      string    `json:"signal,omitempty"`
	Status      *uint32   `json:"status,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Truncated   bool      `json:"truncated,omitempty"`
}

// isCommand says whether it counts as one of End.Commands.
func (e *Event) isCommand() bool {
	switch e.Type {
	case EventExec, EventCommand, EventSFTP, EventSCP:
		return true
	}
	return false
}

// maxEventText bounds each text of an event that a client or target chose.
const maxEventText = 128 << 10

func clip(s string) string {
	if len(s) <= maxEventText {
		return s
	}
	s = s[:maxEventText]
	for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s + "..."
}

func (e *Event) encode() ([]byte, error) {
	for _, s := range []*string{&e.Command, &e.Name, &e.Value, &e.Path, &e.NewPath, &e.Reason, &e.Destination, &e.Term, &e.Modes} {
		*s = clip(*s)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return b, nil
}

// Event decodes the event of a record of that kind.
func (r Record) Event() (Event, error) {
	var e Event
	if err := json.Unmarshal(r.Data, &e); err != nil {
		return e, fmt.Errorf("decode event: %w", err)
	}
	e.Time, e.Channel = r.Time, r.Channel
	return e, nil
}

// Number is a pointer to v, for the fields of an Event that may be absent.
func Number(v int64) *int64 { return &v }
