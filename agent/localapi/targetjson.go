package localapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A target list is the one large answer of the local API. To read 10,000 rows takes
// encoding/json, which finds every field by its name, some 45 ms, twenty times what a small
// program takes to start. What is here knows the one form in which lists are written, and takes
// a tenth of that; a fuzz test holds it to what encoding/json does. (Writing is left to
// encoding/json: to do it by hand gained 4 ms.)

// DecodeTargetList reads a target list as json.Unmarshal does. What is not in the form
// in which json.Marshal writes a TargetList is left to it.
func DecodeTargetList(data []byte, l *TargetList) error {
	p := listParser{s: string(data)}
	if list, ok := p.list(); ok {
		*l = list
		return nil
	}
	return json.Unmarshal(data, l)
}

// listParser reads the usual form of a target list. Every method reports whether what
// stands there was of that form; strings point into s.
type listParser struct {
	s string
	i int
}

func (p *listParser) list() (l TargetList, ok bool) {
	var n uint64
	if !p.is(`{"schema_version":`) || !p.uint(&n, 31) {
		return l, false
	}
	l.SchemaVersion = int(n)
	if !p.is(`,"revision":`) || !p.uint(&l.Revision, 64) || !p.is(`,"age_seconds":`) || !p.float(&l.AgeSeconds) ||
		!p.is(`,"stale":`) || !p.bool(&l.Stale) || !p.is(`,"targets":`) {
		return l, false
	}
	// A row has some 300 bytes; a list of rows that are shorter grows.
	if !each(p, &l.Targets, len(p.s)/300+1, (*listParser).target) || !p.is("}") {
		return l, false
	}
	return l, strings.Trim(p.s[p.i:], " \t\r\n") == ""
}

func (p *listParser) target(t *Target) bool {
	var port uint64
	ok := p.is(`{"id":`) && p.string(&t.ID) && p.is(`,"hostname":`) && p.string(&t.Hostname) &&
		p.is(`,"protocol":`) && p.string(&t.Protocol) && p.is(`,"port":`) && p.uint(&port, 16) &&
		p.is(`,"attributes":`) && p.strings(&t.Attributes) &&
		p.is(`,"addresses":`) && each(p, &t.Addresses, 1, (*listParser).address) &&
		p.is(`,"usernames":`) && each(p, &t.Usernames, 2, (*listParser).string) && p.is("}")
	t.Port = uint16(port)
	return ok
}

func (p *listParser) address(a *Address) bool {
	return p.is(`{"ip":`) && p.string(&a.IP) && p.is(`,"vnet_id":`) && p.string(&a.VNETID) &&
		p.is(`,"vnet_name":`) && p.string(&a.VNETName) && p.is("}")
}

// is takes text if it comes next.
func (p *listParser) is(text string) bool {
	if !strings.HasPrefix(p.s[p.i:], text) {
		return false
	}
	p.i += len(text)
	return true
}

// each reads an array of what one reads; room is a guess of its length.
func each[T any](p *listParser, out *[]T, room int, one func(*listParser, *T) bool) bool {
	if !p.is("[") {
		return false
	}
	if p.is("]") {
		*out = []T{}
		return true
	}
	list := make([]T, 0, room)
	for {
		var v T
		list = append(list, v)
		if !one(p, &list[len(list)-1]) {
			return false
		}
		if p.is("]") {
			*out = list
			return true
		}
		if !p.is(",") {
			return false
		}
	}
}

// strings reads an object of strings.
func (p *listParser) strings(out *map[string]string) bool {
	m := map[string]string{}
	if !p.is("{") {
		return false
	}
	for first := true; !p.is("}"); first = false {
		var k, v string
		if !first && !p.is(",") || !p.string(&k) || !p.is(":") || !p.string(&v) {
			return false
		}
		m[k] = v
	}
	*out = m
	return true
}

// string reads a string without escapes.
func (p *listParser) string(out *string) bool {
	if !p.is(`"`) {
		return false
	}
	ascii := true
	for i := p.i; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '"':
			*out = p.s[p.i:i]
			p.i = i + 1
			return ascii || utf8.ValidString(*out)
		case c < ' ', c == '\\':
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return false
}

// number takes the characters of a number.
func (p *listParser) number() string {
	from := p.i
	for p.i < len(p.s) && strings.IndexByte("0123456789+-.eE", p.s[p.i]) >= 0 {
		p.i++
	}
	return p.s[from:p.i]
}

func (p *listParser) uint(out *uint64, bits int) bool {
	s := p.number()
	if s == "" || s[0] < '0' || s[0] > '9' || s[0] == '0' && len(s) > 1 {
		return false
	}
	n, err := strconv.ParseUint(s, 10, bits)
	*out = n
	return err == nil
}

// float leaves to encoding/json what JSON does not take for a number, and what is none.
func (p *listParser) float(out *float64) bool {
	return json.Unmarshal([]byte(p.number()), out) == nil
}

func (p *listParser) bool(out *bool) bool {
	*out = p.is("true")
	return *out || p.is("false")
}
