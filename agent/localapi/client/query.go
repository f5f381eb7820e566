package client

import (
	"net/url"
	"strconv"

	"weft/agent/localapi"
)

// Query filters the target list: AND across its fields, OR within one; an
// empty field selects everything. Attributes are "key=value": the same key
// twice is OR, different keys are AND.
type Query struct {
	Attributes []string
	Usernames  []string
	Hostnames  []string // patterns with *, ? and [a-z]
	Protocols  []string
	Ports      []uint16
	VNETs      []string // names or IDs
	IDs        []string
	IPs        []string // addresses or prefixes
}

// Empty reports whether q selects everything.
func (q *Query) Empty() bool {
	return len(q.Attributes)+len(q.Usernames)+len(q.Protocols)+len(q.Ports)+len(q.VNETs)+len(q.IDs)+len(q.Hostnames)+len(q.IPs) == 0
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
	add("hostname", q.Hostnames)
	add("ip", q.IPs)
	for _, p := range q.Ports {
		v.Add("port", strconv.Itoa(int(p)))
	}
	return v
}

// Path is the path and query of the call that asks for the targets that q selects.
func (q Query) Path() string {
	if v := q.values().Encode(); v != "" {
		return localapi.PathTargets + "?" + v
	}
	return localapi.PathTargets
}
