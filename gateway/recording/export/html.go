package export

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed" // the player
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strconv"
	"time"

	"weft/gateway/recording"
	"weft/gateway/recording/replay"
	"weft/gateway/recording/term"
)

//go:embed player/player.js
var playerJS string

//go:embed player/player.css
var playerCSS string

// page is what the player reads.
type page struct {
	Title    string        `json:"title"`
	Note     string        `json:"note"`
	Facts    [][2]string   `json:"facts"`
	Length   float64       `json:"length"` // seconds
	Styles   []pageStyle   `json:"styles"`
	Channels []pageChannel `json:"channels"`
	Events   [][4]any      `json:"events"` // time, channel, type, text
	Lines    [][3]any      `json:"lines"`  // time, channel, text
}

type pageStyle struct {
	FG   any       `json:"f,omitempty"` // an index of the palette, or #rrggbb
	BG   any       `json:"b,omitempty"`
	Attr term.Attr `json:"a,omitempty"`
}

type pageChannel struct {
	ID     int         `json:"id"`
	Name   string      `json:"name"`
	Frames []pageFrame `json:"frames"`
}

type pageFrame struct {
	Time    float64  `json:"t"`
	Columns int      `json:"c"`
	Rows    int      `json:"h"`
	Whole   bool     `json:"w,omitempty"`
	Changed [][2]any `json:"r"` // row, runs of text and style
	X       int      `json:"x"`
	Y       int      `json:"y"`
	Cursor  bool     `json:"s,omitempty"`
}

// HTML writes a page that plays a recording in a browser, with nothing else: player, screens, events and text are in the
// one file, and its content security policy lets it load nothing and run nothing but the player. What the session showed
// is compressed and encoded, and put on the page as text.
func HTML(w io.Writer, r *recording.Reader) error {
	b := newBuilder(r.Header())
	err := replay.Read(r, replay.Handler{Record: b.record, Event: b.event, Line: b.line})
	if err != nil {
		b.page.Note = "This recording is not whole: " + err.Error()
	}
	if ferr := b.finish(r); ferr != nil {
		return ferr
	}
	data, jerr := json.Marshal(b.page)
	if jerr != nil {
		return fmt.Errorf("encode page: %w", jerr)
	}
	return joinEnd(writePage(w, b.page.Title, data), err)
}

type builder struct {
	h     *recording.Header
	page  page
	films map[int]*replay.Film
	index map[int]int // of Channels, by channel
	style map[term.Style]int
}

func newBuilder(h *recording.Header) *builder {
	b := &builder{h: h, films: make(map[int]*replay.Film), index: make(map[int]int), style: make(map[term.Style]int)}
	b.page.Title = replay.Clean(fmt.Sprintf("%s@%s by %s, %s", h.Login, h.Hostname, h.Email, h.Started.Format("2006-01-02 15:04:05 UTC")))
	for _, f := range [][2]string{
		{"User", h.Email},
		{"Device", h.DeviceName},
		{"Target", h.Hostname},
		{"Network", h.VNETName},
		{"Address", h.ServerAddress.String()},
		{"Login", h.Login},
		{"Policy", h.PolicyName},
		{"Gateway", h.GatewayID},
		{"Session", h.SessionID},
		{"Signing key", h.KeyID},
	} {
		if f[1] != "" {
			b.page.Facts = append(b.page.Facts, [2]string{f[0], replay.Clean(f[1])})
		}
	}
	b.page.Styles = []pageStyle{{}}
	b.style[term.Style{}] = 0
	b.page.Channels, b.page.Events, b.page.Lines = []pageChannel{}, [][4]any{}, [][3]any{}
	return b
}

func (b *builder) offset(t time.Time) float64 {
	return float64(max(t.Sub(b.h.Started), 0).Milliseconds()) / 1000
}

func (b *builder) record(r *recording.Record) error {
	if r.Channel == 0 {
		return nil
	}
	f := b.films[r.Channel]
	if f == nil {
		f = replay.NewFilm(replay.NewScreen(r.Channel, false, nil), b.frame)
		b.films[r.Channel] = f
		b.index[r.Channel] = len(b.page.Channels)
		b.page.Channels = append(b.page.Channels, pageChannel{ID: r.Channel, Name: "channel " + strconv.Itoa(r.Channel), Frames: []pageFrame{}})
	}
	return f.Apply(r)
}

