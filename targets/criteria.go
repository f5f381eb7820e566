package targets

import (
	"maps"
	"slices"
	"strconv"

	"weft/internal/kind"
)

// MaxAttributeValues bounds the values of one attribute of a criterion.
const MaxAttributeValues = 1000

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
	if len(c.Attributes) == 0 {
		return kind.Field("/target_attributes", "target criteria need at least one attribute, such as hostname")
	}
	if len(c.Attributes) > MaxTags+1 {
		return kind.Field("/target_attributes", "target criteria can have %d attributes; these have %d", MaxTags+1, len(c.Attributes))
	}
	for _, k := range slices.Sorted(maps.Keys(c.Attributes)) {
		if err := validateAttribute(k, c.Attributes[k]); err != nil {
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

// Matches reports whether c selects t: every attribute has one of its values.
// Criteria without attributes, or with an attribute without values, select nothing.
func (c *Criteria) Matches(t *Target) bool {
	for k, values := range c.Attributes {
		if !t.hasAttribute(k, values) {
			return false
		}
	}
	return len(c.Attributes) > 0
}

// Clone returns a copy that shares nothing with c.
func (c *Criteria) Clone() Criteria {
	d := *c
	d.Attributes = make(map[string][]string, len(c.Attributes))
	for k, values := range c.Attributes {
		d.Attributes[k] = slices.Clone(values)
	}
	return d
}
