package term

import (
	"fmt"
	"strings"
)

// Snapshot is a text of control sequences that brings a terminal of the same size, just reset, to the same state. It is
// whole only while Settled.
func (t *Terminal) Snapshot() []byte {
	var b strings.Builder
	if t.alt {
		// The normal screen first, as the program left it, then the other one over it.
		main := *t
		main.alt, main.cur = false, t.normal.saved
		main.cur.x, main.cur.y = clamp(main.cur.x, 0, t.cols-1), clamp(main.cur.y, 0, t.rows-1)
		main.writeScreen(&b)
		fmt.Fprintf(&b, "\x1b[%d;%dH%s\x1b[?1049h", main.cur.y+1, main.cur.x+1, main.cur.style.SGR())
	}
	t.writeScreen(&b)
	t.writeModes(&b)
	return []byte(b.String())
}

func (t *Terminal) writeScreen(b *strings.Builder) {
	b.WriteString("\x1b[0m\x1b[?7l")
	for y := range t.rows {
		runs := t.Runs(y)
		if len(runs) == 0 {
			continue
		}
		fmt.Fprintf(b, "\x1b[%d;1H", y+1)
		var last Style
		for _, r := range runs {
			if r.Style != last {
				b.WriteString(r.Style.SGR())
				last = r.Style
			}
			b.WriteString(r.Text)
		}
		if last != (Style{}) {
			b.WriteString("\x1b[0m")
		}
	}
}

func (t *Terminal) writeModes(b *strings.Builder) {
	if t.top != 0 || t.bottom != t.rows-1 {
		fmt.Fprintf(b, "\x1b[%d;%dr", t.top+1, t.bottom+1)
	}
	if t.wrap {
		b.WriteString("\x1b[?7h")
	}
	if t.insert {
		b.WriteString("\x1b[4h")
	}
	if t.appKeys {
		b.WriteString("\x1b[?1h")
	}
	if t.paste {
		b.WriteString("\x1b[?2004h")
	}
	if t.hidden {
		b.WriteString("\x1b[?25l")
	}
	for i, g := range t.cur.graphic {
		if g {
			fmt.Fprintf(b, "\x1b%c0", '('+i)
		}
	}
	if t.cur.shift == 1 {
		b.WriteByte(0x0e)
	}
	y := t.cur.y
	if t.cur.origin {
		b.WriteString("\x1b[?6h")
		y -= t.top
	}
	fmt.Fprintf(b, "\x1b[%d;%dH%s", y+1, t.cur.x+1, t.cur.style.SGR())
}
