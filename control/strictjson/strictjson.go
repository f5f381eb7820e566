// Package strictjson decodes request bodies so that what was written is what takes effect: a key that stands twice,
// a key that nobody reads, a value of the wrong type and anything after the value are refused, each with a pointer
// (RFC 6901) to the place. A field that a careless decoder would drop ("exclud") would widen access without a sound.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
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
	if key, ok := unknownField(err); ok {
		return kind.Field(place(raw, key), "the field %q is unknown", clip(key))
	}
	if e, ok := errors.AsType[*kind.Error](explain(err)); ok && e.Pointer == "" {
		return blame(raw, v, e)
	}
	return explain(err)
}

// blame finds the member of a top-level object that a type with a decoder of its own refused, of which the error says
// no place: it is the one that fails alone too.
func blame(raw []byte, v any, e *kind.Error) error {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil || reflect.TypeOf(v).Kind() != reflect.Pointer {
		return e
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		one, err := json.Marshal(map[string]json.RawMessage{key: all[key]})
		if err != nil {
			return e
		}
		if json.Unmarshal(one, reflect.New(reflect.TypeOf(v).Elem()).Interface()) != nil {
			return kind.Field("/"+escape(key), "the value of %q does not fit here", clip(key)).WithCause(e.Err)
		}
	}
	return e
}

// scan checks the syntax, the keys and that nothing follows.
func scan(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := value(d, "", 0); err != nil {
		return explain(err)
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
		pointer := ""
		path := strings.Split(t.Field, ".")
		for i, name := range path {
			// The path has the names of embedded structs in it, which begin as no object of ours does on the wire.
			if name != "" && (i == len(path)-1 || !unicode.IsUpper(rune(name[0]))) {
				pointer += "/" + name
			}
		}
		return kind.Field(pointer, "the value is a JSON %s, which does not fit here", t.Value)
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return kind.New(kind.Invalid, "the body is not valid JSON at byte %d", s.Offset).WithCause(err)
	}
	return kind.New(kind.Invalid, "the body is not valid JSON").WithCause(err)
}

// unknownField is the key of which encoding/json says that no field takes it.
func unknownField(err error) (string, bool) {
	if err == nil {
		return "", false
	}
	quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !ok {
		return "", false
	}
	key, err := strconv.Unquote(quoted)
	return key, err == nil
}

// place points to a key, of which encoding/json does not say where it stands: to the one place where it does, or, when it
// stands at several, to none deeper than the top.
func place(raw []byte, key string) string {
	var v any
	if json.Unmarshal(raw, &v) == nil {
		if found := places(nil, v, key, ""); len(found) == 1 {
			return found[0]
		}
	}
	return "/" + escape(key)
}

// places appends where key stands in v, which is at a place itself.
func places(to []string, v any, key, at string) []string {
	switch x := v.(type) {
	case []any:
		for i := range x {
			to = places(to, x[i], key, at+"/"+strconv.Itoa(i))
		}
	case map[string]any:
		for k := range x {
			if k == key {
				to = append(to, at+"/"+escape(k))
			}
			to = places(to, x[k], key, at+"/"+escape(k))
		}
	}
	return to
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
