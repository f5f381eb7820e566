package targets

import (
	"errors"
	"maps"
	"slices"
	"strconv"

	"weft/internal/kind"
)

// MaxAttributeValues bounds the values of one attribute of a criterion.
const MaxAttributeValues = 1000

// MaxSelectors bounds each of the lists include, require and exclude of a criterion.
const MaxSelectors = 50

// Validate checks port, protocol and attributes. Error pointers are relative to
// the criterion's wire form.
func (c *Criteria) Validate() error {
	if c.Port == 0 {
		return kind.Field("/port", "the port of target criteria must be 1 to 65535")
	}
	if !c.Protocol.Known() {
		_, err := ParseProtocol(string(c.Protocol))
		if err == nil {
			err = kind.Field("/protocol", "protocol %s must be written in upper case", quote(string(c.Protocol)))
		}
		return err
	}
	if c.operators() {
		return c.validateOperators()
	}
	if len(c.Attributes) == 0 {
		return kind.Field("/target_attributes", "target criteria need at least one attribute, such as hostname")
	}
	return c.Attributes.validate()
}

// operators reports whether c is in the form of include, require and exclude.
func (c *Criteria) operators() bool { return len(c.Include)+len(c.Require)+len(c.Exclude) > 0 }

func (c *Criteria) validateOperators() error {
	switch {
	case len(c.Attributes) > 0:
		return kind.Field("/target_attributes", "target criteria have either target_attributes, or include, require and exclude; not both")
	case len(c.Include) == 0:
		return kind.Field("/include", "target criteria need at least one include entry; require and exclude only narrow it")
	}
	for _, list := range []struct {
		name string
		of   []Selector
	}{{"/include", c.Include}, {"/require", c.Require}, {"/exclude", c.Exclude}} {
		if len(list.of) > MaxSelectors {
			return kind.Field(list.name, "target criteria can have %d entries in a list; this one has %d", MaxSelectors, len(list.of))
		}
		for i, s := range list.of {
			at := list.name + "/" + strconv.Itoa(i)
			if len(s) == 0 {
				return kind.Field(at, "an entry of target criteria needs at least one attribute or tag")
			}
			if err := s.validate(); err != nil {
				return under(at, err)
			}
		}
	}
	return nil
}

// under puts where an entry stands before the pointer of its error.
func under(at string, err error) error {
	k, ok := errors.AsType[*kind.Error](err)
	if !ok {
		return err
	}
	moved := *k
	moved.Pointer = at + k.Pointer
	return &moved
}

// validate checks the attributes; pointers are relative to the entry.
func (s Selector) validate() error {
	if len(s) > MaxTags+1 {
		return kind.Field("/target_attributes", "target criteria can have %d attributes; these have %d", MaxTags+1, len(s))
	}
	for _, k := range slices.Sorted(maps.Keys(s)) {
		if err := validateAttribute(k, s[k]); err != nil {
			return err
		}
	}
	return nil
}

// validateAttribute checks one attribute: a valid key and at least one possible value.
func validateAttribute(key string, values []string) error {
	at := "/target_attributes/" + key
	if key != attributeHostname {
		if err := validateTagKey(key); err != nil {
			return kind.Field("/target_attributes", "%s", err.Error())
		}
	}
	if len(values) == 0 || len(values) > MaxAttributeValues {
		return kind.Field(at, "attribute %s needs 1 to %d values; it has %d", quote(key), MaxAttributeValues, len(values))
	}
	for i, v := range values {
		if key == attributeHostname {
			if err := ValidateHostname(v); err != nil {
				return kind.Field(at+"/"+strconv.Itoa(i), "%s", err.Error())
			}
			continue
		}
		if v == "" || len(v) > MaxTagValueBytes || !printable(v) {
			return kind.Field(at+"/"+strconv.Itoa(i), "a value of tag %s must be 1 to %d bytes of printable text", quote(key), MaxTagValueBytes)
		}
	}
	return nil
}

// Matches reports whether c selects t. In doubt it does not: criteria without attributes, in both
// forms at once, or with an exclude entry that nobody can read select nothing.
func (c *Criteria) Matches(t *Target) bool {
	return slices.ContainsFunc(c.Alternatives(), func(s Selector) bool { return s.Matches(t) }) && c.Narrows(t)
}

// Alternatives are the selectors of which one must match.
func (c *Criteria) Alternatives() []Selector {
	switch {
	case !c.operators():
		return []Selector{c.Attributes}
	case len(c.Attributes) > 0:
		return nil
	}
	return c.Include
}

// Narrows reports whether t passes every require and no exclude entry. Nothing passes an exclude entry that says nothing.
func (c *Criteria) Narrows(t *Target) bool {
	for _, s := range c.Require {
		if !s.Matches(t) {
			return false
		}
	}
	for _, s := range c.Exclude {
		if s.saysNothing() || s.Matches(t) {
			return false
		}
	}
	return true
}

// saysNothing reports whether s has no attributes, or one without values.
func (s Selector) saysNothing() bool {
	for _, values := range s {
		if len(values) == 0 {
			return true
		}
	}
	return len(s) == 0
}

// Matches reports whether every attribute of t has one of its values.
func (s Selector) Matches(t *Target) bool {
	for k, values := range s {
		if !t.hasAttribute(k, values) {
			return false
		}
	}
	return len(s) > 0
}

// Clone returns a copy that shares nothing with s.
func (s Selector) Clone() Selector {
	if s == nil {
		return nil
	}
	d := make(Selector, len(s))
	for k, values := range s {
		d[k] = slices.Clone(values)
	}
	return d
}

// Clone returns a copy that shares nothing with c.
func (c *Criteria) Clone() Criteria {
	d := *c
	d.Attributes = c.Attributes.Clone()
	d.Include, d.Require, d.Exclude = cloneAll(c.Include), cloneAll(c.Require), cloneAll(c.Exclude)
	return d
}

func cloneAll(list []Selector) []Selector {
	out := slices.Clone(list)
	for i, s := range out {
		out[i] = s.Clone()
	}
	return out
}
