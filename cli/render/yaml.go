package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// YAML writes v, which encoding/json can encode, as a YAML 1.2 document in block style with the same
// names in the same order as in JSON. It is made from the JSON: that is a subset of YAML, so all
// that is left to do is the layout, and a string that could be anything else is quoted as JSON does.
// A test reads it back with a YAML library; to link one would make the program
// half a megabyte larger for one command's one option.
func YAML(w io.Writer, v any) error {
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode YAML: %w", err)
	}
	y := yamlWriter{dec: json.NewDecoder(&data)}
	y.dec.UseNumber()
	t, err := y.dec.Token()
	if err == nil {
		err = y.value(t, 0, true)
	}
	if err != nil {
		return fmt.Errorf("encode YAML: %w", err)
	}
	if _, err := w.Write(y.b); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return nil
}

type yamlWriter struct {
	dec *json.Decoder
	b   []byte
}

// value writes the value that begins with t. At the start of a line a collection begins there, else
// (after a key) on the next line; a scalar follows the key after a blank.
func (y *yamlWriter) value(t json.Token, indent int, atStart bool) error {
	d, isDelim := t.(json.Delim)
	if !isDelim {
		if !atStart {
			y.b = append(y.b, ' ')
		}
		y.b = append(appendScalar(y.b, t), '\n')
		return nil
	}
	if !y.dec.More() {
		if !atStart {
			y.b = append(y.b, ' ')
		}
		y.b = append(y.b, map[json.Delim]string{'{': "{}\n", '[': "[]\n"}[d]...)
		_, err := y.dec.Token()
		return err
	}
	if !atStart {
		y.b = append(y.b, '\n')
	}
	for first := true; y.dec.More(); first = false {
		// The first entry of a collection that begins right here is already indented.
		if !first || !atStart {
			y.b = append(y.b, strings.Repeat(" ", indent)...)
		}
		if err := y.entry(d, indent); err != nil {
			return err
		}
	}
	_, err := y.dec.Token()
	return err
}

// entry writes one member of an object or element of an array.
func (y *yamlWriter) entry(d json.Delim, indent int) error {
	if d == '[' {
		y.b = append(y.b, "- "...)
		t, err := y.dec.Token()
		if err != nil {
			return err
		}
		return y.value(t, indent+2, true)
	}
	key, err := y.dec.Token()
	if err != nil {
		return err
	}
	y.b = append(appendScalar(y.b, key), ':')
	t, err := y.dec.Token()
	if err != nil {
		return err
	}
	return y.value(t, indent+2, false)
}

func appendScalar(b []byte, t json.Token) []byte {
	s, ok := t.(string)
	if !ok {
		if t == nil {
			return append(b, "null"...)
		}
		return fmt.Append(b, t) // a bool or a json.Number
	}
	if isPlainScalar(s) {
		return append(b, s...)
	}
	return appendQuoted(b, s)
}

// notStrings are words that some YAML reader, of version 1.1 too, takes for something else than a string.
var notStrings = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}

// isPlainScalar reports whether s can stand without quotes: a word of letters, digits and few signs that
// begins with a letter and is none of notStrings. It says no to much that YAML would allow.
func isPlainScalar(s string) bool {
	if s == "" || !isLetter(s[0]) || slices.Contains(notStrings, strings.ToLower(s)) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && (c < '0' || c > '9') && strings.IndexByte("_-./", c) < 0 {
			return false
		}
	}
	return true
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// appendQuoted writes a double-quoted scalar (YAML 1.2.2 section 7.3.1) in printable characters only.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\t':
			b = append(b, `\t`...)
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			b = fmt.Appendf(b, `\U%08x`, r)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
