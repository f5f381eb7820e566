package client

import (
	"net/url"
	"strconv"
)

// Query filters the target list: AND across its fields, OR within one; an
// empty field selects everything. Attributes are "key=value": the same key
// twice is OR, different keys are AND.
type Query struct {
	Attributes []string
	Usernames  []string
	Protocols  []string
	Ports      []uint16
	VNETs      []string // names or IDs
	IDs        []string
}

// Empty reports whether q selects everything.
func (q *Query) Empty() bool {
	return len(q.Attributes)+len(q.Usernames)+len(q.Protocols)+len(q.Ports)+len(q.VNETs)+len(q.IDs) == 0
}

func (q *Query) values() url.Values {
	v := url.Values{}
	add := func(key string, values []string) {
		if len(values) > 0 {
			v[key] = values
		}
	}
	add("attribute", q.Attributes)
	add("username", q.Usernames)
	add("protocol", q.Protocols)
	add("vnet", q.VNETs)
	add("id", q.IDs)
	for _, p := range q.Ports {
		v.Add("port", strconv.Itoa(int(p)))
	}
	return v
}