func (b *builder) frame(f replay.Frame) error {
	p := pageFrame{
		Time: b.offset(f.Time), Columns: f.Columns, Rows: f.Rows, Whole: f.Whole, X: f.X, Y: f.Y, Cursor: f.Cursor, Changed: [][2]any{},
	}
	for _, row := range f.Changed {
		runs := [][2]any{}
		for _, r := range row.Runs {
			runs = append(runs, [2]any{r.Text, b.styleIndex(r.Style)})
		}
		p.Changed = append(p.Changed, [2]any{row.Y, runs})
	}
	c := &b.page.Channels[b.index[f.Channel]]
	c.Frames = append(c.Frames, p)
	return nil
}

func (b *builder) styleIndex(s term.Style) int {
	i, ok := b.style[s]
	if !ok {
		i = len(b.page.Styles)
		b.style[s] = i
		b.page.Styles = append(b.page.Styles, pageStyle{FG: pageColor(s.FG), BG: pageColor(s.BG), Attr: s.Attr})
	}
	return i
}

func pageColor(c term.Color) any {
	if i, ok := c.Index(); ok {
		return int(i)
	}
	if r, g, bl, ok := c.Parts(); ok {
		return fmt.Sprintf("#%02x%02x%02x", r, g, bl)
	}
	return nil
}

func (b *builder) event(e recording.Event) error {
	text := replay.EventText(&e)
	b.page.Events = append(b.page.Events, [4]any{b.offset(e.Time), e.Channel, e.Type, text})
	i, ok := b.index[e.Channel]
	if ok && (e.Type == recording.EventShell || e.Type == recording.EventExec || e.Type == recording.EventSubsystem) {
		if r := []rune(text); len(r) > 60 {
			text = string(r[:60]) + "..."
		}
		b.page.Channels[i].Name = fmt.Sprintf("%d: %s %s", e.Channel, e.Type, text)
	}
	return nil
}

func (b *builder) line(l replay.Line) error {
	if l.Text != "" {
		b.page.Lines = append(b.page.Lines, [3]any{b.offset(l.Time), l.Channel, replay.Clean(l.Text)})
	}
	return nil
}

func (b *builder) finish(r *recording.Reader) error {
	for _, f := range b.films {
		if err := f.Flush(); err != nil {
			return err
		}
	}
	b.page.Length = b.offset(r.Last())
	return nil
}

func integrity(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// writePage puts the parts together. Only the title is text of the session, and it is escaped.
func writePage(w io.Writer, title string, data []byte) error {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(data)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return fmt.Errorf("compress page: %w", err)
	}
	_, err = fmt.Fprintf(w, pageText, integrity(playerJS), integrity(playerCSS), html.EscapeString(title), playerCSS,
		base64.StdEncoding.EncodeToString(packed.Bytes()), playerJS)
	return err
}

const pageText = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src %s; style-src %s; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>%s</title>
<style>%s</style>
</head>
<body>
<header><h1 id="title"></h1><dl id="facts"></dl></header>
<div id="note" role="alert" hidden></div>
<main>
<section id="stage">
<div id="scroll"><div id="screen" aria-label="terminal"></div></div>
<div id="bar">
<div id="track" role="slider" aria-label="position"><div id="done"></div></div>
<div id="keys">
<button id="play" type="button">Play</button>
<span id="time"></span>
<label>Speed <select id="speed"><option>0.5</option><option selected>1</option><option>2</option><option>4</option><option>8</option><option>16</option></select></label>
<label>Skip pauses over <select id="idle"><option value="0">never</option><option value="1">1 s</option><option value="2" selected>2 s</option><option value="10">10 s</option></select></label>
<label>Channel <select id="channel"></select></label>
</div>
</div>
</section>
<aside>
<input id="find" type="search" placeholder="Search commands and output" aria-label="search">
<p id="count"></p>
<ul id="list"></ul>
</aside>
</main>
<script id="data" type="application/octet-stream">%s</script>
<script>%s</script>
</body>
</html>
`
