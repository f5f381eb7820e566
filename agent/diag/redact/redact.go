// Package redact takes secrets out of text that leaves the agent's hands, and on request what says who and where.
//
// Secrets that are known are replaced wherever they stand, in every usual encoding. What looks like a secret is replaced
// too: a bundle that says too little can be asked for again, one that says too much cannot be called back.
package redact

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// minSecret is the shortest known secret that is looked for: less would tear words apart.
const minSecret = 6

// Scrubber redacts one bundle: the same name gets the same replacement in all of its files. Not for concurrent use.
type Scrubber struct {
	anonymize bool
	secrets   []string
	names     map[string]string // lower case to replacement
	order     []string          // of names, longest first
	emails    map[string]string
	hosts     map[string]string
	addrs     map[netip.Addr]string
	ids       map[string]string
}

// New returns a scrubber; anonymize also replaces e-mail addresses, host names, addresses and IDs.
func New(anonymize bool) *Scrubber {
	return &Scrubber{
		anonymize: anonymize, names: map[string]string{}, emails: map[string]string{}, hosts: map[string]string{},
		addrs: map[netip.Addr]string{}, ids: map[string]string{},
	}
}

// Secret names a value that must appear in no form.
func (s *Scrubber) Secret(values ...string) {
	for _, v := range values {
		if len(v) < minSecret {
			continue
		}
		forms := []string{v, url.QueryEscape(v), url.PathEscape(v), hex.EncodeToString([]byte(v))}
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
			forms = append(forms, e.EncodeToString([]byte(v)))
			if raw, err := e.DecodeString(v); err == nil && len(raw) >= 16 { // a key in base64 may also be written in hex
				forms = append(forms, hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), string(raw))
				for _, f := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
					forms = append(forms, f.EncodeToString(raw))
				}
			}
		}
		s.secrets = append(s.secrets, forms...)
	}
	sort.Slice(s.secrets, func(i, j int) bool { return len(s.secrets[i]) > len(s.secrets[j]) })
}

// Name gives what is called so (a host, a network, an account) another name, when anonymizing. what says what it is.
func (s *Scrubber) Name(what string, names ...string) {
	for _, n := range names {
		key := strings.ToLower(n)
		if _, known := s.names[key]; known || len(n) < 2 || isPlain(key) {
			continue
		}
		s.names[key] = fmt.Sprintf("%s-%d", what, len(s.names)+1)
		s.order = append(s.order, key)
	}
	sort.SliceStable(s.order, func(i, j int) bool { return len(s.order[i]) > len(s.order[j]) })
}

// isPlain are names that say nothing and stand in other places too.
func isPlain(name string) bool {
	switch name {
	case "default", "localhost", "root", "gateway", "control", "true", "false", "null", "file", "ok":
		return true
	}
	_, err := strconv.Atoi(name)
	return err == nil
}

// secretWords are in the names of fields that must not be shown, whatever they hold.
const secretWords = `(?:passw(?:or)?d|passphrase|passwd|secret|token|private[_-]?key|preshared[_-]?key|api[_-]?key|auth[_-]?key|authorization|credential|cookie|enrolment|key_pem)`

// patterns are compiled at the first use, not at the start of every program that can make a bundle.
var patterns = sync.OnceValue(func() (p struct {
	name, pem, userinfo, header, field, token, key, email, ipv6, ipv4, uuid, id, url *regexp.Regexp
},
) {
	p.pem = regexp.MustCompile(`(?s)-----BEGIN [^-]+-----.*?(-----END [^-]+-----|$)`)
	p.userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*:(?:\\?/){2})[^\s/?#"'<>@]*(?:@[^\s/?#"'<>@]*)*@`)
	p.header = regexp.MustCompile(`(?i)\b(bearer|basic|digest|negotiate)[ +]+[A-Za-z0-9._~+/=:-]{4,}`)
	p.name = regexp.MustCompile(`(?i)` + secretWords)
	// The quotes of JSON in a log line, or of JSON in JSON, have one or more backslashes before them.
	p.field = regexp.MustCompile(`(?i)([A-Za-z0-9_.-]*` + secretWords + `[A-Za-z0-9_]*\\*["']?\s*[:=]\s*)(\\+"[^"]*"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;&}\]\\]+)`)
	p.token = regexp.MustCompile(`weft1\.[A-Za-z0-9._~+/=-]+|weft_[a-z]+_[A-Za-z0-9_-]+|eyJ[A-Za-z0-9_+/=.-]{12,}|\b(?:gh[pousr]_|glpat-|xox[abprs]-|AKIA|sk-|AGE-SECRET-KEY-)[A-Za-z0-9_-]{8,}`)
	p.key = regexp.MustCompile(`[A-Za-z0-9+/_-]{40,}={0,2}`)
	p.email = regexp.MustCompile(`[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)+`)
	p.ipv6 = regexp.MustCompile(`(?i)(?:[0-9a-f]{0,4}:){2,7}(?:[0-9a-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3}|:)?`)
	p.ipv4 = regexp.MustCompile(`\b(?:\d{1,3}\.){3}\d{1,3}\b`)
	p.uuid = regexp.MustCompile(`(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b`)
	p.id = regexp.MustCompile(`(?i)\b[0-9a-f]{32}\b`)
	p.url = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([A-Za-z0-9.-]+[A-Za-z])`)
	return p
})

// Text returns text without secrets, and without names when anonymizing.
func (s *Scrubber) Text(text string) string {
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, Mark)
	}
	p := patterns()
	text = p.pem.ReplaceAllString(text, Mark)
	text = p.userinfo.ReplaceAllString(text, "${1}"+Mark+"@")
	text = p.token.ReplaceAllString(text, Mark)
	text = p.header.ReplaceAllString(text, "$1 "+Mark)
	if p.name.MatchString(text) { // most text names no secret, and this is the cheaper look
		text = p.field.ReplaceAllStringFunc(text, s.field)
	}
	text = p.key.ReplaceAllStringFunc(text, keyLike)
	if s.anonymize {
		text = s.anonymous(text)
	}
	return text
}

// SecretName reports whether what is called so must not be shown, whatever it is.
func SecretName(name string) bool { return patterns().name.MatchString(name) }

// plain knows no secret and no name.
var plain Scrubber

// Text replaces what looks like a secret. Safe for concurrent use.
func Text(text string) string { return plain.Text(text) }

// field keeps the name of a field and the quotes around its value.
func (s *Scrubber) field(match string) string {
	m := patterns().field.FindStringSubmatch(match)
	value := m[2]
	switch {
	case value == "true", value == "false", value == "null", value == `""`:
		return match // a flag, or nothing at all
	case strings.HasPrefix(value, `\`):
		quote := value[:strings.IndexByte(value, '"')+1]
		return m[1] + quote + Mark + quote
	case strings.HasPrefix(value, `"`):
		return m[1] + `"` + Mark + `"`
	case strings.HasPrefix(value, `'`):
		return m[1] + "'" + Mark + "'"
	default:
		return m[1] + Mark
	}
}

