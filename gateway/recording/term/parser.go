package term

import (
	"unicode/utf8"
)

type state uint8

const (
	stateGround state = iota
	stateEscape
	stateCharset // ESC ( and its like: one more byte
	stateHash    // ESC #
	stateCSI
	stateOSC
	stateString // DCS, SOS, PM, APC: skipped up to their end
)

// What a sequence may hold; the rest of a longer one is dropped.
const (
	maxParams = 32
	maxOSC    = 1024
	maxParam  = 65535
)

type parser struct {
	state   state
	params  []int
	digits  bool // the last parameter has begun
	private byte // '?', '>', '<' or '='
	inter   byte // intermediate byte
	slot    byte // which character set
	osc     []byte
	escaped bool // in a string: the last byte was ESC

	utf  [utf8.UTFMax]byte
	have int
	need int // bytes of the rune that is being read; 0: none
}

// Write takes what the program wrote. It never fails.
func (t *Terminal) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if t.parser.state == stateGround && t.parser.need == 0 && b[0] >= 0x20 && b[0] < 0x7f {
			b = b[t.printable(b):]
			continue
		}
		t.step(b[0])
		b = b[1:]
	}
	return n, nil
}

func (t *Terminal) step(c byte) {
	p := &t.parser
	if p.need > 0 {
		if c&0xc0 == 0x80 {
			t.utf8Next(c)
			return
		}
		p.need = 0
		t.put(utf8.RuneError)
	}
	switch p.state {
	case stateOSC:
		t.oscByte(c)
		return
	case stateString:
		t.stringByte(c)
		return
	case stateGround, stateEscape, stateCharset, stateHash, stateCSI:
	}
	switch {
	case c == 0x1b:
		p.state = stateEscape
		return
	case c == 0x18 || c == 0x1a: // CAN, SUB
		p.state = stateGround
		return
	case c < 0x20:
		t.control(c)
		return
	}
	switch p.state {
	case stateEscape:
		t.escape(c)
	case stateCharset:
		if p.slot == '(' || p.slot == ')' {
			t.cur.graphic[p.slot-'('] = c == '0'
		}
		p.state = stateGround
	case stateHash:
		p.state = stateGround
		if c == '8' { // the alignment pattern, shown as a blank screen
			t.eraseRows(0, t.rows)
		}
	case stateCSI:
		t.csiByte(c)
	case stateGround, stateOSC, stateString:
		t.ground(c)
	}
}

func (t *Terminal) ground(c byte) {
	p := &t.parser
	switch {
	case c == 0x7f:
	case c < 0x80:
		t.put(rune(c))
	case c >= 0xc2 && c < 0xf5:
		p.utf[0], p.have = c, 1
		switch {
		case c < 0xe0:
			p.need = 2
		case c < 0xf0:
			p.need = 3
		default:
			p.need = 4
		}
	default:
		t.put(utf8.RuneError)
	}
}

func (t *Terminal) utf8Next(c byte) {
	p := &t.parser
	p.utf[p.have] = c
	p.have++
	if p.have < p.need {
		return
	}
	p.need = 0
	r, _ := utf8.DecodeRune(p.utf[:p.have])
	t.put(r)
}

func (t *Terminal) control(c byte) {
	switch c {
	case '\r':
		t.cur.x, t.cur.pending = 0, false
	case '\n', 0x0b, 0x0c:
		t.lineFeed()
		if t.cfg.NewLine {
			t.cur.x = 0
		}
	case '\b':
		t.moveTo(t.cur.x-1, t.cur.y)
	case '\t':
		t.tab(1)
	case 0x0e:
		t.cur.shift = 1
	case 0x0f:
		t.cur.shift = 0
	}
}

func (t *Terminal) escape(c byte) {
	p := &t.parser
	p.state = stateGround
	switch c {
	case '[':
		p.state, p.params, p.digits, p.private, p.inter = stateCSI, p.params[:0], false, 0, 0
	case ']':
		p.state, p.osc, p.escaped = stateOSC, p.osc[:0], false
	case 'P', 'X', '^', '_':
		p.state, p.escaped = stateString, false
	case '(', ')', '*', '+', '-', '.', '/', '%', ' ':
		p.state, p.slot = stateCharset, c
	case '#':
		p.state = stateHash
	case '7':
		t.save()
	case '8':
		t.restore()
	case 'D':
		t.lineFeed()
	case 'E':
		t.lineFeed()
		t.cur.x = 0
	case 'M':
		t.reverseFeed()
	case 'H':
		t.setTab(true)
	case 'c':
		scrolled := t.scrolled
		t.reset()
		t.scrolled = scrolled
	}
}

func (t *Terminal) csiByte(c byte) {
	p := &t.parser
	switch {
	case c >= '0' && c <= '9':
		if !p.digits {
			p.digits = true
			if len(p.params) < maxParams {
				p.params = append(p.params, 0)
			}
		}
		if i := len(p.params) - 1; i >= 0 {
			p.params[i] = min(p.params[i]*10+int(c-'0'), maxParam)
		}
	case c == ';' || c == ':':
		if !p.digits && len(p.params) < maxParams {
			p.params = append(p.params, 0)
		}
		p.digits = false
	case c >= '<' && c <= '?':
		p.private = c
	case c >= 0x20 && c < 0x30:
		p.inter = c
	case c >= 0x40 && c < 0x7f:
		p.state = stateGround
		t.csi(c)
	default:
		p.state = stateGround
	}
}

// oscByte collects an operating system command up to BEL or ST.
func (t *Terminal) oscByte(c byte) {
	p := &t.parser
	switch {
	case c == 0x07 || (p.escaped && c == '\\'):
		p.state = stateGround
		t.osc(p.osc)
	case p.escaped: // ESC and something else ends the string and begins anew
		p.state = stateEscape
		t.step(c)
	case c == 0x18 || c == 0x1a:
		p.state = stateGround
	case c != 0x1b && len(p.osc) < maxOSC:
		p.osc = append(p.osc, c)
	}
	p.escaped = c == 0x1b
}

func (t *Terminal) stringByte(c byte) {
	p := &t.parser
	switch {
	case p.escaped && c == '\\', c == 0x18, c == 0x1a:
		p.state = stateGround
	case p.escaped:
		p.state = stateEscape
		t.step(c)
	}
	p.escaped = c == 0x1b
}

// osc knows the marks of shell integration: 133;A prompt, B command, C output, D end.
func (t *Terminal) osc(b []byte) {
	const mark = "133;"
	if t.cfg.OnMark == nil || t.alt || len(b) <= len(mark) || string(b[:len(mark)]) != mark {
		return
	}
	t.cfg.OnMark(b[len(mark)], string(b[len(mark)+1:]))
}
