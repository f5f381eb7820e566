package netexpr

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of an expression.
const (
	MaxLength   = 16 << 10 // bytes
	MaxDepth    = 64       // of parentheses and nots
	MaxTerms    = 1000     // comparisons
	MaxSet      = 10_000   // values in all sets together
	MaxPatterns = 32
	MaxPattern  = 1 << 10 // bytes of one pattern
)

// Expr is an expression that was found to be right. Its text is kept as it was.
type Expr struct {
	src   string
	root  node // nil: the empty expression
	lists []listRef
}

// listRef is where a list is named.
type listRef struct {
	id     string
	offset int
}

// node is a part of an expression.
type node interface{ isNode() }

type (
	binary struct {
		op          string // "and", "or", "xor"
		left, right node
	}
	negation   struct{ of node }
	comparison struct {
		field  *field
		all    bool // of a field with many values: all of them instead of any
		key    string
		op     string // "==" "!=" "<" "<=" ">" ">=" "contains" "matches" "in", or "" for a boolean
		negate bool   // not in
		values []value
		list   string // the ID behind $, instead of values
	}
)

func (*binary) isNode()     {}
func (*negation) isNode()   {}
func (*comparison) isNode() {}

// String returns the expression as it was given.
func (e *Expr) String() string {
	if e == nil {
		return ""
	}
	return e.src
}

