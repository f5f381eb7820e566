package term

import "unicode/utf8"

// printable writes the run of printable ASCII at the start of b and returns its length.
func (t *Terminal) printable(b []byte) int {
	if t.insert || t.cur.graphic[t.cur.shift] {
		t.put(rune(b[0]))
		return 1
	}
	n := 0
	for n < len(b) && b[n] >= 0x20 && b[n] < 0x7f {
		n++
	}
	for run := b[:n]; len(run) > 0; {
		t.wrapPending()
		k := min(len(run), t.cols-t.cur.x)
		cells := t.span(t.cur.y, t.cur.x, k)
		for i := range k {
			cells[i] = cell{r: rune(run[i]), style: t.curStyle}
		}
		t.advance(k)
		run = run[k:]
	}
	t.last = rune(b[n-1])
	return n
}

// span makes n cells of a row from x on and returns them, to be written; halves of wide runes at its edges are blanked.
func (t *Terminal) span(y, x, n int) []cell {
	r := &t.at().rows[y]
	t.dirty[y] = true
	if len(r.cells) < x+n {
		t.grow(r, x+n)
	}
	if r.cells[x].wide == 2 && x > 0 {
		r.cells[x-1] = cell{style: r.cells[x-1].style}
	}
	if end := x + n; end < len(r.cells) && r.cells[end].wide == 2 {
		r.cells[end] = cell{style: r.cells[end].style}
	}
	return r.cells[x : x+n]
}

// grow lengthens a row with blanks.
func (t *Terminal) grow(r *row, n int) {
	old := len(r.cells)
	if n <= cap(r.cells) {
		r.cells = r.cells[:n]
	} else {
		cells := make([]cell, n, min(t.cols, max(n+n/4, 16)))
		copy(cells, r.cells)
		r.cells = cells
	}
	for i := old; i < n; i++ {
		r.cells[i] = cell{style: r.fill}
	}
}

func (t *Terminal) advance(n int) {
	t.cur.x += n
	if t.cur.x >= t.cols {
		t.cur.x = t.cols - 1
		t.cur.pending = t.wrap
	}
}

func (t *Terminal) wrapPending() {
	if !t.cur.pending {
		return
	}
	t.cur.pending = false
	t.at().rows[t.cur.y].wrapped = true
	t.cur.x = 0
	t.feed()
}

// put writes one rune.
func (t *Terminal) put(r rune) {
	if t.cur.graphic[t.cur.shift] {
		r = lineDrawing(r)
	}
	w := RuneWidth(r)
	if w == 0 {
		return
	}
	t.last = r
	t.wrapPending()
	if w == 2 && t.cur.x == t.cols-1 {
		if t.cols == 1 {
			r, w = utf8.RuneError, 1
		} else if t.wrap {
			t.cur.pending = true
			t.wrapPending()
		} else {
			t.cur.x--
		}
	}
	if t.insert {
		t.insertBlank(w)
	}
	cells := t.span(t.cur.y, t.cur.x, w)
	cells[0] = cell{r: r, style: t.curStyle}
	if w == 2 {
		cells[0].wide = 1
		cells[1] = cell{style: t.curStyle, wide: 2}
	}
	t.advance(w)
}

// lineFeed is the control: it tells, then feeds.
func (t *Terminal) lineFeed() {
	if t.cfg.OnLineFeed != nil && !t.alt {
		t.cfg.OnLineFeed()
	}
	t.at().rows[t.cur.y].wrapped = false
	t.cur.pending = false
	t.feed()
}

// feed moves down one row, and scrolls at the bottom of the region.
func (t *Terminal) feed() {
	switch {
	case t.cur.y == t.bottom:
		t.scrollUp(t.top, 1)
	case t.cur.y < t.rows-1:
		t.cur.y++
	}
}

func (t *Terminal) reverseFeed() {
	t.cur.pending = false
	switch {
	case t.cur.y == t.top:
		t.scrollDown(t.top, 1)
	case t.cur.y > 0:
		t.cur.y--
	}
}

// scrollUp moves the rows from top to the bottom of the region up by n; blank ones come in below.
func (t *Terminal) scrollUp(top, n int) {
	rows := t.at().rows[top : t.bottom+1]
	n = min(n, len(rows))
	if n <= 0 {
		return
	}
	if top == 0 && !t.alt {
		t.scrolled += n
	}
	t.rotate(rows, n)
	t.blankRows(rows[len(rows)-n:])
	t.touch(top, t.bottom)
}

// rotate moves rows up by n; those that leave at the top come in at the bottom.
func (t *Terminal) rotate(rows []row, n int) {
	t.spare = append(t.spare[:0], rows[:n]...)
	copy(rows, rows[n:])
	copy(rows[len(rows)-n:], t.spare)
	clear(t.spare)
}

