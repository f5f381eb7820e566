// Package openapi writes an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0) from a table of operations,
// with the schemas of their bodies taken from Go types by reflection. It knows the envelope that every answer has, and
// nothing of what the operations do.
//
// Fields are described by their json tag and, where that says too little, by `openapi:"..."`: required, optional, null,
// enum=a|b, min=n, max=n, maxlen=n, format=f, and orstring for a list whose elements may also be bare strings.
package openapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Info is about the document as a whole.
type Info struct {
	Title, Version, Description string
	Tags                        []Tag
}

// Tag groups operations.
type Tag struct{ Name, Description string }

// The ways in which a result is a list.
const (
	NoList = ""
	Whole  = "whole"  // all of it in one answer
	Paged  = "paged"  // by page and per_page
	Cursor = "cursor" // by cursor and per_page
	After  = "after"  // by cursor and limit, the cursor in two places of the answer
)

// Operation is one method of one path.
type Operation struct {
	Method, Path string
	Summary      string
	Description  string
	Tag          string
	// Security names the security scheme; "" for none.
	Security string
	// Permission is what a credential needs; "" for nothing beyond itself.
	Permission string
	// Stability is "stable", "beta" or "internal": between Weft's own programs, without a promise.
	Stability string
	Query     []Parameter
	// Request is a value of the body's type, nil for none.
	Request any
	// RequestOptional says that the body may be missing.
	RequestOptional bool
	// Result is a value of the result's type (of an element, for lists and streams); nil: the result is null.
	Result any
	List   string
	// Stream says that the answer is newline-delimited JSON.
	Stream bool
	// Bare says that the answer is the value itself, without the envelope.
	Bare bool
	// Media is the type of a bare answer that is not JSON; "" for one that is.
	Media string
}

// Parameter is one of the query.
type Parameter struct {
	Name string
	// Type is string, integer, boolean, time, address, prefix.
	Type     string
	Repeated bool
	Required bool
	Enum     []string
	What     string
}

