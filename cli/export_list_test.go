package cli

import "weft/cli/render"

// Seams for tests of the list.
var (
	SplitWords = splitWords
	CurlLine   = curlLine
	Unfinished = isUnfinished
)

// PressKeys has a picker with the given choices read keys, and returns what was typed and how many fit.
func PressKeys(b []byte, choices ...string) (query string, found int) {
	var p picker
	for _, c := range choices {
		p.all = append(p.all, choice{name: c, text: c})
	}
	p.filter()
	isUnfinished(b)
	for _, k := range parseKeys(b) {
		if p.press(k) != goOn {
			break
		}
		p.view(20, 4)
	}
	return p.query, len(p.found)
}

// CheckAttribute checks one value of --attribute.
func CheckAttribute(s string) error {
	f := targetFilter{attributes: []string{s}}
	_, err := f.query()
	return err
}

// Template applies the template of --output to a row.
func Template(text string, r *render.Row) (string, error) {
	t, err := parseRowTemplate(text)
	if err != nil {
		return "", err
	}
	return t.text(fields(r))
}
