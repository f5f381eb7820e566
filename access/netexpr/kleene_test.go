package netexpr_test

import (
	"testing"

	"pgregory.net/rapid"

	"weft/access/netexpr"
)

// tree is a random expression with the value that Kleene's tables give it.
type tree struct {
	text string
	want netexpr.Truth
	// binds is how tightly the outermost operator does: 0 or, 1 xor, 2 and, 3 everything else.
	binds int
}

var atoms = []tree{
	{"access.target", netexpr.True, 3},
	{"access.private_app", netexpr.False, 3},
	{`net.sni.host == "a"`, netexpr.Unknown, 3},
}

// tables by operator and the two values.
var tables = []struct {
	spellings []string
	table     [3][3]netexpr.Truth
}{
	{[]string{" or ", "||"}, [3][3]netexpr.Truth{{0, 1, 2}, {1, 1, 2}, {2, 2, 2}}},
	{[]string{" xor ", "^^"}, [3][3]netexpr.Truth{{0, 1, 2}, {1, 1, 1}, {2, 1, 0}}},
	{[]string{" and ", "&&"}, [3][3]netexpr.Truth{{0, 0, 0}, {0, 1, 1}, {0, 1, 2}}},
}

// drawTree draws an expression, with no more parentheses than it needs, or with more.
func drawTree(t *rapid.T, depth int) tree {
	n := rapid.IntRange(0, 5).Draw(t, "node")
	if depth == 0 || n > 3 {
		return rapid.SampledFrom(atoms).Draw(t, "atom")
	}
	if n == 3 {
		of := drawTree(t, depth-1)
		return tree{rapid.SampledFrom([]string{"not ", "!"}).Draw(t, "not") + wrap(t, of, 3), netexpr.True - of.want, 3}
	}
	left, right := drawTree(t, depth-1), drawTree(t, depth-1)
	op := tables[n]
	return tree{
		wrap(t, left, n) + rapid.SampledFrom(op.spellings).Draw(t, "op") + wrap(t, right, n+1),
		op.table[left.want][right.want], n,
	}
}

func wrap(t *rapid.T, x tree, least int) string {
	if x.binds < least || rapid.Bool().Draw(t, "parentheses") {
		return "(" + x.text + ")"
	}
	return x.text
}

// TestEval_KleeneTables: whatever is written, it means what the tables say.
func TestEval_KleeneTables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawTree(t, 5)
		e, err := netexpr.Parse(x.text)
		if err != nil {
			t.Fatalf("%s: %v", x.text, err)
		}
		p, err := e.Compile(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Eval(office()); got != x.want {
			t.Fatalf("%s is %s, want %s", x.text, got, x.want)
		}
	})
}
