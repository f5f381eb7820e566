package mdm

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"weft/agent/fault"
)

// put adds a value, and refuses the second of one name: readers would differ about which counts.
func put(m map[string]entry, key string, e entry) error {
	switch _, twice := m[key]; {
	case twice:
		return fmt.Errorf("key %q stands twice", fault.Clip(key))
	case len(m) >= maxKeys:
		return fmt.Errorf("more than %d keys", maxKeys)
	case len(key) > maxString || len(e.text) > maxString:
		return fmt.Errorf("key %q: longer than %d bytes", fault.Clip(key), maxString)
	}
	m[key] = e
	return nil
}

// parseJSON reads one flat object.
func parseJSON(text string) (map[string]entry, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	m := map[string]entry{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		value, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, errors.New("a key is not text")
		}
		var e entry
		switch v := value.(type) {
		case string:
			e = entry{kind: "string", text: v}
		case json.Number:
			e = entry{kind: "integer", text: v.String()}
		case bool:
			e = entry{kind: "boolean", text: strconv.FormatBool(v), truth: v}
		default:
			return nil, fmt.Errorf("key %q: want text, a number, true or false", fault.Clip(name))
		}
		if err := put(m, name, e); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return m, nil
}

// plist reads the tokens of a property list.
type plist struct{ dec *xml.Decoder }

// parsePlist reads a <dict> of texts, numbers and truths, alone or in a <plist>.
func parsePlist(text string) (map[string]entry, error) {
	p := plist{xml.NewDecoder(strings.NewReader(text))}
	start, err := p.start()
	if err != nil {
		return nil, err
	}
	wrapped := start.Name.Local == "plist"
	if wrapped {
		if start, err = p.start(); err != nil {
			return nil, err
		}
	}
	if start.Name.Local != "dict" {
		return nil, fmt.Errorf("<%s> where <dict> should be", fault.Clip(start.Name.Local))
	}
	m, err := p.dict()
	if err != nil {
		return nil, err
	}
	if wrapped {
		if err := p.end("plist"); err != nil {
			return nil, err
		}
	}
	if t, err := p.next(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something follows the <dict>: %v", t)
	}
	return m, nil
}

// next returns the next token that means something.
func (p plist) next() (xml.Token, error) {
	for {
		t, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.Comment, xml.ProcInst:
			continue
		case xml.Directive:
			if strings.Contains(string(t), "[") { // an internal subset could define entities
				return nil, errors.New("a DOCTYPE with declarations is not accepted")
			}
			continue
		case xml.CharData:
			if strings.TrimSpace(string(t)) == "" {
				continue
			}
			return nil, fmt.Errorf("text outside an element: %q", fault.Clip(strings.TrimSpace(string(t))))
		default:
			return t, nil
		}
	}
}

func (p plist) start() (xml.StartElement, error) {
	t, err := p.next()
	if err != nil {
		return xml.StartElement{}, noEOF(err)
	}
	s, ok := t.(xml.StartElement)
	if !ok {
		return s, errors.New("an element ends where one should begin")
	}
	return s, nil
}

func (p plist) end(name string) error {
	t, err := p.next()
	if err != nil {
		return noEOF(err)
	}
	if e, ok := t.(xml.EndElement); !ok || e.Name.Local != name {
		return fmt.Errorf("want </%s>", name)
	}
	return nil
}

func (p plist) dict() (map[string]entry, error) {
	m := map[string]entry{}
	for {
		t, err := p.next()
		if err != nil {
			return nil, noEOF(err)
		}
		switch t := t.(type) {
		case xml.EndElement:
			return m, nil // the decoder checks that it is the dict's
		case xml.StartElement:
			if t.Name.Local != "key" {
				return nil, fmt.Errorf("<%s> where <key> should be", fault.Clip(t.Name.Local))
			}
			key, err := p.text()
			if err != nil {
				return nil, err
			}
			e, err := p.value(key)
			if err != nil {
				return nil, err
			}
			if err := put(m, key, e); err != nil {
				return nil, err
			}
		}
	}
}

func (p plist) value(key string) (entry, error) {
	s, err := p.start()
	if err != nil {
		return entry{}, err
	}
	text, err := p.text()
	if err != nil {
		return entry{}, fmt.Errorf("key %q: %w", fault.Clip(key), err)
	}
	switch kind := s.Name.Local; kind {
	case "string", "integer":
		return entry{kind: kind, text: text}, nil
	case "true", "false":
		if text != "" {
			return entry{}, fmt.Errorf("key %q: <%s> has a content", fault.Clip(key), kind)
		}
		return entry{kind: "boolean", text: kind, truth: kind == "true"}, nil
	default:
		return entry{}, fmt.Errorf("key %q: <%s> is not accepted", fault.Clip(key), fault.Clip(kind))
	}
}

// text reads up to the end of the element that has begun; another element in it is an error.
func (p plist) text() (string, error) {
	var b strings.Builder
	for {
		t, err := p.dec.Token()
		if err != nil {
			return "", noEOF(err)
		}
		switch t := t.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.Comment:
		case xml.EndElement:
			return b.String(), nil
		default:
			return "", errors.New("an element inside a value")
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
