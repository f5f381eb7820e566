package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"weft/internal/kind"
)

// MarshalJSON returns the wire form: one key, the selector's own field order, no
// empty members. The zero Rule has none.
func (r Rule) MarshalJSON() ([]byte, error) {
	if r.sel == selNone {
		if r.key == "" {
			return nil, errors.New("write a rule without a selector")
		}
		return object(nil, r.key, []byte(r.raw))
	}
	s := &specs[r.sel]
	inner := []byte{'{'}
	add := func(name, value string) error {
		if len(inner) > 1 {
			inner = append(inner, ',')
		}
		n, err := json.Marshal(name)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		inner = append(append(append(inner, n...), ':'), v...)
		return err
	}
	for i, f := range s.fields {
		if f.optional && r.fields[i] == "" {
			continue
		}
		if err := add(f.name, r.fields[i]); err != nil {
			return nil, err
		}
	}
	if r.idp != "" {
		if err := add(fieldIdP, r.idp); err != nil {
			return nil, err
		}
	}
	return object(nil, s.key, append(inner, '}'))
}

// object appends {key:value}.
func object(b []byte, key string, value []byte) ([]byte, error) {
	k, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	b = append(append(append(b, '{'), k...), ':')
	return append(append(b, value...), '}'), nil
}

// UnmarshalJSON reads the wire form strictly: an object with one selector, whose
// object holds the selector's fields as strings and no others; names are
// compared with case, and a name twice is an error. A member that is null counts
// as absent, because the Terraform provider writes so what was removed. An
// unknown selector is kept (see Rule). Errors are kind.Invalid.
func (r *Rule) UnmarshalJSON(b []byte) error {
	if len(b) > MaxRuleBytes {
		return kind.New(kind.Invalid, "a rule of %d bytes; the limit is %d", len(b), MaxRuleBytes)
	}
	ms, err := members(b)
	if err != nil {
		return ruleError("", err)
	}
	var chosen *member
	for i := range ms {
		if ms[i].null() {
			continue
		}
		if chosen != nil {
			return kind.New(kind.Invalid, "a rule has one selector; this one has %q and %q", chosen.key, ms[i].key).
				WithHint("write two rules")
		}
		chosen = &ms[i]
	}
	if chosen == nil {
		return kind.New(kind.Invalid, "a rule without a selector")
	}
	read, err := parseSelector(chosen.key, chosen.value)
	if err != nil {
		return err
	}
	*r = read
	return nil
}

// parseSelector reads the object behind a selector's key.
func parseSelector(key string, value []byte) (Rule, error) {
	for sel := selNone + 1; sel < selCount; sel++ {
		if specs[sel].key == key {
			return parseFields(sel, value)
		}
	}
	if key == "" || len(key) > maxSelectorLetter || checkText(key) != "" {
		return Rule{}, kind.New(kind.Invalid, "the selector of a rule must be 1 to %d bytes of text", maxSelectorLetter)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, value); err != nil {
		return Rule{}, ruleError(key, err)
	}
	return Rule{key: key, raw: compact.String()}, nil
}

// parseFields reads the fields of a known selector.
func parseFields(sel selector, value []byte) (Rule, error) {
	s := &specs[sel]
	ms, err := members(value)
	if err != nil {
		return Rule{}, ruleError(s.key, err)
	}
	r := Rule{sel: sel}
	for i := range ms {
		if err := r.setField(s, &ms[i]); err != nil {
			return Rule{}, err
		}
	}
	for i, f := range s.fields {
		if r.fields[i] == "" && !f.optional {
			return Rule{}, kind.Field("/"+s.key+"/"+f.name, "selector %s needs %s", s.key, f.name)
		}
	}
	return r, nil
}

// setField takes one member over.
func (r *Rule) setField(s *spec, m *member) error {
	var into *string
	for i, f := range s.fields {
		if f.name == m.key {
			into = &r.fields[i]
		}
	}
	if s.idp && m.key == fieldIdP {
		into = &r.idp
	}
	at := "/" + s.key + "/" + m.key
	if into == nil {
		return kind.Field(at, "selector %s has no field %q", s.key, m.key)
	}
	if m.null() {
		return nil
	}
	if err := json.Unmarshal(m.value, into); err != nil {
		return kind.Field(at, "%s of selector %s must be a string", m.key, s.key)
	}
	return nil
}

func ruleError(key string, err error) error {
	if key == "" {
		return kind.New(kind.Invalid, "read a rule: %s", err.Error())
	}
	return kind.Field("/"+key, "read selector %s: %s", key, err.Error())
}

// member is one key of an object, with its value unread.
type member struct {
	key   string
	value json.RawMessage
}

func (m *member) null() bool { return string(m.value) == "null" }

// members reads one object, in order. Unlike encoding/json it refuses a key that
// stands twice and invalid UTF-8, and leaves case alone: two readers of the same
// rule must not see two rules.
func members(b []byte) ([]member, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("invalid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	var ms []member
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, errors.New("malformed JSON")
		}
		m := member{}
		m.key, _ = t.(string) // the decoder gives nothing else here
		if err := d.Decode(&m.value); err != nil {
			return nil, errors.New("malformed JSON")
		}
		for i := range ms {
			if ms[i].key == m.key {
				return nil, errors.New("key \"" + m.key + "\" stands twice")
			}
		}
		ms = append(ms, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("malformed JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text behind the object")
	}
	return ms, nil
}
