// Package strictjson decodes request bodies so that what was written is what takes effect: a key that stands twice,
// a key that nobody reads, a value of the wrong type and anything after the value are refused, each with a pointer
// (RFC 6901) to the place. A field that a careless decoder would drop ("exclud") would widen access without a sound.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"weft/internal/kind"
)

const maxDepth = 32

// Decode reads the one JSON value of raw into v. ignore names keys of the top-level object (or of the objects in a
// top-level array) that are dropped before.
func Decode(raw []byte, v any, ignore ...string) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return kind.New(kind.Invalid, "the request needs a JSON body")
	}
	if !utf8.Valid(raw) {
		return kind.New(kind.Invalid, "the body is not valid UTF-8")
	}
	if err := scan(raw); err != nil {
		return err
	}
	if len(ignore) > 0 {
		var err error
		if raw, err = drop(raw, ignore); err != nil {
			return err
		}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		return nil
	}
	if t := reflect.TypeOf(v); t != nil && t.Kind() == reflect.Pointer {
		if e := locate(raw, t.Elem(), ""); e != nil {
			return e
		}
	}
	return explain(err)
}

// scan checks the syntax, the keys and that nothing follows.
func scan(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := value(d, "", 0); err != nil {
		return explain(err)
	}
	if i := loneSurrogate(raw); i >= 0 {
		return kind.New(kind.Invalid, "the body has half of a surrogate pair at byte %d, which is no character", i)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return kind.New(kind.Invalid, "the body has more after its JSON value")
	}
	return nil
}

func value(d *json.Decoder, at string, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return noNUL(t, at)
	}
	if depth >= maxDepth {
		return kind.Field(at, "the body is nested deeper than %d levels", maxDepth)
	}
	if open == '{' {
		err = object(d, at, depth)
	} else {
		err = array(d, at, depth)
	}
	if err != nil {
		return err
	}
	_, err = d.Token() // the closing one; the decoder checks that it fits
	return err
}

// noNUL refuses the one character that no text here has and that not every engine keeps.
func noNUL(t json.Token, at string) error {
	if s, ok := t.(string); ok && strings.ContainsRune(s, 0) {
		return kind.Field(at, "the text holds a NUL character")
	}
	return nil
}

func object(d *json.Decoder, at string, depth int) error {
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return kind.Field(at, "the key of an object is not a string")
		}
		place := at + "/" + escape(key)
		if err := noNUL(key, place); err != nil {
			return err
		}
		// The decoder matches field names without case, so keys that differ only in case would override each other.
		folded := fold(key)
		if seen[folded] {
			return kind.Field(place, "the key %q stands twice", clip(key))
		}
		seen[folded] = true
		if err := value(d, place, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// fold gives keys that the decoder takes for the same field the same form. It folds as Unicode does, to which the
// long s is an s and the Kelvin sign a k; lower case alone would tell them apart.
func fold(key string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next // the smallest of its orbit
			}
			r = next
		}
	}, key)
}

func array(d *json.Decoder, at string, depth int) error {
	for i := 0; d.More(); i++ {
		if err := value(d, at+"/"+strconv.Itoa(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// drop removes keys from the top-level object, or from each object of a top-level array.
func drop(raw []byte, keys []string) ([]byte, error) {
	switch bytes.TrimSpace(raw)[0] {
	case '{':
		return dropFrom(raw, keys)
	case '[':
		var all []json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, explain(err)
		}
		for i, item := range all {
			if t := bytes.TrimSpace(item); len(t) > 0 && t[0] == '{' {
				kept, err := dropFrom(item, keys)
				if err != nil {
					return nil, err
				}
				all[i] = kept
			}
		}
		return json.Marshal(all)
	default:
		return raw, nil
	}
}

func dropFrom(raw []byte, keys []string) ([]byte, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, explain(err)
	}
	for _, k := range keys {
		delete(m, k)
	}
	return json.Marshal(m)
}

// explain gives the errors of encoding/json a kind and, where it is known, a place.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if k, ok := errors.AsType[*kind.Error](err); ok {
		return k
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return kind.New(kind.Invalid, "the value is a JSON %s, which does not fit here", t.Value)
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return kind.New(kind.Invalid, "the body is not valid JSON at byte %d", s.Offset).WithCause(err)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if key, unquoteErr := strconv.Unquote(name); unquoteErr == nil {
			return kind.Field("/"+escape(key), "the field %q is unknown", clip(key))
		}
	}
	return kind.New(kind.Invalid, "the body is not valid JSON").WithCause(err)
}

// loneSurrogate finds an escape such as \ud800 that is no half of a pair, of which the decoder would make another
// character without a word, the same one of all; -1 when there is none. raw is JSON, so a backslash stands in a string.
func loneSurrogate(raw []byte) int {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		r := escapedRune(raw[i:])
		switch {
		case r >= 0 && utf16.IsSurrogate(r):
			if utf16.DecodeRune(r, escapedRune(raw[i+6:])) == utf8.RuneError {
				return i
			}
			i += 11
		case r >= 0:
			i += 5
		default:
			i++ // an escape of two bytes
		}
	}
	return -1
}

// escapedRune is the number of an escape of six bytes at the beginning of raw, -1 when there is none.
func escapedRune(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(clip(key))
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "..."
	}
	return s
}
