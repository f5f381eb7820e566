package render_test

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
	"pgregory.net/rapid"

	"weft/cli/render"
)

// referenceTable draws as render.Table promises to, by tablewriter.
func referenceTable(w io.Writer, header []string, rows [][]string) error {
	cell := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft},
		Padding:    tw.CellPadding{Global: tw.Padding{Left: " ", Right: " "}},
	}
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
		return err
	}
	if err := t.Render(); err != nil {
		return err
	}
	return buf.Flush()
}

// Our table is tablewriter's, byte for byte, with wide, combining and ambiguous characters.
func TestTable_AsTablewriter(t *testing.T) {
	twwidth.SetEastAsian(false) // or the locale of whoever runs the test decides
	word := rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,30}`),
		rapid.StringMatching(`[a-z世界한글éǺ😀👩‍🚀α①—… ]{0,12}`),
		rapid.Just(""),
	)
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(1, 7).Draw(t, "columns")
		// Without any text in a column there is nothing to line up, and tablewriter drops it.
		row := func(name string) []string {
			cells := rapid.SliceOfN(word, columns, columns).Draw(t, name)
			for i := range cells {
				cells[i] = render.Clean(cells[i])
			}
			return cells
		}
		header := row("header")
		for i := range header {
			header[i] = "H" + header[i]
		}
		var rows [][]string
		for range rapid.IntRange(1, 8).Draw(t, "rows") {
			rows = append(rows, row("row"))
		}
		var ours, theirs strings.Builder
		if err := render.Table(&ours, header, rows); err != nil {
			t.Fatal(err)
		}
		if err := referenceTable(&theirs, header, rows); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(theirs.String(), ours.String()); diff != "" {
			t.Fatalf("table (-tablewriter +ours):\n%s", diff)
		}
	})
}
