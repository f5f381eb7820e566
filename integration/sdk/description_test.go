package sdk_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"weft/control/controltest"
)

// description is what the control plane says of its operations (GET /openapi.json), as far as it is compared here.
type description struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Name string `json:"name"`
			In   string `json:"in"`
		} `json:"parameters"`
	} `json:"paths"`
}

var (
	theDescription     *description
	theDescriptionOnce sync.Once
)

// describedBy reads the description, once: it is the same for every server.
func describedBy(t *testing.T, s *controltest.Server) *description {
	t.Helper()
	theDescriptionOnce.Do(func() {
		raw, err := s.Control.OpenAPI()
		if err != nil {
			t.Fatal(err)
		}
		d := &description{}
		if err := json.Unmarshal(raw, d); err != nil {
			t.Fatal(err)
		}
		theDescription = d
	})
	return theDescription
}

// undescribed are parameters that SDKs send and that mean nothing.
var undescribed = map[string]string{
	"ApplicationID": "v0 puts it into the query as well as into the path",
}

// unknown are the parameters of a request that the description of its operation does not name.
func (d *description) unknown(r *http.Request) (names []string) {
	segments := strings.Split(r.URL.EscapedPath(), "/")
	known := map[string]bool{}
	best := -1
	for template, item := range d.Paths {
		o, ok := item[strings.ToLower(r.Method)]
		if n := literals(strings.Split(template, "/"), segments); ok && n > best {
			best = n
			clear(known)
			for _, p := range o.Parameters {
				known[p.Name] = p.In == "query"
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		if _, excused := undescribed[name]; !known[name] && !excused {
			names = append(names, name)
		}
	}
	return names
}

// literals counts the segments of a path that a template names, -1 if it does not fit.
func literals(template, path []string) (n int) {
	if len(template) != len(path) {
		return -1
	}
	for i, s := range template {
		switch {
		case s == path[i]:
			n++
		case !strings.HasPrefix(s, "{"):
			return -1
		}
	}
	return n
}
