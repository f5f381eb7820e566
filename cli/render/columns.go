package render

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weft/agent/localapi"
)

// Column is one fact of a row, to show or to sort by.
type Column struct {
	// Key names it on the command line, and in the header of CSV.
	Key    string
	title  string
	append func(b []byte, r *Row) []byte
	less   func(a, b *Row) int // negative, 0 or positive; nil: by the text
}

// tagPrefix begins the key of a column that shows one attribute.
const tagPrefix = "attribute:"

// columns are all but those of single attributes.
var columns = []Column{
	{Key: "id", title: "Target ID", append: func(b []byte, r *Row) []byte { return appendClean(b, r.ID) }},
	{Key: "name", title: "Name", append: appendName},
	{Key: "hostname", title: "Hostname", append: func(b []byte, r *Row) []byte { return appendClean(b, r.Hostname) }},
	{Key: "protocol", title: "Protocol", append: func(b []byte, r *Row) []byte { return appendClean(b, r.Protocol) }},
	{
		// As wide as the widest port, whatever it holds: so is the public product's.
		Key: "port", title: "Port ",
		append: func(b []byte, r *Row) []byte { return strconv.AppendUint(b, uint64(r.Port), 10) },
		less:   func(a, b *Row) int { return cmp.Compare(a.Port, b.Port) },
	},
	// As wide as there: 21.
	{Key: "attributes", title: "Attributes           ", append: func(b []byte, r *Row) []byte { return appendAttributes(b, r, true) }},
	{Key: "tags", title: "Tags", append: func(b []byte, r *Row) []byte { return appendAttributes(b, r, false) }},
	{Key: "ip", title: "IP (Virtual Network)", append: appendAddresses, less: byAddress},
	{Key: "address", title: "Address", append: addressPart(func(a *localapi.Address) string { return a.IP }), less: byAddress},
	{Key: "vnet", title: "Virtual Network", append: addressPart(func(a *localapi.Address) string { return a.VNETName })},
	{Key: "vnet_id", title: "Virtual Network ID", append: addressPart(func(a *localapi.Address) string { return a.VNETID })},
	{Key: "usernames", title: "Usernames", append: appendUsernames},
	{Key: "reachable", title: "Reachable", append: appendReachability, less: byReachability},
}

// ReachableColumn is the key of the column that only --reachable fills.
const ReachableColumn = "reachable"

// The columns that are shown unless others are asked for.
var (
	TableColumns = []string{"id", "protocol", "port", "attributes", "ip", "usernames"}
	WideColumns  = []string{"id", "hostname", "protocol", "port", "tags", "address", "vnet", "vnet_id", "usernames"}
)

// ColumnKeys are the keys of all columns; "attribute:KEY" stands for those of attributes.
func ColumnKeys() []string {
	keys := make([]string, 0, len(columns)+1)
	for i := range columns {
		keys = append(keys, columns[i].Key)
	}
	return append(keys, tagPrefix+"KEY")
}

// ErrUnknownColumn is the root of FindColumn's errors.
var ErrUnknownColumn = errors.New("unknown column")

// FindColumn returns the column that is called key.
func FindColumn(key string) (Column, error) {
	if tag, ok := strings.CutPrefix(key, tagPrefix); ok && tag != "" {
		return attributeColumn(key, tag), nil
	}
	for _, c := range columns {
		if strings.EqualFold(c.Key, key) {
			return c, nil
		}
	}
	return Column{}, fmt.Errorf("%w %q", ErrUnknownColumn, key)
}

func attributeColumn(key, tag string) Column {
	return Column{
		Key: key, title: Clean(tag),
		append: func(b []byte, r *Row) []byte { return appendClean(b, r.Attributes[tag]) },
	}
}

// Compare orders two rows by this column.
func (c *Column) Compare(a, b *Row) int {
	if c.less != nil {
		return c.less(a, b)
	}
	var x, y [128]byte
	s, t := c.append(x[:0], a), c.append(y[:0], b)
	// Without regard to case first, as people look for names.
	return cmp.Or(strings.Compare(strings.ToLower(string(s)), strings.ToLower(string(t))), strings.Compare(string(s), string(t)))
}

// Text is what the column shows of a row.
func (c *Column) Text(r *Row) string { return string(c.append(nil, r)) }

// Name is a name by which the row's target is reached: that of its hostname in its first virtual network.
func Name(t *localapi.Target) string {
	if len(t.Addresses) == 0 || t.Addresses[0].VNETName == "" {
		return t.Hostname
	}
	return t.Hostname + "." + t.Addresses[0].VNETName
}

func appendName(b []byte, r *Row) []byte { return appendClean(b, Name(r.Target)) }

// hostnameKey is the attribute that every target has.
const hostnameKey = "hostname"

// appendAttributes writes the hostname first, then the tags by name.
func appendAttributes(b []byte, r *Row, withHostname bool) []byte {
	first := true
	pair := func(k, v string) {
		if !first {
			b = append(b, ", "...)
		}
		first = false
		b = appendClean(append(appendClean(b, k), ": "...), v)
	}
	name, named := r.Attributes[hostnameKey]
	if named && withHostname {
		pair(hostnameKey, name)
	}
	if named && len(r.Attributes) == 1 {
		return b // nothing to sort
	}
	var few [8]string // enough for most, without taking memory for each row
	keys := few[:0]
	for k := range r.Attributes {
		if k != hostnameKey {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		pair(k, r.Attributes[k])
	}
	return b
}

// appendAddresses writes each address with the name of its virtual network.
func appendAddresses(b []byte, r *Row) []byte {
	for i := range r.Addresses {
		a := &r.Addresses[i]
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(appendClean(b, a.IP), " ("...)
		b = append(appendClean(b, a.VNETName), ')')
	}
	return b
}

// addressPart writes one part of each address.
func addressPart(part func(*localapi.Address) string) func([]byte, *Row) []byte {
	return func(b []byte, r *Row) []byte {
		for i := range r.Addresses {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendClean(b, part(&r.Addresses[i]))
		}
		return b
	}
}

func appendUsernames(b []byte, r *Row) []byte {
	for i, u := range r.Usernames {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendClean(b, u)
	}
	return b
}

func appendReachability(b []byte, r *Row) []byte {
	switch p := r.Reachability; {
	case p == nil:
		return b
	case p.Reachable:
		return fmt.Appendf(b, "yes (%.1f ms)", p.LatencyMS)
	default:
		return append(appendClean(append(b, "no ("...), p.Code), ')')
	}
}

// byAddress orders by the first address, as numbers; 10.0.0.9 is before 10.0.0.10.
func byAddress(a, b *Row) int {
	return cmp.Or(firstAddress(a).Compare(firstAddress(b)), strings.Compare(string(appendAddresses(nil, a)), string(appendAddresses(nil, b))))
}

// firstAddress is the zero address when there is none that can be read.
func firstAddress(r *Row) netip.Addr {
	if len(r.Addresses) == 0 {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(r.Addresses[0].IP)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// byReachability has what answers first, the fastest at the top.
func byReachability(a, b *Row) int {
	rank := func(r *Row) (int, float64) {
		switch p := r.Reachability; {
		case p == nil:
			return 2, 0
		case p.Reachable:
			return 0, p.LatencyMS
		default:
			return 1, 0
		}
	}
	i, x := rank(a)
	j, y := rank(b)
	return cmp.Or(cmp.Compare(i, j), cmp.Compare(x, y))
}
