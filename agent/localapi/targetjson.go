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
func DecodeTargetList(data string, l *TargetList) error {
	p := listParser{s: data}
	// A row has some 300 bytes; a list of rows that are shorter grows.
	list, rows := TargetList{}, make([]Target, 0, len(data)/300+1)
	if p.list(&list, func() bool {
		rows = append(rows, Target{})
		return p.target(&rows[len(rows)-1])
	}) {
		*l, l.Targets = list, rows
		return nil
	}
	return json.Unmarshal([]byte(data), l)
}

// RangeTargetList reads a target list row by row, for those who need no row longer than until the next: yield
// gets one Target over and over. It reads all but the rows into l. False means that the list is not in the usual
// form, DecodeTargetList must read it, and the rows so far count for nothing.
func RangeTargetList(data string, l *TargetList, yield func(*Target)) bool {
	p := listParser{s: data}
	var row Target
	return p.list(l, func() bool {
		if !p.target(&row) {
			return false
		}
		yield(&row)
		return true
	})
}

// listParser reads the usual form of a target list. Every method reports whether what
// stands there was of that form; strings point into s.
type listParser struct {
	s string
	i int
}

// list reads a list, whose rows row reads one by one.
func (p *listParser) list(l *TargetList, row func() bool) bool {
	var n uint64
	if !p.is(`{"schema_version":`) || !p.uint(&n, 31) {
		return false
	}
	l.SchemaVersion = int(n)
	if !p.is(`,"revision":`) || !p.uint(&l.Revision, 64) || !p.is(`,"age_seconds":`) || !p.float(&l.AgeSeconds) ||
		!p.is(`,"stale":`) || !p.bool(&l.Stale) || !p.is(`,"targets":`) {
		return false
	}
	return p.each(row) && p.is("}") && strings.Trim(p.s[p.i:], " \t\r\n") == ""
}

// target reads a row over whatever t holds.
func (p *listParser) target(t *Target) bool {
	var port uint64
	t.Addresses, t.Usernames = notNil(t.Addresses), notNil(t.Usernames)
	ok := p.is(`{"id":`) && p.string(&t.ID) && p.is(`,"hostname":`) && p.string(&t.Hostname) &&
		p.is(`,"protocol":`) && p.string(&t.Protocol) && p.is(`,"port":`) && p.uint(&port, 16) &&
		p.is(`,"attributes":`) && p.strings(&t.Attributes) &&
		p.is(`,"addresses":`) && p.each(func() bool {
		var a Address
		if !p.address(&a) {
			return false
		}
		t.Addresses = append(t.Addresses, a)
		return true
	}) && p.is(`,"usernames":`) && p.each(func() bool {
		var u string
		if !p.string(&u) {
			return false
		}
		t.Usernames = append(t.Usernames, u)
		return true
	}) && p.is("}")
	t.Port = uint16(port)
	return ok
}

// notNil empties a list and keeps its room.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list[:0]
}

func (p *listParser) address(a *Address) bool {
	return p.is(`{"ip":`) && p.string(&a.IP) && p.is(`,"vnet_id":`) && p.string(&a.VNETID) &&
		p.is(`,"vnet_name":`) && p.string(&a.VNETName) && p.is("}")
}

// each reads an array of what one reads.
func (p *listParser) each(one func() bool) bool {
	if !p.is("[") {
		return false
	}
	if p.is("]") {
		return true
	}
	for one() {
		if p.is("]") {
			return true
		}
		if !p.is(",") {
			return false
		}
	}
	return false
}

// is takes text if it comes next.
func (p *listParser) is(text string) bool {
	if !strings.HasPrefix(p.s[p.i:], text) {
		return false
	}
	p.i += len(text)
	return true
}

// strings reads an object of strings over the one that is there.
func (p *listParser) strings(out *map[string]string) bool {
	m := *out
	if m == nil {
		m = map[string]string{}
	}
	clear(m)
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
