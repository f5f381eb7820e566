package sshproxy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"weft/internal/kind"
)

const prefix = "weft: "

// userText is the part of err that is written for users: the message and hint of a *kind.Error, else fallback.
func userText(err error, fallback string) string {
	e, ok := errors.AsType[*kind.Error](err)
	if !ok {
		return fallback
	}
	if e.Hint != "" {
		return e.Message + " (" + e.Hint + ")"
	}
	return e.Message
}

// causeText is what to tell about the end of a context. A cause without a kind is shown as it is: whoever cuts a session
// chose those words for its user.
func causeText(cause error) string {
	if cause == nil {
		return "no reason was given"
	}
	return userText(cause, cause.Error())
}

// clean makes s fit for somebody's terminal: names come from users and targets, and an escape sequence among them would
// be obeyed by clients that show banners as they are (RFC 4252 section 5.4 warns of it).
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || (unicode.IsPrint(r) && r != unicode.ReplacementChar) {
			return r
		}
		return '?'
	}, s)
}

// line formats one message for the user.
func line(format string, args ...any) string {
	return prefix + clean(strings.TrimRight(fmt.Sprintf(format, args...), "\n")) + "\n"
}