func (t *Terminal) scrollDown(top, n int) {
	rows := t.at().rows[top : t.bottom+1]
	n = min(n, len(rows))
	if n <= 0 {
		return
	}
	t.rotate(rows, len(rows)-n)
	t.blankRows(rows[:n])
	t.touch(top, t.bottom)
}

func (t *Terminal) touch(from, to int) {
	for y := from; y <= to; y++ {
		t.dirty[y] = true
	}
}

// blank is what erased places become: they take the background colour.
func (t *Terminal) blank() cell {
	if t.cur.style.BG == 0 {
		return cell{}
	}
	full := t.cur.style
	t.setStyle(Style{BG: full.BG})
	c := cell{style: t.curStyle}
	t.setStyle(full)
	return c
}

func (t *Terminal) blankRows(rows []row) {
	b := t.blank()
	for i := range rows {
		r := &rows[i]
		r.cells, r.fill, r.wrapped = r.cells[:0], b.style, false
	}
}

// erase blanks columns from to before to of a row.
func (t *Terminal) erase(y, from, to int) {
	r := &t.at().rows[y]
	t.dirty[y] = true
	from, to = clamp(from, 0, t.cols), clamp(to, 0, t.cols)
	if from >= to {
		return
	}
	b := t.blank()
	if to == t.cols { // what is not there need not be written
		r.wrapped = false
		if len(r.cells) < from && r.fill != b.style {
			t.grow(r, from)
		}
		if len(r.cells) > from {
			if r.cells[from].wide == 2 {
				r.cells[from-1] = cell{style: r.cells[from-1].style}
			}
			r.cells = r.cells[:from]
		}
		r.fill = b.style
		return
	}
	if b.style == r.fill && from >= len(r.cells) {
		return
	}
	cells := t.span(y, from, to-from)
	for i := range cells {
		cells[i] = b
	}
}

func (t *Terminal) eraseDisplay(mode int) {
	switch mode {
	case 0:
		t.erase(t.cur.y, t.cur.x, t.cols)
		t.eraseRows(t.cur.y+1, t.rows)
	case 1:
		t.eraseRows(0, t.cur.y)
		t.erase(t.cur.y, 0, t.cur.x+1)
	case 2, 3:
		t.eraseRows(0, t.rows)
	}
}

func (t *Terminal) eraseRows(from, to int) {
	if from < to {
		t.blankRows(t.at().rows[from:to])
		t.touch(from, to-1)
	}
}

func (t *Terminal) eraseLine(mode int) {
	switch mode {
	case 0:
		t.erase(t.cur.y, t.cur.x, t.cols)
	case 1:
		t.erase(t.cur.y, 0, t.cur.x+1)
	case 2:
		t.erase(t.cur.y, 0, t.cols)
	}
}

// insertBlank moves the rest of the row right.
func (t *Terminal) insertBlank(n int) {
	r := &t.at().rows[t.cur.y]
	t.dirty[t.cur.y] = true
	x := t.cur.x
	n = min(n, t.cols-x)
	if x >= len(r.cells) || n <= 0 {
		return
	}
	old := len(r.cells)
	t.grow(r, min(old+n, t.cols))
	copy(r.cells[x+n:], r.cells[x:old])
	clearWide(r.cells, x, x+n)
	b := t.blank()
	for i := x; i < min(x+n, len(r.cells)); i++ {
		r.cells[i] = b
	}
	t.mend(r)
}

func (t *Terminal) deleteChars(n int) {
	r := &t.at().rows[t.cur.y]
	t.dirty[t.cur.y] = true
	x := t.cur.x
	if x >= len(r.cells) {
		return
	}
	n = min(n, len(r.cells)-x)
	copy(r.cells[x:], r.cells[x+n:])
	r.wrapped = false
	// What comes in at the edge is blank in the row's fill, or in the style of now if some cells were written there.
	old := len(r.cells)
	r.cells = r.cells[:old-n]
	if b := t.blank(); b.style != r.fill {
		t.grow(r, old)
		for i := old - n; i < old; i++ {
			r.cells[i] = b
		}
	}
	t.mend(r)
}

func clearWide(cells []cell, from, to int) {
	for i := from; i < min(to, len(cells)); i++ {
		cells[i] = cell{style: cells[i].style}
	}
}

// mend blanks halves of wide runes that lost their other half.
func (t *Terminal) mend(r *row) {
	for i := range r.cells {
		switch r.cells[i].wide {
		case 1:
			if i+1 >= len(r.cells) || r.cells[i+1].wide != 2 {
				r.cells[i] = cell{style: r.cells[i].style}
			}
		case 2:
			if i == 0 || r.cells[i-1].wide != 1 {
				r.cells[i] = cell{style: r.cells[i].style}
			}
		}
	}
}
