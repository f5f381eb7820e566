package targets

import "weft/internal/kind"

// MaxHostnameBytes is the greatest length of a target's hostname.
const MaxHostnameBytes = 253

// ValidateHostname returns a kind.Invalid error that says which rule s breaks:
// 1 to 253 bytes, only ASCII letters, digits, "-" and ".", and a letter or digit
// at both ends. It is a label and not a DNS name (RFC 1123 section 2.1 would ask
// for more), so "a..b" and an all-numeric name are valid.
func ValidateHostname(s string) error {
	switch {
	case s == "":
		return hostnameError("a target hostname must not be empty")
	case len(s) > MaxHostnameBytes:
		return hostnameError("a target hostname must contain no more than %d characters; this one has %d", MaxHostnameBytes, len(s))
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '-' && c != '.' {
			return hostnameError("target hostname %q may contain only letters, digits, '-' and '.'", s)
		}
	}
	if !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return hostnameError("target hostname %q must start and end with a letter or digit", s)
	}
	return nil
}

func hostnameError(format string, args ...any) error {
	return kind.Field("/hostname", format, args...)
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// EqualHostname compares without regard to ASCII case, the only case there is
// in a hostname; Unicode folding would make the Kelvin sign equal to "k".
func EqualHostname(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// FoldHostname returns s in ASCII lower case: equal for names that
// EqualHostname calls equal, and for no others.
func FoldHostname(s string) string {
	for i := range len(s) {
		if lower(s[i]) == s[i] {
			continue
		}
		b := []byte(s)
		for j := range b {
			b[j] = lower(b[j])
		}
		return string(b)
	}
	return s
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
