package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"weft/cli/render"
)

// picker is the state of the list that one chooses from.
type picker struct {
	all   []choice
	query string
	found []choice // those that fit the query, best first
	at    int      // the chosen one among found
	top   int      // the first one that is seen
}

// key is one press: a character, or one of the named keys below.
type key rune

const (
	keyNone key = -iota
	keyUp
	keyDown
	keyPageUp
	keyPageDown
	keyEnter
	keyCancel
	keyBackspace
	keyClear
	keyWord
)

// outcome of a key.
type outcome int

const (
	goOn outcome = iota
	took
	left
)

// escapes are the sequences of keys that terminals send (ECMA-48 and xterm's application mode).
var escapes = map[string]key{
	"[A": keyUp, "OA": keyUp, "[B": keyDown, "OB": keyDown, "[5~": keyPageUp, "[6~": keyPageDown,
}

// controls are the control characters that mean something.
var controls = map[byte]key{
	'\r': keyEnter, '\n': keyEnter, 3: keyCancel, 4: keyCancel, 7: keyCancel, 8: keyBackspace, 0x7f: keyBackspace,
	'u' & 0x1f: keyClear, 'w' & 0x1f: keyWord, 'p' & 0x1f: keyUp, 'k' & 0x1f: keyUp, 'n' & 0x1f: keyDown, '\t': keyDown,
}

// parseKeys reads what came from the terminal in one piece. An escape that begins no known sequence is the Escape key
// when it stands alone, and else skipped with its sequence.
func parseKeys(b []byte) []key {
	var keys []key
	for len(b) > 0 {
		switch c := b[0]; {
		case c == 0x1b && len(b) == 1:
			return append(keys, keyCancel)
		case c == 0x1b:
			n := escapeLength(b[1:])
			if k, ok := escapes[string(b[1:1+n])]; ok {
				keys = append(keys, k)
			}
			b = b[1+n:]
		case c < ' ' || c == 0x7f:
			if k, ok := controls[c]; ok {
				keys = append(keys, k)
			}
			b = b[1:]
		default:
			r, size := utf8.DecodeRune(b)
			if r != utf8.RuneError && unicode.IsPrint(r) {
				keys = append(keys, key(r))
			}
			b = b[size:]
		}
	}
	return keys
}

// isUnfinished reports whether b ends in the middle of a key: of an escape sequence or a character.
func isUnfinished(b []byte) bool {
	if i := bytes.LastIndexByte(b, 0x1b); i >= 0 {
		switch rest := b[i+1:]; {
		case len(rest) == 0, len(rest) == 1 && (rest[0] == '[' || rest[0] == 'O'):
			return true
		case rest[0] == '[':
			return !bytes.ContainsFunc(rest[1:], func(r rune) bool { return r >= 0x40 && r <= 0x7e })
		}
	}
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if c := b[len(b)-n]; utf8.RuneStart(c) {
			return !utf8.FullRune(b[len(b)-n:])
		}
	}
	return false
}

// escapeLength is the length of the sequence that follows an escape: ESC O x, ESC [ ... final, or one byte.
func escapeLength(b []byte) int {
	switch {
	case b[0] == 'O' && len(b) > 1:
		return 2
	case b[0] == '[':
		for i := 1; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				return i + 1
			}
		}
		return len(b)
	}
	return 1
}

// maxQuery bounds what is typed.
const maxQuery = 256

// press takes one key.
func (p *picker) press(k key) outcome {
	switch k {
	case keyEnter:
		if len(p.found) > 0 {
			return took
		}
	case keyCancel:
		return left
	case keyUp:
		p.at--
	case keyDown:
		p.at++
	case keyPageUp:
		p.at -= maxPickLines / 2
	case keyPageDown:
		p.at += maxPickLines / 2
	case keyBackspace:
		_, size := utf8.DecodeLastRuneInString(p.query)
		p.search(p.query[:len(p.query)-size])
	case keyClear:
		p.search("")
	case keyWord:
		p.search(p.query[:strings.LastIndexByte(strings.TrimRight(p.query, " "), ' ')+1])
	case keyNone:
	default:
		if len(p.query) < maxQuery {
			p.search(p.query + string(rune(k)))
		}
	}
	p.at = max(0, min(p.at, len(p.found)-1))
	return goOn
}

// pressAll takes keys until one of them ends it.
func (p *picker) pressAll(keys []key) outcome {
	for _, k := range keys {
		if o := p.press(k); o != goOn {
			return o
		}
	}
	return goOn
}

func (p *picker) search(query string) {
	p.query, p.at, p.top = query, 0, 0
	p.filter()
}

// filter finds the choices that every word of the query fits, the best first.
func (p *picker) filter() {
	type scored struct {
		choice
		score int
	}
	words := strings.Fields(strings.ToLower(p.query))
	var fits []scored
	for _, c := range p.all {
		text, total, ok := strings.ToLower(c.text), 0, true
		for _, w := range words {
			n, fit := fuzzy(text, w)
			total, ok = total+n, ok && fit
		}
		if ok {
			fits = append(fits, scored{c, total})
		}
	}
	slices.SortStableFunc(fits, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	p.found = p.found[:0]
	for _, f := range fits {
		p.found = append(p.found, f.choice)
	}
}

// fuzzy reports whether the characters of word stand in text in their order, and how well: those that follow each other,
// and the beginnings of words, count more, and what is found whole most.
func fuzzy(text, word string) (score int, ok bool) {
	if i := strings.Index(text, word); i >= 0 {
		score = 8 * len(word)
		if i == 0 || !isWordByte(text[i-1]) {
			score += 8
		}
		return score * closeness, true
	}
	at, last, first := 0, -2, -1
	for i := range len(word) {
		n := strings.IndexByte(text[at:], word[i])
		if n < 0 {
			return 0, false
		}
		at += n
		switch {
		case at == last+1:
			score += 4
		case at == 0 || !isWordByte(text[at-1]):
			score += 3
		default:
			score++
		}
		if first < 0 {
			first = at
		}
		last = at
		at++
	}
	return score*closeness - min(last-first, closeness-1), true
}

// closeness is what one point counts against characters between the first and the last found: of equal matches
// the closer one is better.
const closeness = 64

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= utf8.RuneSelf
}

// view draws the list: the query, then as many of the found as fit into so many lines.
func (p *picker) view(columns, lines int) []string {
	room := max(1, lines-1)
	p.top = max(min(p.top, p.at), p.at-room+1)
	out := []string{render.ClipLine(fmt.Sprintf("> %s  (%d of %d)", p.query, len(p.found), len(p.all)), columns)}
	for i := p.top; i < len(p.found) && i < p.top+room; i++ {
		line := render.ClipLine(p.found[i].text, columns-2)
		if i == p.at {
			line = "\x1b[7m> " + line + "\x1b[0m"
		} else {
			line = "  " + line
		}
		out = append(out, line)
	}
	return out
}
