package netexpr

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Program is a compiled expression. A nil Program is Unknown.
type Program struct{ root evaluator }

// evaluator is a compiled node.
type evaluator interface {
	eval(f *Flow) Truth
}

// Lists are the named lists: the values by list ID in lower case.
type Lists map[string][]string

// Compile resolves the lists that e names. A list that is not there, and a value of
// one that does not fit the field it is compared with, is an error: the rule cannot
// be evaluated. The error is a *SyntaxError that points at the list's name.
func (e *Expr) Compile(lists Lists) (*Program, error) { return NewCompiler(lists).Compile(e) }

// Compiler compiles many expressions that name the same lists: the programs share what is made of each list, so that
// naming one often costs neither time nor memory. Not safe for concurrent use; its programs are.
type Compiler struct {
	lists Lists
	made  map[madeKey]*made
}

// madeKey is a list as the values of a kind of fields.
type madeKey struct {
	list string
	kind kind
	fold bool
}

// made is what "in" needs of a list.
type made struct {
	numbers []numberRange
	addrs   []addrRange
	text    textMatcher
	err     string // the value that does not fit; empty: all do
}

// NewCompiler returns a compiler for expressions that name those lists, which must not change.
func NewCompiler(lists Lists) *Compiler {
	return &Compiler{lists: lists, made: make(map[madeKey]*made)}
}

// Compile is Expr.Compile.
func (co *Compiler) Compile(e *Expr) (*Program, error) {
	if e == nil || e.root == nil {
		return &Program{root: constant(True)}, nil
	}
	c := compiler{Compiler: co, offsets: make(map[string]int)}
	for _, l := range e.lists {
		c.offsets[l.id] = l.offset
	}
	root, err := c.node(e.root)
	if err != nil {
		return nil, err
	}
	return &Program{root: root}, nil
}

// Eval evaluates; a nil program is Unknown, as is a nil flow.
func (p *Program) Eval(f *Flow) Truth {
	if p == nil || p.root == nil || f == nil {
		return Unknown
	}
	return p.root.eval(f)
}

// compiler compiles one expression.
type compiler struct {
	*Compiler
	offsets map[string]int
}

func (c *compiler) node(n node) (evaluator, error) {
	switch n := n.(type) {
	case *negation:
		of, err := c.node(n.of)
		return &notEval{of}, err
	case *binary:
		left, err := c.node(n.left)
		if err != nil {
			return nil, err
		}
		right, err := c.node(n.right)
		return &pairEval{op: n.op[0], left: left, right: right}, err
	case *comparison:
		return c.comparison(n)
	}
	return nil, fmt.Errorf("unknown node %T", n)
}

func (c *compiler) comparison(n *comparison) (evaluator, error) {
	f := n.field
	if f.kind == kindBool {
		want := n.op == "" || n.values[0].flag == (n.op == "==")
		return &flagEval{f: f, want: want}, nil
	}
	negate := n.negate || n.op == "!="
	op := n.op
	if op == "!=" || op == "==" {
		op = "in" // of one
	}
	var m *made
	if n.list == "" {
		m = makeOf(f, op, n.values)
	} else {
		var err error
		if m, err = c.list(n); err != nil {
			return nil, err
		}
	}
	if f.many && f.nth == nil {
		return constant(Unknown), nil // nothing is ever known of it
	}
	switch f.kind {
	case kindInt:
		return &numberEval{f: f, negate: negate, op: op, ranges: m.numbers}, nil
	case kindIP:
		return &addrEval{f: f, negate: negate, op: op, ranges: m.addrs}, nil
	default: // a string
		if f.many {
			return &manyEval{f: f, key: n.key, all: n.all, negate: negate, match: m.text}, nil
		}
		return &textEval{f: f, negate: negate, match: m.text}, nil
	}
}

// makeOf prepares values to be compared with f.
func makeOf(f *field, op string, values []value) *made {
	switch f.kind {
	case kindInt:
		return &made{numbers: numberRanges(values, op)}
	case kindIP:
		return &made{addrs: addrRanges(values, op)}
	default:
		return &made{text: matcher(f, op, values)}
	}
}

// list prepares the list that n names for n's field, unless that was done before.
func (c *compiler) list(n *comparison) (*made, error) {
	key := madeKey{list: n.list, kind: n.field.kind, fold: n.field.fold}
	m, ok := c.made[key]
	if !ok {
		items, known := c.lists[n.list]
		if !known {
			return nil, &SyntaxError{Offset: c.offsets[n.list], Message: fmt.Sprintf("there is no list %q", clip(n.list))}
		}
		m = makeList(n, items)
		c.made[key] = m
	}
	if m.err != "" {
		return nil, &SyntaxError{Offset: c.offsets[n.list], Message: m.err}
	}
	return m, nil
}

// makeList prepares the items of a list as values of n's field.
func makeList(n *comparison, items []string) *made {
	values := make([]value, 0, len(items))
	for _, s := range items {
		v, err := listValue(n.field, s)
		if err != nil {
			return &made{err: fmt.Sprintf("list %q holds %q, which is not %s", clip(n.list), clip(s), n.field.kind)}
		}
		values = append(values, v)
	}
	return makeOf(n.field, "in", values)
}

func listValue(f *field, s string) (value, error) {
	switch f.kind {
	case kindString:
		if f.fold {
			s = lowerASCII(s)
		}
		return value{text: s}, nil
	case kindInt:
		n, err := strconv.ParseUint(s, 10, 32)
		return value{low: n, top: n}, err
	default: // an address
	}
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		return prefixValue(p.Masked()), err
	}
	a, err := netip.ParseAddr(s)
	if err == nil && a.Zone() != "" {
		err = fmt.Errorf("zone in %s", s)
	}
	return value{from: a.Unmap(), to: a.Unmap()}, err
}

// numberRange is a closed range.
type numberRange struct{ low, top uint64 }

// numberRanges returns the values as ranges that ascend and do not touch, for "in";
// for an order operator the one value as it is.
func numberRanges(values []value, op string) []numberRange {
	var out []numberRange
	for _, v := range values {
		out = append(out, numberRange{v.low, v.top})
	}
	if op != "in" {
		return out
	}
	slices.SortFunc(out, func(a, b numberRange) int { return cmp.Compare(a.low, b.low) })
	n := 0
	for _, r := range out {
		if n > 0 && r.low <= out[n-1].top+1 {
			out[n-1].top = max(out[n-1].top, r.top)
			continue
		}
		out[n] = r
		n++
	}
	return out[:n]
}

// addrRange is a closed range of one family.
type addrRange struct{ from, to netip.Addr }

// addrRanges is numberRanges for addresses; IPv4 stands before IPv6.
func addrRanges(values []value, op string) []addrRange {
	var out []addrRange
	for _, v := range values {
		out = append(out, addrRange{v.from, v.to})
	}
	if op != "in" {
		return out
	}
	slices.SortFunc(out, func(a, b addrRange) int { return a.from.Compare(b.from) })
	n := 0
	for _, r := range out {
		if n > 0 && out[n-1].from.BitLen() == r.from.BitLen() && r.from.Compare(out[n-1].to) <= 0 {
			if out[n-1].to.Less(r.to) {
				out[n-1].to = r.to
			}
			continue
		}
		out[n] = r
		n++
	}
	return out[:n]
}