// keyLike replaces long runs of base64 or hex, but not paths and words.
func keyLike(run string) string {
	words := strings.FieldsFunc(run, func(r rune) bool { return r == '/' || r == '_' || r == '-' })
	if len(words) == 0 {
		return run // a rule of dashes
	}
	for _, w := range words {
		if !wordLike(w) {
			return Mark
		}
	}
	return run
}

// maxWord is longer than words are, and shorter than what is worth guessing.
const maxWord = 20

// wordLike tells a word or a number from a piece of a key, which has digits between letters or capitals inside.
func wordLike(w string) bool {
	if len(w) > maxWord {
		return false
	}
	digits := strings.Trim(w, "0123456789")
	if digits == "" {
		return len(w) <= 12 // a number
	}
	if digits != w {
		return false // digits beside letters
	}
	return strings.ToLower(w[1:]) == w[1:] && !strings.Contains(w, "+")
}

// anonymous replaces who and where.
func (s *Scrubber) anonymous(text string) string {
	p := patterns()
	text = p.email.ReplaceAllStringFunc(text, func(m string) string {
		return replacement(s.emails, strings.ToLower(m), "user-%d@example.invalid")
	})
	text = p.uuid.ReplaceAllStringFunc(text, func(m string) string { return replacement(s.ids, strings.ToLower(m), "id-%d") })
	text = p.id.ReplaceAllStringFunc(text, func(m string) string { return replacement(s.ids, strings.ToLower(m), "id-%d") })
	text = p.ipv6.ReplaceAllStringFunc(text, s.addr)
	text = p.ipv4.ReplaceAllStringFunc(text, s.addr)
	text = p.url.ReplaceAllStringFunc(text, func(m string) string {
		u := p.url.FindStringSubmatch(m)
		if isPlain(strings.ToLower(u[2])) || strings.HasSuffix(u[2], ".invalid") {
			return m
		}
		return u[1] + replacement(s.hosts, strings.ToLower(u[2]), "url-host-%d.invalid")
	})
	for _, name := range s.order {
		text = replaceWord(text, name, s.names[name])
	}
	return text
}

func replacement(known map[string]string, what, format string) string {
	if _, ok := known[what]; !ok {
		known[what] = fmt.Sprintf(format, len(known)+1)
	}
	return known[what]
}

// addr maps an address to one of documentation or benchmarking (RFC 3849, RFC 2544); loopback says nothing.
func (s *Scrubber) addr(text string) string {
	a, err := netip.ParseAddr(text)
	if err != nil || a.IsLoopback() || a.IsUnspecified() {
		return text
	}
	if known, ok := s.addrs[a]; ok {
		return known
	}
	n := len(s.addrs) + 1
	r := fmt.Sprintf("198.18.%d.%d", n>>8&0xff, n&0xff)
	if a.Is6() {
		r = fmt.Sprintf("2001:db8::%x", n)
	}
	s.addrs[a] = r
	return r
}

// replaceWord replaces a name where it stands alone, in any case.
func replaceWord(text, name, by string) string {
	lower := strings.ToLower(text)
	if len(lower) != len(text) {
		lower = text // a letter whose lower case is longer; then by its own case alone
	}
	var b strings.Builder
	for at := 0; ; {
		i := strings.Index(lower[at:], name)
		if i < 0 {
			b.WriteString(text[at:])
			return b.String()
		}
		i += at
		end := i + len(name)
		b.WriteString(text[at:i])
		if (i > 0 && isWord(text[i-1])) || (end < len(text) && isWord(text[end])) {
			b.WriteString(text[i:end])
		} else {
			b.WriteString(by)
		}
		at = end
	}
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}
