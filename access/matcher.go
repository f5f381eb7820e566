package access

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weft/targets"
)

// matcher finds the criteria that select a target, without trying every one.
type matcher struct {
	byHost map[string][]criterion // by folded hostname
	others []criterion            // those that do not ask for a hostname
	tags   []string               // the tags that criteria ask for, sorted
}

// criterion is one alternative of the criteria of an application, less its hostnames.
type criterion struct {
	pair
	tags targets.Selector
	// narrow are the criteria when they also require or exclude, else nil.
	narrow *targets.Criteria
}

// pair is a port at which an application covers a target.
type pair struct {
	port     uint16
	app      int32
	protocol targets.Protocol
}

const attributeHostname = "hostname"

func (c *compiler) newMatcher() *matcher {
	m := &matcher{byHost: make(map[string][]criterion)}
	tags := make(map[string]bool)
	for ordinal, a := range c.apps {
		for i := range a.Criteria {
			m.addCriteria(&a.Criteria[i], int32(ordinal), tags)
		}
	}
	m.tags = slices.Sorted(maps.Keys(tags))
	return m
}

// addCriteria adds every alternative of cr, and the tags that it asks for to tags.
func (m *matcher) addCriteria(cr *targets.Criteria, app int32, tags map[string]bool) {
	var narrow *targets.Criteria
	if len(cr.Require)+len(cr.Exclude) > 0 {
		narrow = cr
	}
	for _, list := range [...][]targets.Selector{cr.Alternatives(), cr.Require, cr.Exclude} {
		for _, s := range list {
			for k := range s {
				tags[k] = tags[k] || k != attributeHostname
			}
		}
	}
	delete(tags, attributeHostname)
	for _, s := range cr.Alternatives() {
		m.add(criterion{pair: pair{cr.Port, app, cr.Protocol}, tags: s.Clone(), narrow: narrow})
	}
}

// add indexes an alternative by the hostnames that it asks for.
func (m *matcher) add(cr criterion) {
	if len(cr.tags) == 0 {
		return // selects nothing
	}
	hosts, asks := cr.tags[attributeHostname]
	delete(cr.tags, attributeHostname)
	if !asks {
		m.others = append(m.others, cr)
	}
	unique := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		unique[targets.FoldHostname(h)] = true
	}
	for h := range unique {
		m.byHost[h] = append(m.byHost[h], cr)
	}
}

// looks returns what criteria can see of t: equal for targets that they select alike.
func (m *matcher) looks(t *targets.Target) string {
	host := targets.FoldHostname(t.Hostname)
	if len(t.Tags) == 0 || len(m.tags) == 0 {
		return host
	}
	var b strings.Builder
	b.WriteString(host)
	for i, k := range m.tags {
		if v, has := t.Tags[k]; has {
			b.WriteByte(0) // in neither hostnames nor tags
			b.WriteString(strconv.Itoa(i))
			b.WriteByte(0)
			b.WriteString(v)
		}
	}
	return b.String()
}

// match returns where t is covered, sorted by port and application, each once.
func (m *matcher) match(t *targets.Target) []pair {
	var pairs []pair
	for _, list := range [...][]criterion{m.byHost[targets.FoldHostname(t.Hostname)], m.others} {
		for i := range list {
			cr := &list[i]
			if (len(cr.tags) == 0 || cr.tags.Matches(t)) && (cr.narrow == nil || cr.narrow.Narrows(t)) {
				pairs = append(pairs, cr.pair)
			}
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.app, b.app)) })
	return slices.Compact(pairs)
}
