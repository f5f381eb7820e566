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
		r.cells = grow(r.cells, x+n, t.cols)
	}
	if r.cells[x].wide == 2 && x > 0 {
		r.cells[x-1] = cell{style: r.cells[x-1].style}
	}
	if end := x + n; end < len(r.cells) && r.cells[end].wide == 2 {
		r.cells[end] = cell{style: r.cells[end].style}
	}
	return r.cells[x : x+n]
}

// grow lengthens cells with blanks.
func grow(cells []cell, n, limit int) []cell {
	if n <= cap(cells) {
		old := len(cells)
		cells = cells[:n]
		clear(cells[old:])
		return cells
	}
	out := make([]cell, n, min(limit, max(n+n/4, 16)))
	copy(out, cells)
	return out
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
	for range n {
		first := rows[0]
		copy(rows, rows[1:])
		first.cells, first.wrapped = first.cells[:0], false
		rows[len(rows)-1] = first
		t.blankRow(&rows[len(rows)-1])
	}
	t.touch(top, t.bottom)
}

func (t *Terminal) scrollDown(top, n int) {
	rows := t.at().rows[top : t.bottom+1]
	n = min(n, len(rows))
	for range n {
		last := rows[len(rows)-1]
		copy(rows[1:], rows)
		last.cells, last.wrapped = last.cells[:0], false
		rows[0] = last
		t.blankRow(&rows[0])
	}
	if n > 0 {
		t.touch(top, t.bottom)
	}
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

func (t *Terminal) blankRow(r *row) {
	r.wrapped = false
	b := t.blank()
	if b.style == 0 {
		r.cells = r.cells[:0]
		return
	}
	r.cells = grow(r.cells[:0], t.cols, t.cols)
	for i := range r.cells {
		r.cells[i] = b
	}
}

// erase blanks columns from to before to of a row.
func (t *Terminal) erase(y, from, to int) {
	r := &t.at().rows[y]
	t.dirty[y] = true
	from, to = clamp(from, 0, t.cols), clamp(to, 0, t.cols)
	if to == t.cols {
		r.wrapped = false
	}
	b := t.blank()
	if b.style == 0 {
		if from >= len(r.cells) {
			return
		}
		if to >= len(r.cells) {
			if from > 0 && r.cells[from].wide == 2 {
				r.cells[from-1] = cell{}
			}
			r.cells = r.cells[:from]
			return
		}
	}
	if from >= to {
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
	for y := from; y < to; y++ {
		t.erase(y, 0, t.cols)
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
	r.cells = grow(r.cells, min(old+n, t.cols), t.cols)
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
	r.cells = r.cells[:len(r.cells)-n]
	r.wrapped = false
	t.mend(r)
	if b := t.blank(); b.style != 0 {
		from := len(r.cells)
		r.cells = grow(r.cells, min(from+n, t.cols), t.cols)
		for i := from; i < len(r.cells); i++ {
			r.cells[i] = b
		}
	}
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

func (t *Terminal) alignment() {
	for y := range t.rows {
		cells := t.span(y, 0, t.cols)
		for i := range cells {
			cells[i] = cell{r: 'E'}
		}
	}
}
