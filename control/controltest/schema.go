package controltest

import (
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// schemas is the part of JSON Schema (draft 2020-12) that the control plane's document uses. It is stricter than the
// standard in one thing: a property that the schema does not name is an error unless it says additionalProperties.
type schemas struct{ named map[string]map[string]any }

// known are the keywords that validate understands or that say nothing about a value.
var known = []string{
	"$ref", "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "minimum", "maximum",
	"minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength", "format", "description", "contentEncoding",
}

// validate returns what is wrong with v, decoded with numbers as json.Number, at a place.
func (s *schemas) validate(schema map[string]any, v any, at string) []string {
	for k := range schema {
		if !slices.Contains(known, k) {
			return []string{at + ": the schema has the unknown keyword " + k}
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		target, ok := s.named[strings.TrimPrefix(ref, "#/components/schemas/")]
		if !ok {
			return []string{at + ": the schema refers to " + ref + ", which is not there"}
		}
		return s.validate(target, v, at)
	}
	if any, ok := schema["anyOf"].([]any); ok {
		return s.anyOf(any, v, at)
	}
	if !typed(schema["type"], v) {
		return []string{fmt.Sprintf("%s: %s is not of type %v", at, show(v), schema["type"])}
	}
	if want, ok := schema["const"]; ok && !reflect.DeepEqual(want, v) {
		return []string{fmt.Sprintf("%s: %s is not %s", at, show(v), show(want))}
	}
	if list, ok := schema["enum"].([]any); ok && !slices.ContainsFunc(list, func(x any) bool { return reflect.DeepEqual(x, v) }) {
		return []string{fmt.Sprintf("%s: %s is none of %s", at, show(v), show(list))}
	}
	switch v := v.(type) {
	case map[string]any:
		return s.object(schema, v, at)
	case []any:
		return s.array(schema, v, at)
	case string:
		return text(schema, v, at)
	case json.Number:
		return number(schema, v, at)
	}
	return nil
}

func (s *schemas) anyOf(list []any, v any, at string) (wrong []string) {
	for _, one := range list {
		w := s.validate(asObject(one), v, at)
		if len(w) == 0 {
			return nil
		}
		if wrong == nil || len(w) < len(wrong) {
			wrong = w
		}
	}
	return wrong
}

func (s *schemas) object(schema, v map[string]any, at string) (wrong []string) {
	for _, name := range asList(schema["required"]) {
		if _, ok := v[fmt.Sprint(name)]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s: %v is missing", at, name))
		}
	}
	properties, more := asObject(schema["properties"]), schema["additionalProperties"]
	for name, value := range v {
		place := at + "/" + name
		if p, ok := properties[name]; ok {
			wrong = append(wrong, s.validate(asObject(p), value, place)...)
			continue
		}
		if rest, ok := more.(map[string]any); ok {
			wrong = append(wrong, s.validate(rest, value, place)...)
		} else if more == false || properties != nil {
			wrong = append(wrong, place+": the schema does not name it")
		}
	}
	return append(wrong, between(schema, "Properties", len(v), at)...)
}

func (s *schemas) array(schema map[string]any, v []any, at string) (wrong []string) {
	if items, ok := schema["items"].(map[string]any); ok {
		for i, x := range v {
			wrong = append(wrong, s.validate(items, x, fmt.Sprintf("%s/%d", at, i))...)
		}
	}
	return append(wrong, between(schema, "Items", len(v), at)...)
}

func text(schema map[string]any, v, at string) []string {
	if schema["format"] == "date-time" {
		if _, err := time.Parse(time.RFC3339, v); err != nil {
			return []string{at + ": " + show(v) + " is no time of RFC 3339"}
		}
	}
	return between(schema, "Length", utf8.RuneCountInString(v), at)
}

func number(schema map[string]any, v json.Number, at string) (wrong []string) {
	x, ok := new(big.Float).SetString(v.String())
	if !ok {
		return []string{at + ": " + v.String() + " is no number"}
	}
	for keyword, bad := range map[string]int{"minimum": -1, "maximum": 1} {
		if n, ok := schema[keyword].(json.Number); ok {
			if limit, ok := new(big.Float).SetString(n.String()); ok && x.Cmp(limit) == bad {
				wrong = append(wrong, fmt.Sprintf("%s: %s is beyond the %s %s", at, v, keyword, n))
			}
		}
	}
	return wrong
}

func between(schema map[string]any, what string, n int, at string) (wrong []string) {
	for keyword, bad := range map[string]func(limit int64) bool{
		"min" + what: func(l int64) bool { return int64(n) < l }, "max" + what: func(l int64) bool { return int64(n) > l },
	} {
		if limit, ok := schema[keyword].(json.Number); ok {
			if l, err := limit.Int64(); err == nil && bad(l) {
				wrong = append(wrong, fmt.Sprintf("%s: %d is beyond %s %d", at, n, keyword, l))
			}
		}
	}
	return wrong
}

func typed(want, v any) bool {
	switch want := want.(type) {
	case nil:
		return true
	case []any:
		return slices.ContainsFunc(want, func(w any) bool { return typed(w, v) })
	case string:
		return want == typeOf(v) || want == "number" && typeOf(v) == "integer"
	}
	return false
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case json.Number:
		if x, ok := new(big.Float).SetString(v.String()); ok && x.IsInt() {
			return "integer"
		}
		return "number"
	}
	return "nothing"
}

func asObject(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

func show(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(raw) > 200 {
		return string(raw[:200]) + "..."
	}
	return string(raw)
}
