// Package export turns recordings into what other programs read: asciicast, JSON lines, text, a page for a browser, and
// the formats of the logs that users of other products know.
package export

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"weft/gateway/recording"
	"weft/gateway/recording/replay"
)

// castHeader is the first line of an asciicast v2 file (https://docs.asciinema.org/manual/asciicast/v2/).
type castHeader struct {
	Version   int               `json:"version"`
	Width     int               `json:"width"`
	Height    int               `json:"height"`
	Timestamp int64             `json:"timestamp"`
	Command   string            `json:"command,omitempty"`
	Title     string            `json:"title,omitempty"`
	Env       map[string]string `json:"env,omitempty"`
}

// Asciicast writes one channel as asciicast v2. Output is there as the program wrote it, control sequences and all; what is
// not UTF-8 is replaced.
func Asciicast(w io.Writer, r *recording.Reader, channel int) error {
	c := &caster{w: w, channel: channel, h: r.Header()}
	err := replay.Read(r, replay.Handler{Record: c.record})
	return joinEnd(c.finish(), err)
}

// joinEnd keeps the error that matters: what was written of an unfinished recording is good.
func joinEnd(write, read error) error {
	if write != nil {
		return write
	}
	return read
}

type caster struct {
	w       io.Writer
	channel int
	h       *recording.Header
	started bool
	head    castHeader
	partial map[string][]byte // of a rune, by the kind of line
}

func (c *caster) record(r *recording.Record) error {
	if r.Channel != c.channel {
		return nil
	}
	switch r.Kind {
	case recording.RecordEvent:
		return c.event(r)
	case recording.RecordResize:
		columns, rows := r.Size()
		if !c.started {
			c.head.Width, c.head.Height = columns, rows
			return nil
		}
		return c.line(r, "r", strconv.Itoa(columns)+"x"+strconv.Itoa(rows))
	case recording.RecordOutput, recording.RecordStderr:
		return c.data(r, "o")
	case recording.RecordInput:
		return c.data(r, "i")
	case recording.RecordKeyFrame:
	}
	return nil
}

// event puts commands in as markers, which players show on their timeline.
func (c *caster) event(r *recording.Record) error {
	e, err := r.Event()
	if err != nil {
		return err
	}
	switch e.Type {
	case recording.EventPTY:
		c.head.Env = map[string]string{"TERM": e.Term}
	case recording.EventExec:
		c.head.Command = e.Command
	case recording.EventCommand, recording.EventSFTP, recording.EventSCP:
		return c.line(r, "m", replay.EventText(&e))
	}
	return nil
}

func (c *caster) start() error {
	if c.started {
		return nil
	}
	c.started = true
	c.partial = make(map[string][]byte)
	c.head.Version, c.head.Timestamp = 2, c.h.Started.Unix()
	c.head.Title = fmt.Sprintf("%s@%s by %s", c.h.Login, c.h.Hostname, c.h.Email)
	if c.head.Width == 0 {
		c.head.Width, c.head.Height = 80, 24
	}
	return c.write(c.head)
}

func (c *caster) data(r *recording.Record, kind string) error {
	b := append(c.partial[kind], r.Data...)
	whole := len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				whole = len(b) - i
			}
			break
		}
	}
	text := string(b[:whole])
	if err := c.start(); err != nil {
		return err
	}
	c.partial[kind] = append([]byte(nil), b[whole:]...)
	if text == "" {
		return nil
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if r.Kind == recording.RecordStderr || c.head.Env == nil {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	}
	return c.line(r, kind, text)
}

func (c *caster) line(r *recording.Record, kind, text string) error {
	if err := c.start(); err != nil {
		return err
	}
	at := strconv.FormatFloat(max(r.Time.Sub(c.h.Started).Seconds(), 0), 'f', 6, 64)
	return c.write([]any{json.Number(at), kind, text})
}

func (c *caster) write(v any) error {
	enc := json.NewEncoder(c.w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write asciicast: %w", err)
	}
	return nil
}

func (c *caster) finish() error { return c.start() }
