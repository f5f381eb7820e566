// Package render draws what warp-cli prints for people.
package render

import (
	"bufio"
	"fmt"
	"io"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// Table draws rows under a header with rounded borders and a line between all
// rows. Cells are left-aligned with one space at each side, and are neither
// wrapped nor truncated: a table is as wide as what it holds.
func Table(w io.Writer, header []string, rows [][]string) error {
	cell := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft},
		Padding:    tw.CellPadding{Global: tw.Padding{Left: " ", Right: " "}},
	}
	// The renderer writes piece by piece; the table goes out whole.
	buf := bufio.NewWriterSize(w, 64<<10)
	t := tablewriter.NewTable(buf,
		tablewriter.WithConfig(tablewriter.Config{
			Header:   cell,
			Row:      cell,
			Behavior: tw.Behavior{TrimSpace: tw.Off, TrimLine: tw.Off, TrimTab: tw.Off},
		}),
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Symbols: tw.NewSymbols(tw.StyleRounded),
			Settings: tw.Settings{
				Separators: tw.Separators{BetweenRows: tw.On, BetweenColumns: tw.On, ShowHeader: tw.On},
				Lines:      tw.Lines{ShowTop: tw.On, ShowBottom: tw.On, ShowHeaderLine: tw.On},
			},
			Borders: tw.Border{Left: tw.On, Right: tw.On, Top: tw.On, Bottom: tw.On},
		})))
	t.Header(header)
	if err := t.Bulk(rows); err != nil {
		return fmt.Errorf("fill table: %w", err)
	}
	if err := t.Render(); err != nil {
		return fmt.Errorf("draw table: %w", err)
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}