// Lists returns the IDs of the lists that it names, sorted, each once.
func (e *Expr) Lists() []string {
	var ids []string
	if e != nil {
		for _, l := range e.lists {
			ids = append(ids, l.id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Parse reads an expression. An empty one is right: it asks nothing and is True. The
// error is a *SyntaxError.
func Parse(src string) (*Expr, error) { return parse(src, lookup, Fields) }

// ParseProfile reads the expression by which a device profile chooses its devices: over the user and the device's system.
func ParseProfile(src string) (*Expr, error) { return parse(src, lookupProfile, ProfileFields) }

func parse(src string, find func(name, member string) (*field, bool), names func() []string) (*Expr, error) {
	if len(src) > MaxLength {
		return nil, &SyntaxError{Offset: MaxLength, Message: fmt.Sprintf("longer than %d bytes", MaxLength)}
	}
	p := &parser{lex: lexer{src: src}, out: &Expr{src: src}, find: find, names: names}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind == tokEnd {
		return p.out, nil
	}
	root, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokEnd {
		return nil, p.fail("expected 'and', 'or' or the end, found %s", p.tok)
	}
	p.out.root = root
	return p.out, nil
}

type parser struct {
	lex      lexer
	tok      token
	out      *Expr
	find     func(name, member string) (*field, bool)
	names    func() []string
	terms    int
	members  int
	patterns int
}

func (p *parser) advance() error {
	t, err := p.lex.next()
	p.tok = t
	return err
}

func (p *parser) fail(format string, args ...any) error {
	return p.failAt(p.tok.offset, format, args...)
}

func (p *parser) failAt(offset int, format string, args ...any) error {
	return &SyntaxError{Offset: offset, Message: fmt.Sprintf(format, args...)}
}

// is reports whether the token is one of these words or symbols.
func (p *parser) is(texts ...string) bool {
	return (p.tok.kind == tokWord || p.tok.kind == tokSymbol) && slices.Contains(texts, p.tok.text)
}

func (p *parser) expect(symbol, where string) error {
	if !p.is(symbol) {
		return p.fail("expected '%s' %s, found %s", symbol, where, p.tok)
	}
	return p.advance()
}

// levels are the operators between operands, loosest first.
var levels = []struct {
	name      string
	spellings []string
}{
	{"or", []string{"or", "||"}},
	{"xor", []string{"xor", "^^"}},
	{"and", []string{"and", "&&"}},
}

func (p *parser) expression(depth int) (node, error) { return p.level(0, depth) }

func (p *parser) level(n, depth int) (node, error) {
	if n == len(levels) {
		return p.unary(depth)
	}
	left, err := p.level(n+1, depth)
	if err != nil {
		return nil, err
	}
	for p.is(levels[n].spellings...) {
		if err := p.advance(); err != nil {
			return nil, err
		}
		right, err := p.level(n+1, depth)
		if err != nil {
			return nil, err
		}
		left = &binary{op: levels[n].name, left: left, right: right}
	}
	return left, nil
}

func (p *parser) unary(depth int) (node, error) {
	if depth > MaxDepth {
		return nil, p.fail("more than %d parentheses and nots inside each other", MaxDepth)
	}
	switch {
	case p.is("not", "!"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		of, err := p.unary(depth + 1)
		if err != nil {
			return nil, err
		}
		return &negation{of}, nil
	case p.is("("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		in, err := p.expression(depth + 1)
		if err != nil {
			return nil, err
		}
		return in, p.expect(")", "to close the parenthesis")
	case p.is("any", "all"):
		return p.quantified()
	case p.tok.kind == tokWord:
		return p.comparison(false, false)
	}
	return nil, p.fail("expected a field, 'not', 'any', 'all' or '(', found %s", p.tok)
}

func (p *parser) quantified() (node, error) {
	all := p.tok.text == "all"
	if err := p.advance(); err != nil {
		return nil, err
	}
	if err := p.expect("(", "behind any or all"); err != nil {
		return nil, err
	}
	if p.tok.kind != tokWord {
		return nil, p.fail("expected a field, found %s", p.tok)
	}
	c, err := p.comparison(true, all)
	if err != nil {
		return nil, err
	}
	return c, p.expect(")", "to close any or all")
}

// comparison reads a field and what is asked of it; many says that it stands in any() or all().
func (p *parser) comparison(many, all bool) (node, error) {
	if p.terms++; p.terms > MaxTerms {
		return nil, p.fail("more than %d comparisons", MaxTerms)
	}
	c := &comparison{all: all}
	if err := p.operand(c, many); err != nil {
		return nil, err
	}
	return c, p.test(c)
}

// operand reads the field with its key, [*] and member.
func (p *parser) operand(c *comparison, many bool) error {
	at, name, member, star, keyed := p.tok.offset, p.tok.text, "", false, false
	if err := p.advance(); err != nil {
		return err
	}
	if p.is("[") {
		keyed = true
		if err := p.key(c); err != nil {
			return err
		}
	}
	if p.is("[*]") {
		star = true
		if err := p.advance(); err != nil {
			return err
		}
		if p.is(".") {
			if err := p.advance(); err != nil {
				return err
			}
			member = p.tok.text
			if err := p.advance(); err != nil {
				return err
			}
		}
	}
	f, exists := p.find(name, member)
	switch {
	case f == nil && exists:
		return p.failAt(at, "%s has no member %q", name, member)
	case f == nil:
		return p.failAt(at, "unknown field %q; the fields are: %s", clip(name), strings.Join(p.names(), ", "))
	case f.keyed != keyed && keyed:
		return p.failAt(at, "%s takes no key in brackets", name)
	case f.keyed != keyed:
		return p.failAt(at, `%s needs a key, as in any(%s["KEY"][*] == "VALUE")`, name, name)
	case f.many && (!many || !star):
		return p.failAt(at, "%s has many values: ask any(%s[*] ...) or all(%s[*] ...)", name, name, name)
	case !f.many && (many || star):
		return p.failAt(at, "%s has one value: any, all and [*] are for fields with many", name)
	}
	c.field = f
	return nil
}

// key reads ["KEY"].
func (p *parser) key(c *comparison) error {
	if err := p.advance(); err != nil {
		return err
	}
	if p.tok.kind != tokString {
		return p.fail("expected a key in double quotes, found %s", p.tok)
	}
	c.key = p.tok.text
	if err := p.advance(); err != nil {
		return err
	}
	return p.expect("]", "behind the key")
}

// operators by their spellings.
var operators = map[string]string{
	"==": "==", "eq": "==", "!=": "!=", "ne": "!=", "<": "<", "lt": "<", "<=": "<=", "le": "<=",
	">": ">", "gt": ">", ">=": ">=", "ge": ">=", "contains": "contains", "matches": "matches", "~": "matches", "in": "in",
}

// allowed are the operators that a kind of field takes.
var allowed = map[kind][]string{
	kindBool:   {"==", "!="},
	kindInt:    {"==", "!=", "<", "<=", ">", ">=", "in"},
	kindIP:     {"==", "!=", "<", "<=", ">", ">=", "in"},
	kindString: {"==", "!=", "contains", "matches", "in"},
}

// test reads what is asked of c's field.
func (p *parser) test(c *comparison) error {
	if p.is("not") {
		c.negate = true
		if err := p.advance(); err != nil {
			return err
		}
		if !p.is("in") {
			return p.fail("expected 'in' behind 'not', found %s", p.tok)
		}
	}
	op, ok := "", false
	if p.tok.kind == tokWord || p.tok.kind == tokSymbol {
		op, ok = operators[p.tok.text]
	}
	switch {
	case !ok && c.field.kind == kindBool:
		return nil
	case !ok:
		return p.fail("expected an operator (%s), found %s", strings.Join(allowed[c.field.kind], ", "), p.tok)
	case !slices.Contains(allowed[c.field.kind], op):
		return p.fail("'%s' cannot be asked of %s, which is %s: %s", p.tok.text, c.field.name, c.field.kind, strings.Join(allowed[c.field.kind], ", "))
	}
	c.op = op
	if err := p.advance(); err != nil {
		return err
	}
	if op == "in" {
		return p.in(c)
	}
	v, err := p.value(c.field, op)
	if err != nil {
		return err
	}
	c.values = []value{v}
	return nil
}

// in reads a set or a list's ID.
func (p *parser) in(c *comparison) error {
	if p.is("$") {
		return p.list(c)
	}
	if err := p.expect("{", "or '$' behind 'in'"); err != nil {
		return err
	}
	for !p.is("}") {
		if p.members++; p.members > MaxSet {
			return p.fail("more than %d values in sets", MaxSet)
		}
		v, err := p.value(c.field, "in")
		if err != nil {
			return err
		}
		c.values = append(c.values, v)
	}
	if len(c.values) == 0 {
		return p.fail("the set is empty")
	}
	return p.advance()
}

func (p *parser) list(c *comparison) error {
	if err := p.advance(); err != nil {
		return err
	}
	if p.tok.kind != tokWord {
		return p.fail("expected the ID of a list behind '$', found %s", p.tok)
	}
	c.list = strings.ToLower(p.tok.text)
	p.out.lists = append(p.out.lists, listRef{c.list, p.tok.offset})
	return p.advance()
}

// clip bounds what is repeated to the caller.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
