package sdk_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	cf0 "github.com/cloudflare/cloudflare-go"
	cf "github.com/cloudflare/cloudflare-go/v6"
)

var update = flag.Bool("update", false, "write docs/sdk.md anew")

const sdkDocument = "../../docs/sdk.md"

// TestMain runs the tests and then compares what they had success with to what the SDKs have: each method and each filter
// of the lists is driven, or stands in a table with the reason.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && wholeRun() {
		if err := checkCoverage(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// wholeRun reports whether every test ran.
func wholeRun() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz", "test.bench"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}

// sdkMethod is a method of an SDK that makes a request.
type sdkMethod struct {
	sdk   string // "v0" or "v6"
	group string // of v6 the way to it from the client ("ZeroTrust.Access.Users"), of v0 its file without ".go"
	name  string
	key   string // as the witness calls it
	typ   reflect.Type
}

// methodsV0 are those of v0's files about what Weft has, and about what lies beside it.
func methodsV0() (all []sdkMethod) {
	t := reflect.TypeFor[*cf0.API]()
	for i := range t.NumMethod() {
		m := t.Method(i)
		file, _ := runtime.FuncForPC(m.Func.Pointer()).FileLine(m.Func.Pointer())
		file = filepath.Base(file)
		if slices.ContainsFunc(filesV0, func(prefix string) bool { return strings.HasPrefix(file, prefix) }) {
			all = append(all, sdkMethod{sdk: "v0", group: strings.TrimSuffix(file, ".go"), name: m.Name, key: "API." + m.Name, typ: m.Type})
		}
	}
	return all
}

// methodsV6 are those of the services under some of the client's. A list's method that follows the pages by itself is the
// same as the one that it calls.
func methodsV6() (all []sdkMethod) {
	client := reflect.TypeFor[cf.Client]()
	for i := range client.NumField() {
		if f := client.Field(i); slices.Contains(servicesV6, f.Name) {
			all = append(all, methodsOf(f.Name, f.Type)...)
		}
	}
	return all
}

func methodsOf(path string, t reflect.Type) (all []sdkMethod) {
	service := t.Elem()
	pkg := service.PkgPath()[strings.LastIndexByte(service.PkgPath(), '/')+1:]
	for i := range t.NumMethod() {
		m := t.Method(i)
		if strings.HasSuffix(m.Name, "AutoPaging") {
			continue
		}
		all = append(all, sdkMethod{sdk: "v6", group: path, name: m.Name, key: pkg + "." + service.Name() + "." + m.Name, typ: m.Type})
	}
	for i := range service.NumField() {
		f := service.Field(i)
		if f.Type.Kind() == reflect.Pointer && strings.HasSuffix(f.Type.Elem().Name(), "Service") {
			all = append(all, methodsOf(path+"."+f.Name, f.Type)...)
		}
	}
	return all
}

// filters are the fields of a method's parameters that go into the query, as the tests note them.
func (m *sdkMethod) filters() []string {
	names := map[string]bool{}
	for i := range m.typ.NumIn() {
		if p := m.typ.In(i); p.Kind() == reflect.Struct && i > 1 {
			for f := range fieldsOf(p) {
				names[p.String()+"."+f] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// reason is why a method is not driven, "" for none: by its own name, or by that of a group it is in.
func (m *sdkMethod) reason(used map[string]bool) string {
	for name := m.group + "." + m.name; name != ""; {
		if why, ok := notDriven[name]; ok {
			used[name] = true
			return why
		}
		name = name[:max(0, strings.LastIndexByte(name, '.'))]
	}
	return ""
}

// checkCoverage compares, and writes or compares the document.
func checkCoverage() error {
	all := append(methodsV6(), methodsV0()...)
	slices.SortStableFunc(all, func(a, b sdkMethod) int {
		return cmp.Or(strings.Compare(b.sdk, a.sdk), strings.Compare(a.group, b.group))
	})
	used := map[string]bool{}
	var wrong []error
	for _, m := range all {
		tests, why := seen.methods[m.key], m.reason(used)
		switch {
		case len(tests) == 0 && why == "":
			wrong = append(wrong, fmt.Errorf("%s: no test has success with %s.%s, and no reason is given", m.sdk, m.group, m.name))
		case len(tests) > 0 && why != "":
			wrong = append(wrong, fmt.Errorf("%s: %s.%s has success, so it is not %q", m.sdk, m.group, m.name, why))
		}
		if len(tests) == 0 {
			continue
		}
		for _, f := range m.filters() {
			_, excused := noEffect[excuse(f)]
			used[excuse(f)] = true
			switch driven := len(seen.filters[f]) > 0; {
			case !driven && !excused:
				wrong = append(wrong, fmt.Errorf("no test shows an effect of %s", f))
			case driven && excused:
				wrong = append(wrong, fmt.Errorf("%s has an effect, so it is not %q", f, noEffect[excuse(f)]))
			}
		}
	}
	for _, table := range []map[string]string{notDriven, noEffect} {
		for name := range table {
			if !used[name] {
				wrong = append(wrong, fmt.Errorf("the SDKs have no %s, or none of its methods is driven", name))
			}
		}
	}
	for what := range seen.unknown {
		wrong = append(wrong, fmt.Errorf("the API's description does not have %s", what))
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	return compare(document(all))
}

// excuse is by what noEffect names a field: v0's cursors are the same in every list.
func excuse(field string) string {
	if name := field[strings.LastIndexByte(field, '.')+1:]; strings.HasPrefix(field, "cloudflare.") && strings.HasPrefix(name, "Cursor") {
		return "cloudflare." + name
	}
	return field
}

func compare(text string) error {
	if *update {
		return os.WriteFile(sdkDocument, []byte(text), 0o644)
	}
	old, err := os.ReadFile(sdkDocument)
	if err != nil {
		return err
	}
	if string(old) != text {
		return fmt.Errorf("%s is not what the tests drive; write it anew: go test . -update", sdkDocument)
	}
	return nil
}
