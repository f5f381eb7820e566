package store

import (
	"strconv"
	"strings"
)

// where builds the condition of a query; every ? of a clause becomes the next numbered parameter.
type where struct {
	clauses []string
	args    []any
}

func (w *where) add(clause string, args ...any) {
	var b strings.Builder
	n := len(w.args)
	for _, c := range clause {
		if c == '?' {
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteRune(c)
	}
	w.clauses = append(w.clauses, b.String())
	w.args = append(w.args, args...)
}

// addIn asks for expression to be one of values; none selects nothing.
func (w *where) addIn(expression string, values []string) {
	if len(values) == 0 {
		w.clauses = append(w.clauses, "1 = 0")
		return
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(values)), ", ")
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	w.add(expression+" IN ("+marks+")", args...)
}

// addAnyIn asks for any of the expressions to be one of values; none selects nothing.
func (w *where) addAnyIn(expressions, values []string) {
	any := where{args: w.args}
	for _, e := range expressions {
		any.addIn(e, values)
	}
	w.clauses, w.args = append(w.clauses, "("+strings.Join(any.clauses, " OR ")+")"), any.args
}

// deleted selects objects that are deleted, or by default those that are not.
func (w *where) deleted(is *bool) { w.deletedAs("deleted_at", is) }

func (w *where) deletedAs(column string, is *bool) {
	if is != nil && *is {
		w.add(column + " IS NOT NULL")
		return
	}
	w.add(column + " IS NULL")
}

func (w *where) String() string {
	if len(w.clauses) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.clauses, " AND ")
}

// next is the placeholder of one more argument.
func (w *where) next(arg any) string {
	w.args = append(w.args, arg)
	return "$" + strconv.Itoa(len(w.args))
}

// escapeLike makes s literal in a LIKE pattern with ESCAPE '\'.
func escapeLike(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

// Page selects a part of a list; Number counts from 1.
type Page struct{ Number, Size int }

func (p Page) offset() int { return (p.Number - 1) * p.Size }
