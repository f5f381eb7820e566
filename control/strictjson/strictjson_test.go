package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"weft/control/strictjson"
	"weft/internal/kind"
)

type body struct {
	Name  string            `json:"name"`
	Items []struct{ N int } `json:"items"`
	Tags  map[string]string `json:"tags"`
	Own   []own             `json:"own"`
}

// own refuses all but 1.
type own struct{}

func (*own) UnmarshalJSON(raw []byte) error {
	if string(raw) != "1" {
		return kind.Field("/x", "own words")
	}
	return nil
}

func TestDecode(t *testing.T) {
	for _, tc := range []struct {
		name, in      string
		ignore        []string
		pointer, says string // says "" means accepted
	}{
		{"good", `{"name":"a","items":[{"n":1}]}`, nil, "", ""},
		{"surrounded by space", " \n{}\t", nil, "", ""},
		{"noise", `{"name":"a","noise":{"x":[]}}`, []string{"noise"}, "", ""},
		{"noise must be JSON all the same", `{"noise":{"x":1,"x":2}}`, []string{"noise"}, "/noise/x", "twice"},
		{"noise deeper down is no noise", `{"items":[{"noise":1}]}`, []string{"noise"}, "/items/0/noise", "unknown"},
		{"unknown below a slash", `{"items":[{"n":1},{"a/b":1}]}`, nil, "/items/1/a~1b", "unknown"},
		{"nothing", "", nil, "", "needs a JSON body"},
		{"unknown", `{"nam":"a"}`, nil, "/nam", "unknown"},
		{"twice", `{"name":"a","name":"b"}`, nil, "/name", "twice"},
		{"twice by escape", `{"name":"a","n\u0061me":"b"}`, nil, "/name", "twice"},
		{"twice deeper down", `{"items":[{"n":1},{"n":1,"N":2}]}`, nil, "/items/1/N", "twice"},
		{"a slash in a key", `{"a/b~c":1,"a/b~c":1}`, nil, "/a~1b~0c", "twice"},
		{"wrong type", `{"items":[{"n":1},{"n":"x"}]}`, nil, "/items/1/n", "does not fit"},
		{"wrong type of the whole", `[]`, nil, "", "does not fit"},
		{"unknown deeper down", `{"items":[{"n":1},{"n":1,"m":2}]}`, nil, "/items/1/m", "unknown"},
		{"an object in place of an array", `{"items":{"n":1}}`, nil, "/items", "does not fit"},
		{"wrong type in a map", `{"tags":{"a":"b","c/d":5}}`, nil, "/tags/c~1d", "does not fit"},
		{"a decoder of its own", `{"name":"a","own":[1,2]}`, nil, "/own/1/x", "own words"},
		{"half a pair", `{"name":"\\\ud800"}`, nil, "", "surrogate"},
		{"the halves in the wrong order", `{"name":"\udc00\ud800"}`, nil, "", "surrogate"},
		{"half a pair in a key", `{"tags":{"\ud83d":"a"}}`, nil, "", "surrogate"},
		{"a pair", `{"name":"\\\ud83d\ude00\\ud800"}`, nil, "", ""},
		{"more", `{} {}`, nil, "", "more after"},
		{"cut off", `{"name":"a"`, nil, "", "not valid JSON"},
		{"too deep", strings.Repeat("[", 50) + strings.Repeat("]", 50), nil, strings.Repeat("/0", 32), "nested"},
		{"bad UTF-8", "{\"name\":\"\xff\"}", nil, "", "UTF-8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b body
			err := strictjson.Decode([]byte(tc.in), &b, tc.ignore...)
			if tc.says == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if !kind.Is(err, kind.Invalid) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error is %v", err)
			}
			if tc.pointer != pointer(err) {
				t.Errorf("pointer is %q, want %q", pointer(err), tc.pointer)
			}
		})
	}
}

func pointer(err error) string {
	if k, ok := err.(*kind.Error); ok { //nolint:errorlint // Decode returns it bare
		return k.Pointer
	}
	return ""
}

func TestDecode_IgnoresInEachElement(t *testing.T) {
	var all []body
	if err := strictjson.Decode([]byte(`[{"name":"a","id":1},{"id":2}]`), &all, "id"); err != nil || len(all) != 2 || all[0].Name != "a" {
		t.Errorf("%+v, %v", all, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"a","items":[{"n":1}],"noise":null}`))
	f.Add([]byte(`[{"name":"a"},5,null]`))
	f.Add([]byte(`{"a":{"b":[1e400,"\u0000"]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b body
		err := strictjson.Decode(raw, &b, "noise")
		if err != nil {
			if !kind.Is(err, kind.Invalid) {
				t.Fatalf("error of kind %q: %v", kind.Of(err), err)
			}
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("accepted %q", raw)
		}
	})
}
