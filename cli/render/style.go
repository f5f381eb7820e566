package render

import (
	"unicode"
	"unicode/utf8"
)

// Style says how text is dressed.
type Style struct {
	// Colour is true on a terminal that wants it.
	Colour bool
}

// Red dresses what went wrong.
func (s Style) Red(text string) string { return s.dress("31", text) }

// Green dresses what is well.
func (s Style) Green(text string) string { return s.dress("32", text) }

// Yellow dresses what is on its way.
func (s Style) Yellow(text string) string { return s.dress("33", text) }

func (s Style) dress(sgr, text string) string {
	if !s.Colour {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// Clean replaces control characters, so that a name from elsewhere cannot steer
// the terminal. It is applied to everything that others have written.
func (s Style) Clean(text string) string { return Clean(text) }

// Clean replaces control and format characters by U+FFFD, and what is not UTF-8 too.
func Clean(text string) string {
	if isPlain(text) {
		return text
	}
	return string(appendClean(nil, text))
}

// isPlain reports whether s is printable ASCII, which nearly everything is.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// appendClean appends Clean(text).
func appendClean(b []byte, text string) []byte {
	if isPlain(text) {
		return append(b, text...)
	}
	for _, r := range text {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			r = unicode.ReplacementChar
		}
		b = utf8.AppendRune(b, r)
	}
	return b
}
