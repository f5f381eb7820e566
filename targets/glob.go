package targets

import (
	"strings"

	"weft/internal/kind"
)

// MaxGlobBytes bounds a pattern; with the length of a hostname it bounds the work of one match.
const MaxGlobBytes = MaxHostnameBytes

// Glob is a pattern of hostnames: "*" is any characters, also none and also dots, "?" is one,
// "[a-c]" one of a set, "[!a-c]" or "[^a-c]" one that is not in it; everything else is
// itself without regard to case. A pattern without these is a hostname. The zero value matches
// only the empty string.
type Glob struct {
	pattern string // as it was written
	parts   []globPart
}

type globKind uint8

const (
	globByte globKind = iota // one given byte
	globAny                  // one byte of any kind
	globStar                 // any number of bytes
	globSet                  // one byte of a set
)

type globPart struct {
	kind globKind
	b    byte
	set  *[256]bool
}

// ParseGlob reads a pattern. Its errors are kind.Invalid and say what is wrong with it.
func ParseGlob(pattern string) (Glob, error) {
	g := Glob{pattern: pattern}
	switch {
	case pattern == "":
		return Glob{}, globError("a hostname pattern must not be empty")
	case len(pattern) > MaxGlobBytes:
		return Glob{}, globError("a hostname pattern must contain no more than %d characters; this one has %d", MaxGlobBytes, len(pattern))
	}
	for i := 0; i < len(pattern); {
		part := globPart{kind: globByte, b: lower(pattern[i])}
		next := i + 1
		switch c := pattern[i]; {
		case c == '*':
			part = globPart{kind: globStar}
		case c == '?':
			part = globPart{kind: globAny}
		case c == '[':
			end, set, err := parseSet(pattern, i)
			if err != nil {
				return Glob{}, err
			}
			part, next = globPart{kind: globSet, set: set}, end
		case !alphanumeric(c) && c != '-' && c != '.':
			return Glob{}, globError("hostname pattern %s may contain only letters, digits, '-', '.', and *, ?, [a-z]", quote(pattern))
		}
		i = next
		if n := len(g.parts); part.kind == globStar && n > 0 && g.parts[n-1].kind == globStar {
			continue // two stars are one
		}
		g.parts = append(g.parts, part)
	}
	return g, nil
}

func globError(format string, args ...any) error {
	return kind.Field("/hostname", format, args...)
}

// parseSet reads the set that begins at pattern[i] and returns what comes after it.
func parseSet(pattern string, i int) (next int, set *[256]bool, err error) {
	length := strings.IndexByte(pattern[i:], ']')
	if length < 0 {
		return 0, nil, globError("hostname pattern %s lacks the ']' of a set", quote(pattern))
	}
	body, next := pattern[i+1:i+length], i+length+1
	negated := body != "" && (body[0] == '!' || body[0] == '^')
	if negated {
		body = body[1:]
	}
	if body == "" {
		return 0, nil, globError("hostname pattern %s has an empty set", quote(pattern))
	}
	set = new([256]bool)
	for j := 0; j < len(body); j++ {
		from, to := body[j], body[j]
		if j+2 < len(body) && body[j+1] == '-' {
			to = body[j+2]
			j += 2
		}
		// Without regard to case, so "[A-z]" and "[a-C]" are what they look like.
		from, to = lower(from), lower(to)
		if from > to || !setByte(from) || !setByte(to) {
			return 0, nil, globError("hostname pattern %s has a set that is none of characters and ranges such as [a-z0-9]", quote(pattern))
		}
		for c := int(from); c <= int(to); c++ {
			set[c] = true
		}
	}
	if negated {
		for c := range set {
			set[c] = !set[c]
		}
	}
	return next, set, nil
}

func setByte(c byte) bool { return alphanumeric(c) || c == '-' || c == '.' }

// String returns the pattern as it was written.
func (g Glob) String() string { return g.pattern }

// Match reports whether the whole of s fits. It takes no more than len(s) times the length of the
// pattern: a star that was passed is never gone back to once a later one was reached.
func (g Glob) Match(s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // the last star, and where what follows it was last tried
	for i < len(s) {
		switch {
		case p < len(g.parts) && g.parts[p].kind == globStar:
			star, from = p, i
			p++
		case p < len(g.parts) && g.parts[p].fits(lower(s[i])):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(g.parts) && g.parts[p].kind == globStar {
		p++
	}
	return p == len(g.parts)
}

// fits reports whether one byte, in lower case, is what p stands for.
func (p *globPart) fits(c byte) bool {
	switch p.kind {
	case globByte:
		return c == p.b
	case globAny:
		return true
	case globSet:
		return p.set[c]
	case globStar:
	}
	return false
}
