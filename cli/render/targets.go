package render

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"weft/agent/localapi"
)

// Targets draws rows with the given columns.
func Targets(w io.Writer, cols []Column, rows []Row) error {
	t := NewTargetTable(cols)
	t.Begin(len(rows))
	for i := range rows {
		t.Add(&rows[i])
	}
	return t.Draw(w)
}

// TargetTable is a table of targets that is filled row by row and keeps none of them: its text is a third of
// what the rows take.
type TargetTable struct {
	cols []Column
	g    *grid
	rows int
}

// NewTargetTable returns an empty table with the given columns.
func NewTargetTable(cols []Column) *TargetTable {
	t := &TargetTable{cols: cols}
	t.Begin(0)
	return t
}

// Begin takes all rows out; guess is about how many will come, for whose text room is taken at once.
func (t *TargetTable) Begin(guess int) {
	t.rows, t.g = 0, newGrid(len(t.cols), guess+1)
	for _, c := range t.cols {
		t.g.buf = append(t.g.buf, c.title...)
		t.g.end()
	}
}

// Add adds a row.
func (t *TargetTable) Add(r *Row) {
	t.rows++
	for i := range t.cols {
		t.g.buf = t.cols[i].append(t.g.buf, r)
		t.g.end()
	}
}

// Rows is the number of rows.
func (t *TargetTable) Rows() int { return t.rows }

// Draw draws the table.
func (t *TargetTable) Draw(w io.Writer) error { return t.g.draw(w) }

// CSV writes rows as RFC 4180 has it, under a header of the columns' keys.
//
// A cell that a spreadsheet would take for a formula (it begins with =, +, -, @, a tab or a carriage
// return) gets an apostrophe in front, which spreadsheets take for "this is text": tags are
// written by others, and the list may be opened with more rights than its author has.
func CSV(w io.Writer, cols []Column, rows []Row) error {
	out := csv.NewWriter(w)
	record := make([]string, len(cols))
	for i, c := range cols {
		record[i] = c.Key
	}
	if err := out.Write(record); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	for i := range rows {
		for j, c := range cols {
			record[j] = unformula(c.Text(&rows[i]))
		}
		if err := out.Write(record); err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// unformula keeps a spreadsheet from running a cell. Full-width forms of the signs count too.
func unformula(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r＝＋－＠", []rune(s)[0]) {
		return "'" + s
	}
	return s
}

// Names writes the names of the rows' targets, each once, in their order.
func Names(w io.Writer, rows []Row) error {
	var b []byte
	written := map[string]bool{}
	for _, name := range UniqueNames(rows) {
		if !written[name] {
			written[name] = true
			b = append(appendClean(b, name), '\n')
		}
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write names: %w", err)
	}
	return nil
}

// UniqueNames returns a name for each row that leads to its target whichever virtual network is selected:
// "hostname.network", or the target ID where that leads to more than one target of these rows.
func UniqueNames(rows []Row) []string {
	owners := map[string]string{} // by name, in lower case: the ID, or "" when there are several
	for i := range rows {
		// "a.b" may be a hostname as well as "a" in the network "b".
		for _, name := range append(qualified(rows[i].Target), rows[i].Hostname) {
			key := strings.ToLower(name)
			if id, known := owners[key]; known && id != rows[i].ID {
				owners[key] = ""
			} else {
				owners[key] = rows[i].ID
			}
		}
	}
	names := make([]string, len(rows))
	for i := range rows {
		names[i] = rows[i].ID
		for _, name := range qualified(rows[i].Target) {
			if owners[strings.ToLower(name)] == rows[i].ID {
				names[i] = name
				break
			}
		}
	}
	return names
}

// qualified are the names of a target in each of its networks.
func qualified(t *localapi.Target) []string {
	var names []string
	for _, a := range t.Addresses {
		if a.VNETName != "" {
			names = append(names, t.Hostname+"."+a.VNETName)
		}
	}
	if names == nil {
		names = []string{t.Hostname}
	}
	return names
}
