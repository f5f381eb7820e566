package netexpr

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// maxProgram bounds the compiled form of a pattern: repetitions of repetitions are short to write.
const maxProgram = 4000

// compilePattern compiles a pattern. Its time is linear in the input (package
// regexp), and its size is bounded before it is compiled.
func compilePattern(src string) (*regexp.Regexp, error) {
	if len(src) > MaxPattern {
		return nil, fmt.Errorf("the pattern is longer than %d bytes", MaxPattern)
	}
	tree, err := syntax.Parse(src, syntax.Perl)
	if err != nil {
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			return nil, fmt.Errorf("the pattern is not RE2 syntax: %s: %q", e.Code, clip(e.Expr))
		}
		return nil, fmt.Errorf("the pattern is not RE2 syntax: %w", err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("the pattern cannot be compiled: %w", err)
	}
	if len(prog.Inst) > maxProgram {
		return nil, fmt.Errorf("the pattern is too complex: %d steps, at most %d", len(prog.Inst), maxProgram)
	}
	return regexp.Compile(src)
}
