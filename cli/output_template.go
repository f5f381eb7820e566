package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"weft/cli/render"
)

// maxTemplate bounds a template, and maxTemplateOutput what one row may become.
const (
	maxTemplate       = 16 << 10
	maxTemplateOutput = 1 << 20
)

// rowTemplate is a Go template (text/template) that is applied to each row in its JSON form. Beside Go's own
// functions there are join, upper, lower and json.
//
// text/template makes the program 1.6 MB larger, since it keeps every exported method of every type,
// and its start 0.1 ms slower, measured; a subset of our own would have saved that and been a language
// that nobody knows.
type rowTemplate struct {
	t    *template.Template
	what string // for errors: which flag it came from
}

// rowFields are the fields of a row. The nested ones of addresses are text/template's to check.
var rowFields = []string{"schema_version", "id", "hostname", "name", "protocol", "port", "attributes", "addresses", "usernames", "reachability"}

const hintTemplate = "the fields are: .id .hostname .name .protocol .port .attributes .addresses .usernames; functions: join upper lower json"

// parseRowTemplate reads the template of --output. \n and \t, which a shell's quotes keep as they are, stand
// for a line's end and a tab outside of {{ }}.
func parseRowTemplate(text string) (*rowTemplate, error) {
	return newRowTemplate("--output template", text, rowFields)
}

func newRowTemplate(what, text string, fields []string) (*rowTemplate, error) {
	if len(text) > maxTemplate {
		return nil, usageError("%s: the template is longer than %d bytes", what, maxTemplate)
	}
	t, err := template.New("row").Option("missingkey=zero").Funcs(template.FuncMap{
		"join": join, "upper": strings.ToUpper, "lower": strings.ToLower, "json": toJSON,
	}).Parse(unescape(text))
	if err != nil {
		return nil, usageErrorHint(hintTemplate, "%s: %s", what, strings.TrimPrefix(err.Error(), "template: "))
	}
	for _, tmpl := range t.Templates() {
		if tmpl.Tree == nil {
			continue
		}
		if name := unknownField(reflect.ValueOf(tmpl.Root), fields, true); name != "" {
			return nil, usageErrorHint(hintTemplate, "%s: there is no field .%s", what, name)
		}
	}
	return &rowTemplate{t: t, what: what}, nil
}

// unescape replaces \n and \t outside of actions.
func unescape(text string) string {
	var b strings.Builder
	escapes := strings.NewReplacer(`\n`, "\n", `\t`, "\t")
	for {
		literal, rest, ok := strings.Cut(text, "{{")
		b.WriteString(escapes.Replace(literal))
		if !ok {
			return b.String()
		}
		action, after, ok := strings.Cut(rest, "}}")
		b.WriteString("{{" + action)
		if !ok {
			return b.String()
		}
		b.WriteString("}}")
		text = after
	}
}

// unknownField finds a field of the row that does not exist: a mistyped one would otherwise print "<no value>"
// in every row. atRow says that the dot is the row; inside of range and with it is something else.
func unknownField(v reflect.Value, known []string, atRow bool) string {
	switch n := v.Interface().(type) {
	case *parse.FieldNode:
		if atRow && !slices.Contains(known, n.Ident[0]) {
			return n.Ident[0]
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 && !slices.Contains(known, n.Ident[1]) {
			return n.Ident[1]
		}
	case *parse.ListNode:
		if n == nil {
			return ""
		}
		return firstUnknown(n.Nodes, known, atRow)
	case *parse.ActionNode:
		return unknownField(reflect.ValueOf(n.Pipe), known, atRow)
	case *parse.PipeNode:
		if n == nil {
			return ""
		}
		return firstUnknown(n.Cmds, known, atRow)
	case *parse.CommandNode:
		return firstUnknown(n.Args, known, atRow)
	case *parse.ChainNode:
		return unknownField(reflect.ValueOf(n.Node), known, atRow)
	case *parse.IfNode:
		return branch(&n.BranchNode, known, atRow, atRow)
	case *parse.RangeNode:
		return branch(&n.BranchNode, known, atRow, false)
	case *parse.WithNode:
		return branch(&n.BranchNode, known, atRow, false)
	}
	return ""
}

func branch(n *parse.BranchNode, known []string, atRow, inside bool) string {
	if name := unknownField(reflect.ValueOf(n.Pipe), known, atRow); name != "" {
		return name
	}
	if name := unknownField(reflect.ValueOf(n.List), known, inside); name != "" {
		return name
	}
	return unknownField(reflect.ValueOf(n.ElseList), known, atRow)
}

func firstUnknown[T any](nodes []T, known []string, atRow bool) string {
	for _, n := range nodes {
		if name := unknownField(reflect.ValueOf(n), known, atRow); name != "" {
			return name
		}
	}
	return ""
}

// join puts a list together with a separator between its parts.
func join(list any, separator string) (string, error) {
	v := reflect.ValueOf(list)
	if v.Kind() != reflect.Slice {
		return "", fmt.Errorf("join: %T is not a list", list)
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(parts, separator), nil
}

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// fields is the row as a template sees it: the names of its JSON, all control characters cleaned away.
func fields(r *render.Row) map[string]any {
	attributes := make(map[string]string, len(r.Attributes))
	for k, v := range r.Attributes {
		attributes[render.Clean(k)] = render.Clean(v)
	}
	addresses := make([]any, 0, len(r.Addresses))
	for _, a := range r.Addresses {
		addresses = append(addresses, map[string]string{"ip": render.Clean(a.IP), "vnet_id": render.Clean(a.VNETID), "vnet_name": render.Clean(a.VNETName)})
	}
	usernames := make([]string, 0, len(r.Usernames))
	for _, u := range r.Usernames {
		usernames = append(usernames, render.Clean(u))
	}
	m := map[string]any{
		"schema_version": 1, "id": render.Clean(r.ID), "hostname": render.Clean(r.Hostname), "name": render.Clean(render.Name(r.Target)),
		"protocol": render.Clean(r.Protocol), "port": int(r.Port),
		"attributes": attributes, "addresses": addresses, "usernames": usernames, "reachability": map[string]any(nil),
	}
	if p := r.Reachability; p != nil {
		m["reachability"] = map[string]any{
			"reachable": p.Reachable, "latency_ms": p.LatencyMS, "code": render.Clean(p.Code), "message": render.Clean(p.Message),
		}
	}
	return m
}

// errTooLong ends a template that writes without end.
var errTooLong = usageError("the template makes more than %d bytes of one row", maxTemplateOutput)

// shortBuffer takes maxTemplateOutput bytes.
type shortBuffer struct{ bytes.Buffer }

// Write implements io.Writer.
func (b *shortBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxTemplateOutput {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

// text applies the template to v.
func (t *rowTemplate) text(v any) (string, error) {
	var b shortBuffer
	if err := t.t.Execute(&b, v); err != nil {
		return "", usageErrorHint(hintTemplate, "%s: %s", t.what, strings.TrimPrefix(err.Error(), "template: "))
	}
	return b.String(), nil
}

// write applies the template to each row; what does not end its line gets an end.
func (t *rowTemplate) write(w io.Writer, rows []render.Row) error {
	var b strings.Builder
	for i := range rows {
		text, err := t.text(fields(&rows[i]))
		if err != nil {
			return err
		}
		b.WriteString(text)
		if !strings.HasSuffix(text, "\n") {
			b.WriteByte('\n')
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}
