package openapi

import (
	"encoding"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Schema is a JSON schema of the subset that this package writes.
type Schema map[string]any

// Rules are what reflection cannot see.
type Rules struct {
	// Override gives the schema of a type that marshals itself.
	Override map[reflect.Type]Schema
	// Ignored are keys that a request's object may have besides its fields; they are dropped.
	Ignored map[reflect.Type][]string
	// Partial are types of which an answer may leave out anything.
	Partial map[reflect.Type]bool
}

// schemas collects the named schemas of a document.
type schemas struct {
	rules Rules
	named map[string]Schema
	types map[string]reflect.Type
	err   error
}

// In a request every field may be left out, or be null, which is the same, unless its tag says otherwise; unknown
// keys are refused. In an answer a field is there unless it is tagged omitempty.
type direction bool

const (
	request direction = true
	answer  direction = false
)

var (
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
)

// of is the schema of a type; structs become named ones that are referred to.
func (s *schemas) of(t reflect.Type, d direction) Schema {
	if o, ok := s.rules.Override[t]; ok {
		return o
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return Schema{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return Schema{}
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix](), reflect.TypeFor[netip.AddrPort]():
		return Schema{"type": "string"}
	}
	switch {
	case t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && t.Implements(textMarshaler):
		return Schema{"type": "string"}
	case t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && t.Implements(jsonMarshaler):
		s.fail("type %s marshals itself and has no rule", t)
	}
	return s.byKind(t, d)
}

func (s *schemas) byKind(t reflect.Type, d direction) Schema {
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(s.of(t.Elem(), d))
	case reflect.Bool:
		return Schema{"type": "boolean"}
	case reflect.String:
		return Schema{"type": "string"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Schema{"type": "integer"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return Schema{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return Schema{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return Schema{"type": "string", "contentEncoding": "base64"}
		}
		return Schema{"type": "array", "items": s.of(t.Elem(), d)}
	case reflect.Map:
		return Schema{"type": "object", "additionalProperties": s.of(t.Elem(), d)}
	case reflect.Interface:
		return Schema{}
	case reflect.Struct:
		return s.ref(t, d)
	default:
		s.fail("type %s has no JSON form", t)
		return Schema{}
	}
}

func (s *schemas) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("schema: "+format, args...)
	}
}

// ref names the schema of a struct; one that is used both ways gets two names.
func (s *schemas) ref(t reflect.Type, d direction) Schema {
	if t.Name() == "" {
		return s.object(t, d)
	}
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	if d == request && !strings.HasSuffix(name, "Write") && !strings.HasSuffix(name, "Input") && !strings.HasSuffix(name, "Request") {
		name += "Request"
	}
	switch known := s.types[name]; known {
	case t:
	case nil:
		s.types[name] = t
		s.named[name] = s.object(t, d)
	default:
		s.fail("types %s and %s have the same name %s", known, t, name)
	}
	return Schema{"$ref": "#/components/schemas/" + name}
}

func (s *schemas) object(t reflect.Type, d direction) Schema {
	o := Schema{"type": "object"}
	properties := map[string]Schema{}
	required := s.fields(t, d, properties)
	if d == request {
		o["additionalProperties"] = false
		for _, k := range s.rules.Ignored[t] {
			properties[k] = Schema{"description": "accepted and ignored"}
		}
	}
	if len(properties) > 0 {
		o["properties"] = properties
	}
	if len(required) > 0 && (d == request || !s.rules.Partial[t]) {
		slices.Sort(required)
		o["required"] = required
	}
	return o
}

func (s *schemas) fields(t reflect.Type, d direction, properties map[string]Schema) (required []string) {
	for f := range fieldsOf(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && name == "" {
			required = append(required, s.fields(f.Type, d, properties)...)
			continue
		}
		if name == "" {
			name = f.Name
		}
		tag := f.Tag.Get("openapi")
		p := tagged(s.of(f.Type, d), tag)
		if has(tag, "orstring") {
			if items, ok := elements(p); ok {
				items["items"] = Schema{"anyOf": []any{items["items"], Schema{"type": "string"}}}
			}
		}
		switch {
		case has(tag, "required"):
			required = append(required, name)
		case d == request:
			p = nullable(p)
		case !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") && !has(tag, "optional"):
			required = append(required, name)
		default: // it takes the place of one in an embedded struct
			required = slices.DeleteFunc(required, func(of string) bool { return of == name })
		}
		properties[name] = p
	}
	return required
}

// elements finds the schema with items in p, which may be wrapped.
func elements(p Schema) (Schema, bool) {
	if p["items"] != nil {
		return p, true
	}
	return nil, false
}

func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func has(tag, word string) bool { return slices.Contains(strings.Split(tag, ","), word) }

// tagged adds what a tag of the form `openapi:"enum=a|b,min=1,max=9,null,format=uuid"` says.
func tagged(p Schema, tag string) Schema {
	if tag == "" || p["$ref"] != nil {
		if has(tag, "null") {
			return nullable(p)
		}
		return p
	}
	c := Schema{}
	for k, v := range p {
		c[k] = v
	}
	for word := range strings.SplitSeq(tag, ",") {
		k, v, _ := strings.Cut(word, "=")
		switch k {
		case "enum":
			var values []any
			for one := range strings.SplitSeq(v, "|") {
				values = append(values, one)
			}
			c["enum"] = values
		case "min":
			c["minimum"] = json.Number(v)
		case "max":
			c["maximum"] = json.Number(v)
		case "maxlen":
			c["maxLength"] = json.Number(v)
		case "format":
			c["format"] = v
		}
	}
	if has(tag, "null") {
		return nullable(c)
	}
	return c
}

// nullable is p or null.
func nullable(p Schema) Schema {
	switch t := p["type"].(type) {
	case string:
		if _, fixed := p["enum"]; fixed {
			break
		}
		c := Schema{}
		for k, v := range p {
			c[k] = v
		}
		c["type"] = []any{t, "null"}
		return c
	case []any:
		return p
	}
	if len(p) == 0 || p["anyOf"] != nil {
		return p
	}
	return Schema{"anyOf": []any{p, Schema{"type": "null"}}}
}
