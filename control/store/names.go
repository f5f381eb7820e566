package store

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"weft/internal/kind"
)

// maxNameBytes bounds the names that people give; the longest documented limit is 350 characters.
const maxNameBytes = 350

const maxCommentBytes = 1000

// checkName accepts what can be shown on one line.
func checkName(s string) error {
	const pointer = "/name"
	switch {
	case s == "":
		return kind.Field(pointer, "a name is required")
	case len(s) > maxNameBytes:
		return kind.Field(pointer, "the name is longer than %d bytes", maxNameBytes)
	case strings.TrimSpace(s) != s:
		return kind.Field(pointer, "the name begins or ends with a space")
	}
	return checkText(pointer, s)
}

func checkComment(pointer, s string) error {
	if len(s) > maxCommentBytes {
		return kind.Field(pointer, "the comment is longer than %d bytes", maxCommentBytes)
	}
	return checkText(pointer, s)
}

// checkText keeps terminals and logs safe from what is shown on them.
func checkText(pointer, s string) error {
	if !utf8.ValidString(s) {
		return kind.Field(pointer, "the text is not valid UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return kind.Field(pointer, "the text has a control character")
		}
	}
	return nil
}

func nameKey(s string) string { return strings.ToLower(s) }

// emailKey is what tells users apart: ASCII case does not, as for the policy. Unicode would make one mailbox of two (the
// Kelvin sign is a k to it), and enrol a device of the one as the other's.
func emailKey(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func asKind(err error) (*kind.Error, bool) { return errors.AsType[*kind.Error](err) }
