package replay

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"weft/gateway/recording"
)

// EventText is an event in a few words, fit for a terminal.
func EventText(e *recording.Event) string {
	var b strings.Builder
	switch e.Type {
	case recording.EventCommand, recording.EventExec:
		b.WriteString(e.Command)
	case recording.EventSubsystem:
		b.WriteString(e.Name)
	case recording.EventSFTP, recording.EventSCP:
		fileText(&b, e)
	case recording.EventEnv:
		b.WriteString(e.Name + "=" + e.Value)
	case recording.EventPTY:
		fmt.Fprintf(&b, "%s %dx%d", e.Term, e.Columns, e.Rows)
	case recording.EventResize:
		fmt.Fprintf(&b, "%dx%d", e.Columns, e.Rows)
	case recording.EventExit:
		if e.Status != nil {
			b.WriteString("status " + strconv.FormatUint(uint64(*e.Status), 10))
		} else {
			b.WriteString("signal " + e.Signal)
		}
	default:
		for _, s := range []string{e.Kind, e.Name, e.Direction, e.Destination, e.Signal, e.Reason} {
			if s != "" {
				if b.Len() > 0 {
					b.WriteByte(' ')
				}
				b.WriteString(s)
			}
		}
	}
	if e.Truncated {
		b.WriteString(" (cut)")
	}
	return Clean(b.String())
}

func fileText(b *strings.Builder, e *recording.Event) {
	b.WriteString(e.Operation + " " + e.Path)
	if e.NewPath != "" {
		b.WriteString(" -> " + e.NewPath)
	}
	if e.Bytes != nil {
		fmt.Fprintf(b, " (%d bytes)", *e.Bytes)
	}
	if e.Result != "" && e.Result != "ok" {
		b.WriteString(": " + e.Result)
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
}

// Clean makes a text that a stranger chose fit for a terminal: what is not printed becomes a question mark.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return '?'
	}, s)
}
