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
	g := newGrid(len(cols), len(rows)+1)
	for _, c := range cols {
		g.buf = append(g.buf, c.title...)
		g.end()
	}
	for i := range rows {
		for _, c := range cols {
			g.buf = c.append(g.buf, &rows[i])
			g.end()
		}
	}
	return g.draw(w)
}

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

// Names writes the names of the rows' targets, each once, in their order: as "hostname.network", which leads there
// whichever network is selected, or the target ID where that name leads to more than one target.
func Names(w io.Writer, rows []Row) error {
	owners := map[string]string{} // by name, in lower case: the ID, or "" when there are several
	for i := range rows {
		for _, name := range qualified(rows[i].Target) {
			key := strings.ToLower(name)
			if id, known := owners[key]; known && id != rows[i].ID {
				owners[key] = ""
			} else {
				owners[key] = rows[i].ID
			}
		}
	}
	var b []byte
	written := map[string]bool{}
	for i := range rows {
		for _, name := range qualified(rows[i].Target) {
			if owners[strings.ToLower(name)] == "" {
				name = rows[i].ID
			}
			if !written[name] {
				written[name] = true
				b = append(appendClean(b, name), '\n')
			}
		}
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write names: %w", err)
	}
	return nil
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
