package sdk_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	cf0 "github.com/cloudflare/cloudflare-go"
	"github.com/cloudflare/cloudflare-go/v6/option"
)

// Filters are driven by rows: parameters, and what a list is with them. A row proves more than that: each of its
// parameters is taken away once, and the list must then be another one. A filter that the server ignores cannot pass.

const (
	longAgo = "2001-01-01T00:00:00Z"
	farOff  = "2999-01-01T00:00:00Z"
)

var (
	past   = at(longAgo)
	future = at(farOff)
)

func at(stamp string) time.Time {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		panic(err)
	}
	return t
}

// row is a set of filters and the list that they leave, in the order of the answer, joined by spaces.
type row[P any] struct {
	what   string
	params P
	want   string
	also   with
}

// with are values of the query for which v6 has no field.
type with []option.RequestOption

// lister asks for one page of a list.
type lister[P any] func(params P, also with) ([]string, error)

// effects drives filters and notes which had an effect.
func effects[P any](t *testing.T, list lister[P], rows ...row[P]) {
	t.Helper()
	read := func(params P, also with) string {
		keys, err := list(params, also)
		if err != nil {
			return "refused: " + err.Error()
		}
		return strings.Join(keys, " ")
	}
	for _, r := range rows {
		if got := read(r.params, r.also); got != r.want {
			t.Errorf("%s: %q, want %q", r.what, got, r.want)
			continue
		}
		for _, name := range present(r.params) {
			rest := r.params
			clearField(&rest, name)
			if got := read(rest, r.also); got == r.want {
				t.Errorf("%s: without %s the list is the same", r.what, name)
				continue
			}
			proved[P](t, name)
		}
	}
}

// proved notes that a test saw the effect of a field of parameters.
func proved[P any](t *testing.T, fields ...string) {
	t.Helper()
	for _, f := range fields {
		if !fieldsOf(reflect.TypeFor[P]())[f] {
			t.Fatalf("%s has no field %s", reflect.TypeFor[P](), f)
		}
		add(seen.filters, reflect.TypeFor[P]().String()+"."+f, t.Name())
	}
}

// keys are the names of a page's objects.
func keys[T any](list []T, err error, name func(T) string) ([]string, error) {
	var out []string
	for _, x := range list {
		out = append(out, name(x))
	}
	return out, err
}

// eachField calls do with every field that goes into the query, by its path, such as "Actor.Email".
func eachField(path string, v reflect.Value, do func(path string, field reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch {
		case f.Anonymous: // v0's pages
			eachField(path, v.Field(i), do)
		case strings.HasPrefix(f.Type.Name(), "Field["): // v6
			if _, ok := f.Tag.Lookup("query"); !ok {
				continue
			}
			value := v.Field(i).FieldByName("Value")
			if value.Kind() == reflect.Struct && value.Type() != reflect.TypeFor[time.Time]() {
				eachField(path+f.Name+".", value, do)
				continue
			}
			do(path+f.Name, v.Field(i))
		default:
			if inQuery(v.Type(), f) {
				do(path+f.Name, v.Field(i))
			}
		}
	}
}

// inQuery reports whether v0 puts a field into the query.
func inQuery(of reflect.Type, f reflect.StructField) bool {
	switch of {
	case reflect.TypeFor[cf0.AuditLogFilter](), reflect.TypeFor[cf0.AccessAuditLogFilterOptions](): // these do it by hand
		return true
	}
	tag, ok := f.Tag.Lookup("url")
	return ok && tag != "-"
}

// fieldsOf are the fields of parameters that go into the query.
func fieldsOf(t reflect.Type) map[string]bool {
	names := map[string]bool{}
	eachField("", reflect.New(t).Elem(), func(name string, _ reflect.Value) { names[name] = true })
	return names
}

// present are those that are set.
func present[P any](params P) []string {
	var names []string
	eachField("", reflect.ValueOf(&params).Elem(), func(name string, f reflect.Value) {
		if !f.IsZero() {
			names = append(names, name)
		}
	})
	return names
}

func clearField[P any](params *P, name string) {
	eachField("", reflect.ValueOf(params).Elem(), func(n string, f reflect.Value) {
		if n == name {
			f.SetZero()
		}
	})
}
