package netexpr

import (
	"net/netip"
	"sort"
)

type constant Truth

func (c constant) eval(*Flow) Truth { return Truth(c) }

type notEval struct{ of evaluator }

func (n *notEval) eval(f *Flow) Truth { return n.of.eval(f).not() }

// pairEval is and, or, xor by the first letter.
type pairEval struct {
	op          byte
	left, right evaluator
}

func (p *pairEval) eval(f *Flow) Truth {
	l := p.left.eval(f)
	switch {
	case p.op == 'a' && l == False, p.op == 'o' && l == True:
		return l
	case p.op == 'a':
		return min(l, p.right.eval(f))
	case p.op == 'o':
		return max(l, p.right.eval(f))
	}
	return l.xor(p.right.eval(f))
}

type flagEval struct {
	f    *field
	want bool
}

func (e *flagEval) eval(f *Flow) Truth { return truth(e.f.flag(f) == e.want) }

// signed turns an answer round when it was asked for.
func signed(hit, negate bool) Truth { return truth(hit != negate) }

type numberEval struct {
	f      *field
	negate bool
	op     string
	ranges []numberRange
}

func (e *numberEval) eval(f *Flow) Truth {
	if e.f.number == nil {
		return Unknown
	}
	n := uint64(e.f.number(f))
	if n == 0 {
		return Unknown
	}
	switch e.op {
	case "<":
		return truth(n < e.ranges[0].low)
	case "<=":
		return truth(n <= e.ranges[0].low)
	case ">":
		return truth(n > e.ranges[0].low)
	case ">=":
		return truth(n >= e.ranges[0].low)
	}
	i := sort.Search(len(e.ranges), func(i int) bool { return n <= e.ranges[i].top })
	return signed(i < len(e.ranges) && e.ranges[i].low <= n, e.negate)
}

type addrEval struct {
	f      *field
	negate bool
	op     string
	ranges []addrRange
}

func (e *addrEval) eval(f *Flow) Truth {
	a := e.f.addr(f).Unmap()
	if !a.IsValid() {
		return Unknown
	}
	if e.op != "in" {
		return e.order(a)
	}
	i := sort.Search(len(e.ranges), func(i int) bool { return a.Compare(e.ranges[i].to) <= 0 })
	return signed(i < len(e.ranges) && e.ranges[i].from.Compare(a) <= 0, e.negate)
}

// order compares with < and the like; addresses of two families have no order.
func (e *addrEval) order(a netip.Addr) Truth {
	b := e.ranges[0].from
	if a.BitLen() != b.BitLen() {
		return False
	}
	c := a.Compare(b)
	switch e.op {
	case "<":
		return truth(c < 0)
	case "<=":
		return truth(c <= 0)
	case ">":
		return truth(c > 0)
	default:
		return truth(c >= 0)
	}
}

type textEval struct {
	f      *field
	negate bool
	match  textMatcher
}

func (e *textEval) eval(f *Flow) Truth {
	if e.f.text == nil {
		return Unknown
	}
	s := e.f.text(f)
	if s == "" {
		return Unknown
	}
	return signed(e.match.match(s), e.negate)
}

// manyEval asks any or all of a field's values. Of no values, any is False and all True.
type manyEval struct {
	f           *field
	key         string
	all, negate bool
	match       textMatcher
}

func (e *manyEval) eval(f *Flow) Truth {
	if !e.f.known(f) {
		return Unknown
	}
	for i := 0; ; i++ {
		s, ok := e.f.nth(f, e.key, i)
		if !ok {
			return truth(e.all)
		}
		if hit := e.match.match(s) != e.negate; hit != e.all {
			return truth(hit)
		}
	}
}
