package strictjson

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"weft/internal/kind"
)

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// locate finds the first part of raw that a value of type t refuses, and says what is wrong with it there; nil when it
// finds none. The decoder itself names a field at best, without the elements of arrays and the objects on the way.
func locate(raw json.RawMessage, t reflect.Type, at string) *kind.Error {
	for t.Kind() == reflect.Pointer && !t.Implements(unmarshaler) {
		t = t.Elem()
	}
	if own := reflect.PointerTo(t); t.Implements(unmarshaler) || own.Implements(unmarshaler) {
		return whole(raw, t, at)
	}
	switch first(raw) {
	case '{':
		return locateIn(raw, t, at)
	case '[':
		if t.Kind() != reflect.Slice && t.Kind() != reflect.Array {
			break
		}
		var all []json.RawMessage
		if json.Unmarshal(raw, &all) != nil {
			return nil
		}
		for i, item := range all {
			if e := locate(item, t.Elem(), at+"/"+strconv.Itoa(i)); e != nil {
				return e
			}
		}
		return nil
	}
	return whole(raw, t, at)
}

// locateIn is locate for an object, whose members are looked at in the order in which they stand.
func locateIn(raw json.RawMessage, t reflect.Type, at string) *kind.Error {
	if t.Kind() != reflect.Struct && t.Kind() != reflect.Map {
		return whole(raw, t, at)
	}
	for key, value := range members(raw) {
		of := memberType(t, key)
		if of == nil {
			return kind.Field(at+"/"+escape(key), "the field %q is unknown", clip(key))
		}
		if e := locate(value, of, at+"/"+escape(key)); e != nil {
			return e
		}
	}
	return nil
}

// whole tries raw as it is: a scalar, or what has a decoder of its own.
func whole(raw json.RawMessage, t reflect.Type, at string) *kind.Error {
	err := json.Unmarshal(raw, reflect.New(t).Interface())
	if err == nil {
		return nil
	}
	if k, ok := errors.AsType[*kind.Error](err); ok {
		c := *k
		c.Pointer = at + k.Pointer
		return &c
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return kind.Field(at, "the value is a JSON %s, which does not fit here", wrong.Value)
	}
	return kind.Field(at, "the value does not fit here").WithCause(err)
}

func first(raw json.RawMessage) byte {
	for _, c := range raw {
		if strings.IndexByte(" \t\r\n", c) < 0 {
			return c
		}
	}
	return 0
}

// members yields the members of an object in order.
func members(raw json.RawMessage) func(func(string, json.RawMessage) bool) {
	return func(yield func(string, json.RawMessage) bool) {
		d := json.NewDecoder(strings.NewReader(string(raw)))
		if _, err := d.Token(); err != nil {
			return
		}
		for d.More() {
			t, err := d.Token()
			key, ok := t.(string)
			var value json.RawMessage
			if err != nil || !ok || d.Decode(&value) != nil || !yield(key, value) {
				return
			}
		}
	}
}

// memberType is the type of a map's elements or of the struct's field that the decoder takes a key for; nil when there is none.
func memberType(t reflect.Type, key string) reflect.Type {
	if t.Kind() == reflect.Map {
		return t.Elem()
	}
	fields := reflect.VisibleFields(t)
	i := slices.IndexFunc(fields, func(f reflect.StructField) bool {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" || !f.IsExported() || name == "-" {
			return false
		}
		if name == "" {
			name = f.Name
		}
		return fold(name) == fold(key)
	})
	if i < 0 {
		return nil
	}
	return fields[i].Type
}
