package control

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// router finds the endpoint of a request by its escaped path, segment by segment: a client that writes a prefix as
// 10.0.0.0%2F24 means one segment, and nothing is ever cleaned or redirected.
type router struct {
	root   node
	served map[string]*endpoint // by pattern
}

type node struct {
	literal   map[string]*node
	param     *node
	name      string // of the parameter that leads here
	endpoints map[string]*endpoint
}

// add registers an endpoint for "METHOD /path/{parameter}".
func (t *router) add(pattern string, e *endpoint) {
	method, path, _ := strings.Cut(pattern, " ")
	n := &t.root
	for s := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		n = n.child(s)
	}
	if n.endpoints == nil {
		n.endpoints = map[string]*endpoint{}
	}
	if n.endpoints[method] != nil {
		panic("two endpoints for " + pattern)
	}
	n.endpoints[method] = e
	if t.served == nil {
		t.served = map[string]*endpoint{}
	}
	t.served[pattern], e.node = e, n
}

func (n *node) child(segment string) *node {
	if name, ok := strings.CutPrefix(segment, "{"); ok {
		if n.param == nil {
			n.param = &node{name: strings.TrimSuffix(name, "}")}
		}
		return n.param
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[segment] == nil {
		n.literal[segment] = &node{}
	}
	return n.literal[segment]
}

// find returns the endpoint and the values of the path's parameters; when the path is known but not with this method,
// endpoint is nil and allow lists the methods.
func (t *router) find(method string, u *url.URL) (e *endpoint, params map[string]string, allow []string) {
	path, ok := strings.CutPrefix(u.EscapedPath(), "/")
	if !ok {
		return nil, nil, nil
	}
	n := &t.root
	for s := range strings.SplitSeq(path, "/") {
		value, err := url.PathUnescape(s)
		if err != nil || value == "" || !isText(value) {
			return nil, nil, nil
		}
		switch {
		case n.literal[s] != nil:
			n = n.literal[s]
		case n.param != nil:
			n = n.param
			if params == nil {
				params = map[string]string{}
			}
			params[n.name] = value
		default:
			return nil, nil, nil
		}
	}
	if e = n.endpoints[method]; e == nil {
		for m := range n.endpoints {
			allow = append(allow, m)
		}
		slices.Sort(allow)
	}
	return e, params, allow
}

// isText reports whether s can be the text of a database: nothing is named by anything else.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

var _ http.Handler = (*Control)(nil)
