package netexpr

import (
	"regexp"
	"strings"
)

// textMatcher is one test of a string.
type textMatcher interface{ match(s string) bool }

// matcher returns the test that op and values mean for f.
func matcher(f *field, op string, values []value) textMatcher {
	switch op {
	case "contains":
		return containsText{values[0].text, f.fold}
	case "matches":
		return matchesPattern{values[0].pattern, f.fold}
	}
	set := make(textSet, len(values))
	for _, v := range values {
		set[v.text] = struct{}{}
	}
	if f.fold {
		return foldedSet(set)
	}
	return set
}

type textSet map[string]struct{}

func (t textSet) match(s string) bool {
	_, ok := t[s]
	return ok
}

// foldedSet holds lower-case values.
type foldedSet map[string]struct{}

func (t foldedSet) match(s string) bool {
	var buf [128]byte
	if len(s) > len(buf) {
		_, ok := t[lowerASCII(s)]
		return ok
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	_, ok := t[string(buf[:len(s)])]
	return ok
}

type containsText struct {
	part string
	fold bool
}

func (c containsText) match(s string) bool {
	if c.fold {
		s = lowerASCII(s)
	}
	return strings.Contains(s, c.part)
}

type matchesPattern struct {
	re   *regexp.Regexp
	fold bool
}

func (m matchesPattern) match(s string) bool {
	if m.fold {
		s = lowerASCII(s)
	}
	return m.re.MatchString(s)
}
