package access

// E-mail addresses, domains, country codes and GitHub names are compared without
// regard to ASCII case and to that only. Unicode folding would equate letters
// that no mail system equates (the Kelvin sign and "k", the dotless i and "i"),
// and so let one mailbox pass for another.

func asciiLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// hasUpper reports whether s holds an ASCII upper-case letter.
func hasUpper(s string) bool {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return true
		}
	}
	return false
}

// appendLower appends s in ASCII lower case.
func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, lowerByte(s[i]))
	}
	return b
}

// lowerASCII returns s in ASCII lower case; s itself when it is.
func lowerASCII(s string) string {
	if !hasUpper(s) {
		return s
	}
	return string(appendLower(make([]byte, 0, len(s)), s))
}

// isLowerOf reports whether t is s in ASCII lower case.
func isLowerOf(t, s string) bool {
	if len(t) != len(s) {
		return false
	}
	for i := range len(s) {
		if t[i] != lowerByte(s[i]) {
			return false
		}
	}
	return true
}