// ID is the operation's name, made of method and path; Build numbers those that are alike.
func (o *Operation) ID() string {
	path := o.Path
	for _, prefix := range []string{"/client/v4/accounts/{account}/", "/client/v4/"} { // the same everywhere
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			path = rest
			break
		}
	}
	words := strings.FieldsFunc(path, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') })
	var b strings.Builder
	b.WriteString(strings.ToLower(o.Method))
	for _, w := range words {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// Build writes the document.
func Build(info Info, rules Rules, schemes map[string]any, ops []Operation) ([]byte, error) {
	s := &schemas{rules: rules, named: map[string]Schema{}, types: map[string]reflect.Type{}}
	paths, ids := map[string]map[string]any{}, map[string]int{}
	for i := range ops {
		o := &ops[i]
		if paths[o.Path] == nil {
			paths[o.Path] = map[string]any{}
		}
		made := s.operation(o)
		if ids[o.ID()]++; ids[o.ID()] > 1 { // two spellings of one path
			made["operationId"] = fmt.Sprint(o.ID(), ids[o.ID()])
		}
		paths[o.Path][strings.ToLower(o.Method)] = made
	}
	if s.err != nil {
		return nil, s.err
	}
	s.named["Error"] = errorSchema()
	var tags []any
	for _, t := range info.Tags {
		tags = append(tags, map[string]any{"name": t.Name, "description": t.Description})
	}
	raw, err := json.Marshal(map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]any{"title": info.Title, "version": info.Version, "description": info.Description, "license": map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"servers": []any{map[string]any{"url": "/"}},
		"tags":    tags,
		"paths":   paths,
		"components": map[string]any{
			"schemas": s.named, "securitySchemes": schemes,
			"responses": map[string]any{
				"Error": map[string]any{
					"description": "A refusal: HTTP status, an integer code, a message, and, where a field is to blame, a pointer to it (RFC 6901).",
					"content":     content(Schema{"$ref": "#/components/schemas/Error"}),
				},
				"NotModified": map[string]any{"description": "What If-None-Match names is still what is there."},
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("render document: %w", err)
	}
	return raw, nil
}

var pathParameter = regexp.MustCompile(`\{([^}]+)\}`)

func (s *schemas) operation(o *Operation) map[string]any {
	m := map[string]any{
		"operationId": o.ID(), "summary": o.Summary, "tags": []any{o.Tag},
		"x-weft-permission": o.Permission, "x-weft-stability": o.Stability,
		"responses": s.responses(o),
	}
	if o.Description != "" {
		m["description"] = o.Description
	}
	if o.Security != "" {
		m["security"] = []any{map[string]any{o.Security: []any{}}}
	} else {
		m["security"] = []any{}
	}
	var parameters []any
	for _, name := range pathParameter.FindAllStringSubmatch(o.Path, -1) {
		parameters = append(parameters, map[string]any{"name": name[1], "in": "path", "required": true, "schema": Schema{"type": "string"}})
	}
	parameters = append(parameters, s.query(o)...)
	if parameters != nil {
		m["parameters"] = parameters
	}
	if o.Request != nil {
		body := s.of(reflect.TypeOf(o.Request), request)
		if o.RequestOptional { // null is none
			body = nullable(body)
		}
		m["requestBody"] = map[string]any{"required": !o.RequestOptional, "content": content(body)}
	}
	return m
}

func content(schema Schema) map[string]any {
	return map[string]any{"application/json": map[string]any{"schema": schema}}
}

func (s *schemas) query(o *Operation) (out []any) {
	query := slices.Clone(o.Query)
	switch o.List {
	case Paged:
		query = append(query, Parameter{Name: "page", Type: "integer", What: "from 1; past the end the result is empty"},
			Parameter{Name: "per_page", Type: "integer", What: "1 to 1000; 50 by default, 1000 for routes"})
	case Cursor:
		query = append(query, Parameter{Name: "cursor", What: "of the answer before"}, Parameter{Name: "per_page", Type: "integer", What: "1 to 1000; 50 by default"})
	}
	if o.List == After {
		query = append(query, Parameter{Name: "cursor", What: "of the answer before"}, Parameter{Name: "limit", Type: "integer", What: "1 to 1000"})
	}
	for _, p := range query {
		schema := Schema{"type": "string"}
		switch p.Type {
		case "integer", "boolean":
			schema["type"] = p.Type
		case "time":
			schema["format"] = "date-time"
		}
		if len(p.Enum) > 0 {
			schema["enum"] = p.Enum
		}
		m := map[string]any{"name": p.Name, "in": "query"}
		if p.Repeated {
			schema = Schema{"type": "array", "items": schema}
			m["explode"] = true
		}
		if p.Required {
			m["required"] = true
		}
		if p.What != "" {
			m["description"] = p.What
		}
		m["schema"] = schema
		out = append(out, m)
	}
	if o.Method == "GET" && !o.Stream {
		return append(out, header("If-None-Match", "an ETag that the caller has; 304 when it is still that one"))
	}
	if o.Method == "PUT" || o.Method == "PATCH" || o.Method == "DELETE" {
		return append(out, header("If-Match", "the ETag of what is to be changed; 412 when it is another one by now, and nothing is changed"))
	}
	return out
}

func header(name, what string) map[string]any {
	return map[string]any{"name": name, "in": "header", "description": what, "schema": Schema{"type": "string"}}
}

func (s *schemas) responses(o *Operation) map[string]any {
	ok := map[string]any{"description": "Success."}
	switch {
	case o.Stream:
		ok["content"] = map[string]any{"application/x-ndjson": map[string]any{"schema": s.result(o)}}
	case o.Media != "":
		ok["content"] = map[string]any{o.Media: map[string]any{}}
	case o.Bare:
		ok["content"] = content(s.result(o))
	default:
		ok["content"] = content(s.envelope(o))
	}
	m := map[string]any{"200": ok, "default": map[string]any{"$ref": "#/components/responses/Error"}}
	if o.Method == "GET" && !o.Stream {
		ok["headers"] = map[string]any{"ETag": map[string]any{"description": "a strong validator of the result (RFC 9110 section 8.8.3)", "schema": Schema{"type": "string"}}}
		m["304"] = map[string]any{"$ref": "#/components/responses/NotModified"}
	}
	return m
}

func (s *schemas) result(o *Operation) Schema {
	if o.Result == nil {
		return Schema{"type": "null"}
	}
	return s.of(reflect.TypeOf(o.Result), answer)
}

func (s *schemas) envelope(o *Operation) Schema {
	result := s.result(o)
	required := []any{"success", "errors", "messages", "result"}
	properties := map[string]any{
		"success":  Schema{"const": true},
		"errors":   Schema{"type": "array", "maxItems": 0},
		"messages": Schema{"type": "array", "maxItems": 0},
	}
	if o.List != NoList {
		result = Schema{"type": "array", "items": result}
	}
	switch o.List {
	case Paged:
		properties["result_info"] = s.named1("ResultInfo", Schema{
			"type": "object", "required": []any{"page", "per_page", "count", "total_count", "total_pages"},
			"properties": map[string]any{"page": count(1), "per_page": count(1), "count": count(0), "total_count": count(0), "total_pages": count(0)},
		})
		required = append(required, "result_info")
	case Cursor:
		properties["result_info"] = s.named1("CursorInfo", Schema{
			"type": "object", "required": []any{"count", "cursor", "per_page"},
			"properties": map[string]any{
				"count": count(0), "cursor": Schema{"type": "string"}, "per_page": count(1), "total_count": Schema{"type": []any{"integer", "null"}},
				"cursors": Schema{"type": "object", "properties": map[string]any{"after": Schema{"type": "string"}}},
			},
		})
		required = append(required, "result_info")
	}
	if o.List == After {
		properties["result_info"] = s.named1("AfterInfo", Schema{
			"type": "object", "required": []any{"count", "cursor", "cursors", "per_page"},
			"properties": map[string]any{"count": count(0), "per_page": count(1), "cursor": Schema{"type": "string"}, "cursors": Schema{
				"type": "object", "required": []any{"after"}, "properties": map[string]any{"after": Schema{"type": "string"}},
			}},
		})
		required = append(required, "result_info")
	}
	properties["result"] = result
	return Schema{"type": "object", "required": required, "properties": properties}
}

func count(least int) Schema { return Schema{"type": "integer", "minimum": least} }

// named1 adds a schema that no type has.
func (s *schemas) named1(name string, schema Schema) Schema {
	s.named[name] = schema
	return Schema{"$ref": "#/components/schemas/" + name}
}

func errorSchema() Schema {
	return Schema{
		"type": "object", "required": []any{"success", "errors", "messages", "result"},
		"properties": map[string]any{
			"success": Schema{"const": false}, "messages": Schema{"type": "array", "maxItems": 0}, "result": Schema{"type": "null"},
			"errors": Schema{"type": "array", "minItems": 1, "items": Schema{
				"type": "object", "required": []any{"code", "message", "kind"},
				"properties": map[string]any{
					"code": Schema{"type": "integer", "minimum": 1000}, "message": Schema{"type": "string", "minLength": 1},
					"kind": Schema{"enum": []any{"invalid", "unauthenticated", "denied", "not_found", "conflict", "unavailable", "timeout", "limit", "internal"}},
					"hint": Schema{"type": "string", "description": "what to do next"},
					"source": Schema{
						"type": "object", "required": []any{"pointer"},
						"properties": map[string]any{"pointer": Schema{"type": "string", "description": "the field that is to blame (RFC 6901)"}},
					},
				},
			}},
		},
	}
}
