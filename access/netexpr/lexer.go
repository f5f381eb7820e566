package netexpr

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// tokenKind is what a token is; punctuation and operators are symbols.
type tokenKind uint8

const (
	tokEnd tokenKind = iota
	tokWord
	tokString
	tokSymbol
)

// token is one piece of an expression. A word is whatever is made of letters,
// digits and _ . : / -, so numbers, addresses, prefixes and ranges are words too.
type token struct {
	kind   tokenKind
	text   string // of a string: its value
	offset int
}

func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "the end"
	case tokString:
		return strconv.Quote(t.text)
	default:
		return "'" + t.text + "'"
	}
}

// symbols, the longer before those they begin with.
var symbols = []string{"[*]", "==", "!=", "<=", ">=", "&&", "||", "^^", "(", ")", "{", "}", "[", "]", "<", ">", "!", "~", "$", "."}

type lexer struct {
	src string
	at  int
}

func isWord(c byte) bool {
	return c == '_' || c == '.' || c == ':' || c == '/' || c == '-' ||
		'0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// next returns the next token.
func (l *lexer) next() (token, error) {
	for l.at < len(l.src) && strings.IndexByte(" \t\r\n", l.src[l.at]) >= 0 {
		l.at++
	}
	start := l.at
	if start == len(l.src) {
		return token{kind: tokEnd, offset: start}, nil
	}
	c := l.src[start]
	switch {
	case c == '"':
		s, err := l.quoted()
		return token{kind: tokString, text: s, offset: start}, err
	case isWord(c) && c != '.':
		for l.at < len(l.src) && isWord(l.src[l.at]) {
			l.at++
		}
		return token{kind: tokWord, text: l.src[start:l.at], offset: start}, nil
	}
	for _, s := range symbols {
		if strings.HasPrefix(l.src[start:], s) {
			l.at += len(s)
			return token{kind: tokSymbol, text: s, offset: start}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(l.src[start:])
	return token{}, l.fail(start, "unexpected character %q", r)
}

// quoted reads a string; l.at is at its opening quote.
func (l *lexer) quoted() (string, error) {
	start := l.at
	var b strings.Builder
	for l.at++; l.at < len(l.src); l.at++ {
		switch c := l.src[l.at]; c {
		case '"':
			l.at++
			if !utf8.ValidString(b.String()) {
				return "", l.fail(start, "the string is not UTF-8")
			}
			return b.String(), nil
		case '\\':
			if err := l.escape(&b); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", l.fail(start, "the string has no closing quote")
}

// escape reads one escape; l.at is at the backslash, and afterwards at its last byte.
func (l *lexer) escape(b *strings.Builder) error {
	start := l.at
	l.at++
	if l.at == len(l.src) {
		return l.fail(start, "the string has no closing quote")
	}
	switch c := l.src[l.at]; c {
	case '"', '\\':
		b.WriteByte(c)
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'x':
		if len(l.src) < l.at+3 {
			return l.fail(start, `\x needs two hexadecimal digits`)
		}
		n, err := strconv.ParseUint(l.src[l.at+1:l.at+3], 16, 8)
		if err != nil {
			return l.fail(start, `\x needs two hexadecimal digits`)
		}
		b.WriteByte(byte(n))
		l.at += 2
	default:
		return l.fail(start, `unknown escape \%c; a backslash itself is written \\`, c)
	}
	return nil
}

func (l *lexer) fail(offset int, format string, args ...any) error {
	return &SyntaxError{Offset: offset, Message: fmt.Sprintf(format, args...)}
}

// SyntaxError says where an expression is wrong, and how.
type SyntaxError struct {
	// Offset is the byte in the expression at which the wrong part begins.
	Offset  int
	Message string
}

// Error names the place as Offset counts: bytes, from 0.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("at offset %d: %s", e.Offset, e.Message)
}
