package term

// param is the i-th parameter, def when it is missing or zero.
func (t *Terminal) param(i, def int) int {
	if i < len(t.parser.params) && t.parser.params[i] != 0 {
		return t.parser.params[i]
	}
	return def
}

// csi executes a control sequence.
func (t *Terminal) csi(final byte) {
	p := &t.parser
	switch {
	case p.inter != 0:
		if p.inter == '!' && final == 'p' { // soft reset
			t.softReset()
		}
		return
	case p.private == '?':
		if final == 'h' || final == 'l' {
			for _, m := range p.params {
				t.mode(m, final == 'h')
			}
		}
		return
	case p.private != 0:
		return
	}
	if t.moves(final) {
		return
	}
	n := t.param(0, 1)
	switch final {
	case '@':
		t.insertBlank(n)
	case 'J':
		t.eraseDisplay(t.param(0, 0))
	case 'K':
		t.eraseLine(t.param(0, 0))
	case 'L':
		t.shiftLines(n, t.scrollDown)
	case 'M':
		t.shiftLines(n, t.scrollUp)
	case 'P':
		t.deleteChars(n)
	case 'S':
		t.scrollUp(t.top, n)
	case 'T':
		t.scrollDown(t.top, n)
	case 'X':
		t.erase(t.cur.y, t.cur.x, t.cur.x+n)
	case 'b':
		if t.last != 0 {
			for range min(n, t.cols) { // no program repeats over more than a row
				t.put(t.last)
			}
		}
	case 'g':
		t.clearTabs(t.param(0, 0))
	case 'h', 'l':
		for _, m := range p.params {
			if m == 4 {
				t.insert = final == 'h'
			}
		}
	case 'm':
		if len(p.params) == 0 {
			t.setStyle(Style{})
			return
		}
		t.sgr(p.params)
	case 'r':
		t.region(t.param(0, 1)-1, t.param(1, t.rows)-1)
	case 's':
		t.save()
	case 'u':
		t.restore()
	}
}

// moves executes the sequences that only move the cursor.
func (t *Terminal) moves(final byte) bool {
	n := t.param(0, 1)
	x, y := t.cur.x, t.cur.y
	switch final {
	case 'A':
		t.moveTo(x, t.bound(y, y-n))
	case 'B', 'e':
		t.moveTo(x, t.bound(y, y+n))
	case 'C', 'a':
		t.moveTo(x+n, y)
	case 'D':
		t.moveTo(x-n, y)
	case 'E':
		t.moveTo(0, t.bound(y, y+n))
	case 'F':
		t.moveTo(0, t.bound(y, y-n))
	case 'G', '`':
		t.moveTo(n-1, y)
	case 'H', 'f':
		t.place(t.param(1, 1)-1, n-1)
	case 'd':
		t.place(x, n-1)
	case 'I':
		t.tab(n)
	case 'Z':
		t.tab(-n)
	default:
		return false
	}
	return true
}

// bound keeps a vertical move that starts inside the scroll region inside it.
func (t *Terminal) bound(from, to int) int {
	if from >= t.top && from <= t.bottom {
		return clamp(to, t.top, t.bottom)
	}
	return to
}

func (t *Terminal) moveTo(x, y int) {
	t.cur.x, t.cur.y = clamp(x, 0, t.cols-1), clamp(y, 0, t.rows-1)
	t.cur.pending = false
}

// place moves to an address, which origin mode counts from the scroll region.
func (t *Terminal) place(x, y int) {
	if t.cur.origin {
		y = clamp(y+t.top, t.top, t.bottom)
	}
	t.moveTo(x, y)
}

func (t *Terminal) region(top, bottom int) {
	top, bottom = clamp(top, 0, t.rows-1), clamp(bottom, 0, t.rows-1)
	if top >= bottom {
		return
	}
	t.top, t.bottom = top, bottom
	t.place(0, 0)
}

func (t *Terminal) shiftLines(n int, scroll func(int, int)) {
	if t.cur.y < t.top || t.cur.y > t.bottom {
		return
	}
	before := t.scrolled
	scroll(t.cur.y, n)
	t.scrolled = before // deleted lines have not left at the top
	t.cur.x, t.cur.pending = 0, false
}

func (t *Terminal) mode(m int, on bool) {
	switch m {
	case 1:
		t.appKeys = on
	case 6:
		t.cur.origin = on
		t.place(0, 0)
	case 7:
		t.wrap = on
		t.cur.pending = false
	case 25:
		t.hidden = !on
	case 47, 1047:
		t.switchScreen(on, false)
	case 1048:
		if on {
			t.save()
		} else {
			t.restore()
		}
	case 1049:
		t.switchScreen(on, true)
	case 2004:
		t.paste = on
	}
}

func (t *Terminal) switchScreen(alt, keepCursor bool) {
	if alt == t.alt {
		return
	}
	if alt {
		if keepCursor {
			t.save()
		}
		t.other = screen{rows: make([]row, t.rows)}
		t.alt = true
	} else {
		t.alt = false
		t.other = screen{}
		if keepCursor {
			t.restore()
		}
	}
	t.top, t.bottom = 0, t.rows-1
	t.allDirty()
}

func (t *Terminal) save() { t.at().saved = t.cur }

func (t *Terminal) restore() {
	t.cur = t.at().saved
	t.cur.x, t.cur.y = clamp(t.cur.x, 0, t.cols-1), clamp(t.cur.y, 0, t.rows-1)
	t.cur.pending = false
	t.setStyle(t.cur.style)
}

func (t *Terminal) softReset() {
	t.insert, t.hidden, t.wrap, t.appKeys = false, false, true, false
	t.top, t.bottom = 0, t.rows-1
	t.cur.origin, t.cur.graphic, t.cur.shift = false, [2]bool{}, 0
	t.at().saved = cursor{}
	t.setStyle(Style{})
}

const tabWidth = 8

func (t *Terminal) tabAt(x int) bool {
	if t.tabs == nil {
		return x%tabWidth == 0
	}
	return t.tabs[x]
}

func (t *Terminal) tab(n int) {
	x := t.cur.x
	for ; n > 0 && x < t.cols-1; n-- {
		for x++; x < t.cols-1 && !t.tabAt(x); x++ {
		}
	}
	for ; n < 0 && x > 0; n++ {
		for x--; x > 0 && !t.tabAt(x); x-- {
		}
	}
	t.moveTo(x, t.cur.y)
}

// ownTabs makes the table of stops, which is only there once somebody changed it.
func (t *Terminal) ownTabs() {
	if t.tabs != nil {
		return
	}
	t.tabs = make([]bool, t.cols)
	for x := range t.tabs {
		t.tabs[x] = x%tabWidth == 0
	}
}

func (t *Terminal) setTab(on bool) {
	t.ownTabs()
	t.tabs[t.cur.x] = on
}

func (t *Terminal) clearTabs(mode int) {
	switch mode {
	case 0:
		t.setTab(false)
	case 3:
		t.tabs = make([]bool, t.cols)
	}
}
