package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"weft/agent/localapi"
	"weft/cli/render"
)

// The forms of a list.
const (
	outputTable = "table"
	outputWide  = "wide"
	outputJSON  = "json"
	outputJSONL = "jsonl"
	outputYAML  = "yaml"
	outputCSV   = "csv"
	outputName  = "name"
	// outputTemplate is followed by the template: "template=...".
	outputTemplate = "template"
)

// outputs are the values of --output, as they are completed.
var outputs = []string{outputTable, outputWide, outputJSON, outputJSONL, outputYAML, outputCSV, outputName, outputTemplate + "="}

const hintOutputs = "one of: table, wide, json, jsonl, yaml, csv, name, template=TEMPLATE"

// output is how a list of targets is written.
type output struct {
	form     string
	columns  []render.Column // of table, wide and csv
	template *rowTemplate    // of template
}

// parseOutput reads --output and --columns; --json is --output json.
func (a *app) parseOutput(value, columns string) (*output, error) {
	form, text, hasText := strings.Cut(value, "=")
	switch {
	case a.json && value != "" && value != outputJSON:
		return nil, usageErrorHint("leave out one of the two", "--json and --output %s contradict each other", form)
	case a.json:
		form = outputJSON
	case value == "":
		form = outputTable
	}
	// Who asks for JSON in whichever way gets failures as JSON too.
	a.json = form == outputJSON || form == outputJSONL
	o := &output{form: form}
	var shown []string
	var err error
	switch form {
	case outputTable:
		shown = render.TableColumns
	case outputWide, outputCSV:
		shown = render.WideColumns
	case outputJSON, outputJSONL, outputYAML, outputName:
	case outputTemplate:
		if text == "" {
			return nil, usageErrorHint("for example: --output 'template={{.hostname}}:{{.port}}'", "--output template needs a template")
		}
		if o.template, err = parseRowTemplate(text); err != nil {
			return nil, err
		}
		hasText = false
	default:
		return nil, usageErrorHint(hintOutputs, "--output %q is not a form of output", value)
	}
	if hasText {
		return nil, usageErrorHint(hintOutputs, "--output %s takes no value", form)
	}
	if columns != "" {
		if shown == nil {
			return nil, usageErrorHint("columns are for --output table, wide and csv", "--output %s has no columns", form)
		}
		shown = strings.Split(columns, ",")
	}
	o.columns, err = findColumns("--columns", shown)
	return o, err
}

func findColumns(flag string, keys []string) ([]render.Column, error) {
	var cols []render.Column
	for _, key := range keys {
		c, err := render.FindColumn(strings.TrimSpace(key))
		if err != nil {
			return nil, usageErrorHint("the columns are: "+strings.Join(render.ColumnKeys(), ", "), "%s: %s", flag, err)
		}
		cols = append(cols, c)
	}
	return cols, nil
}

// withColumn shows one column more, in the forms that have columns.
func (o *output) withColumn(key string) {
	for _, c := range o.columns {
		if c.Key == key {
			return
		}
	}
	if c, err := render.FindColumn(key); err == nil && o.columns != nil {
		o.columns = append(o.columns, c)
	}
}

// isText reports whether the output is for people, who may want to page through it.
func (o *output) isText() bool {
	return o.form == outputTable || o.form == outputWide || o.form == outputName || o.form == outputTemplate
}

// isTable reports whether the output is a table.
func (o *output) isTable() bool { return o.form == outputTable || o.form == outputWide }

// write writes the list. An empty one is nothing in the forms for people, where a note on stderr
// says why.
func (o *output) write(w io.Writer, l *render.List) error {
	switch o.form {
	case outputJSON:
		return writeJSON(w, l)
	case outputJSONL:
		return writeJSONLines(w, l.Targets)
	case outputYAML:
		return render.YAML(w, l)
	case outputCSV:
		return render.CSV(w, o.columns, l.Targets)
	case outputName:
		return render.Names(w, l.Targets)
	case outputTemplate:
		return o.template.write(w, l.Targets)
	default:
		if len(l.Targets) == 0 {
			return nil
		}
		return render.Targets(w, o.columns, l.Targets)
	}
}

// writeJSON writes v for programs and for reading alike.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// jsonLine is a row that stands alone.
type jsonLine struct {
	SchemaVersion int `json:"schema_version"`
	render.Row
}

func writeJSONLines(w io.Writer, rows []render.Row) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range rows {
		if err := enc.Encode(jsonLine{localapi.SchemaVersion, rows[i]}); err != nil {
			return fmt.Errorf("encode result: %w", err)
		}
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
