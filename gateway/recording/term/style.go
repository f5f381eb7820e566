package term

import (
	"strconv"
)

// Color is a colour: the zero value is the terminal's default, else an index of the palette or red, green and blue.
type Color uint32

const (
	colorIndexed Color = 1 << 24
	colorRGB     Color = 2 << 24
)

// Indexed is a colour of the palette of 256.
func Indexed(i uint8) Color { return colorIndexed | Color(i) }

// RGB is a colour by its parts.
func RGB(r, g, b uint8) Color { return colorRGB | Color(r)<<16 | Color(g)<<8 | Color(b) }

// Index returns the index in the palette, if it is one.
func (c Color) Index() (uint8, bool) { return uint8(c), c&^0xff == colorIndexed }

// Parts returns red, green and blue, if that is what it is.
func (c Color) Parts() (r, g, b uint8, ok bool) {
	return uint8(c >> 16), uint8(c >> 8), uint8(c), c>>24 == colorRGB>>24
}

// Attr are the renditions of text.
type Attr uint16

// The renditions (ECMA-48 section 8.3.117).
const (
	Bold Attr = 1 << iota
	Dim
	Italic
	Underline
	Blink
	Reverse
	Invisible
	Strike
)

// Style is how a rune is shown.
type Style struct {
	FG, BG Color
	Attr   Attr
}

// SGR is the control sequence that selects the style from whatever was selected before.
func (s Style) SGR() string {
	b := []byte("\x1b[0")
	for i, n := range []int{1, 2, 3, 4, 5, 7, 8, 9} {
		if s.Attr&(1<<i) != 0 {
			b = append(b, ';')
			b = strconv.AppendInt(b, int64(n), 10)
		}
	}
	b = appendColor(b, s.FG, 30)
	b = appendColor(b, s.BG, 40)
	return string(append(b, 'm'))
}

func appendColor(b []byte, c Color, base int64) []byte {
	if i, ok := c.Index(); ok {
		switch {
		case i < 8:
			b = strconv.AppendInt(append(b, ';'), base+int64(i), 10)
		case i < 16:
			b = strconv.AppendInt(append(b, ';'), base+60+int64(i)-8, 10)
		default:
			b = strconv.AppendInt(append(b, ';'), base+8, 10)
			b = append(b, ";5;"...)
			b = strconv.AppendInt(b, int64(i), 10)
		}
		return b
	}
	if r, g, bl, ok := c.Parts(); ok {
		b = strconv.AppendInt(append(b, ';'), base+8, 10)
		b = append(b, ";2;"...)
		b = strconv.AppendInt(b, int64(r), 10)
		b = strconv.AppendInt(append(b, ';'), int64(g), 10)
		b = strconv.AppendInt(append(b, ';'), int64(bl), 10)
	}
	return b
}

// setStyle makes s the style of what is written next.
func (t *Terminal) setStyle(s Style) {
	t.cur.style = s
	i, ok := t.styleOf[s]
	if !ok {
		if len(t.styles) >= maxStyles {
			t.compactStyles()
		}
		if len(t.styles) >= maxStyles { // every one of them is on the screen
			t.curStyle = 0
			return
		}
		i = uint16(len(t.styles))
		t.styles = append(t.styles, s)
		t.styleOf[s] = i
	}
	t.curStyle = i
}

// compactStyles drops the styles that no cell has.
func (t *Terminal) compactStyles() {
	styles, index := []Style{{}}, map[Style]uint16{{}: 0}
	keep := func(at *uint16) {
		st := t.styles[*at]
		i, ok := index[st]
		if !ok {
			i = uint16(len(styles))
			styles = append(styles, st)
			index[st] = i
		}
		*at = i
	}
	for _, s := range []*screen{&t.normal, &t.other} {
		for y := range s.rows {
			keep(&s.rows[y].fill)
			for x := range s.rows[y].cells {
				keep(&s.rows[y].cells[x].style)
			}
		}
	}
	t.styles, t.styleOf = styles, index
}

// sgr applies Select Graphic Rendition.
func (t *Terminal) sgr(p []int) {
	s := t.cur.style
	for i := 0; i < len(p); i++ {
		n := p[i]
		switch {
		case n == 0:
			s = Style{}
		case n >= 1 && n <= 9:
			s.Attr |= attrOf(n)
		case n == 21 || n == 22:
			s.Attr &^= Bold | Dim
		case n >= 23 && n <= 29:
			s.Attr &^= attrOf(n - 20)
		case n >= 30 && n <= 37:
			s.FG = Indexed(uint8(n - 30))
		case n >= 40 && n <= 47:
			s.BG = Indexed(uint8(n - 40))
		case n >= 90 && n <= 97:
			s.FG = Indexed(uint8(n - 90 + 8))
		case n >= 100 && n <= 107:
			s.BG = Indexed(uint8(n - 100 + 8))
		case n == 39:
			s.FG = 0
		case n == 49:
			s.BG = 0
		case n == 38 || n == 48:
			c, used := extendedColor(p[i+1:])
			i += used
			if n == 38 {
				s.FG = c
			} else {
				s.BG = c
			}
		}
	}
	t.setStyle(s)
}

func attrOf(n int) Attr {
	switch n {
	case 1:
		return Bold
	case 2:
		return Dim
	case 3:
		return Italic
	case 4:
		return Underline
	case 5, 6:
		return Blink
	case 7:
		return Reverse
	case 8:
		return Invisible
	case 9:
		return Strike
	}
	return 0
}

// extendedColor reads what follows 38 or 48, and says how many parameters that were.
func extendedColor(p []int) (Color, int) {
	switch {
	case len(p) >= 2 && p[0] == 5:
		return Indexed(uint8(p[1])), 2
	case len(p) >= 4 && p[0] == 2:
		return RGB(uint8(p[1]), uint8(p[2]), uint8(p[3])), 4
	default:
		return 0, len(p)
	}
}
