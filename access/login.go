package access

import (
	"strings"

	"weft/internal/kind"
)

// MaxLoginBytes is the greatest length of a UNIX user's name.
const MaxLoginBytes = 255

// ValidateLogin reports whether s can be the name of a UNIX user. The name ends
// up in a certificate's principals, in sshd's log and in administrators' shells,
// so the grammar is what real systems use and no more: ASCII letters, digits and
// "_", "-", ".", "+", beginning with a letter, a digit or "_"; at its end one "$"
// (a Samba machine account); and one "\" between a domain and a name
// (DOMAIN\user, winbind and Windows). "user@domain" is refused: behind the last
// "@" an SSH client expects a host. Names are compared exactly, with case.
func ValidateLogin(s string) error {
	switch {
	case s == "":
		return kind.New(kind.Invalid, "a UNIX user must not be empty")
	case len(s) > MaxLoginBytes:
		return kind.New(kind.Invalid, "a UNIX user has at most %d bytes; this one has %d", MaxLoginBytes, len(s))
	case !validLogin(s):
		return kind.New(kind.Invalid, "%q is not a UNIX user: letters, digits, '_', '-', '.', '+', beginning with a letter, a digit or '_' (or DOMAIN\\user)", s)
	}
	return nil
}

// validLogin is ValidateLogin without an answer to give; it allocates nothing.
func validLogin(s string) bool {
	if s == "" || len(s) > MaxLoginBytes {
		return false
	}
	if domain, user, ok := strings.Cut(s, `\`); ok {
		return validName(domain) && !strings.HasSuffix(domain, "$") && validName(user)
	}
	return validName(s)
}

func validName(s string) bool {
	s = strings.TrimSuffix(s, "$")
	if s == "" || !wordByte(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !wordByte(c) && c != '-' && c != '.' && c != '+' {
			return false
		}
	}
	return true
}

func wordByte(c byte) bool {
	return asciiLetter(c) || '0' <= c && c <= '9' || c == '_'
}

// splitEmail cuts an e-mail address at its '@'. It is not ok unless there is
// exactly one, with something on both sides: a second one ("a@b"@c) means that
// two readers may disagree on the domain.
func splitEmail(email string) (local, domain string, ok bool) {
	local, domain, ok = strings.Cut(email, "@")
	if !ok || local == "" || domain == "" || strings.IndexByte(domain, '@') >= 0 {
		return "", "", false
	}
	return local, domain, true
}

// aliasLocal returns the part before the '@' when it can be the UNIX user of
// allow_email_alias, in the case in which it was written; "" otherwise. It
// allocates nothing.
func aliasLocal(email string) string {
	local, _, ok := splitEmail(email)
	if !ok || !validLogin(local) || strings.ContainsAny(local, `\$`) {
		return ""
	}
	return local
}

// EmailAlias returns the UNIX user that allow_email_alias stands for: the part
// before the '@' in lower case. There is none, "", when there is no e-mail or the
// part cannot be a UNIX user (a quoted local part, another script, a slash).
func EmailAlias(email string) string { return lowerASCII(aliasLocal(email)) }
