package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"weft/control/controltest"
)

// Every object that can be read has a strong ETag; every write to such a path honours If-Match.
func TestPreconditions_AtEveryEndpoint(t *testing.T) {
	w := newEverything(t)
	tested := 0
	for _, r := range rows(t) {
		if r.Method == http.MethodGet || r.Scheme != "apiToken" {
			continue
		}
		what, path := r.Method+" "+r.Path, w.url(r)
		write := func(name, tag string) reply {
			return w.send(t, request{method: r.Method, path: path, token: w.tokens[r.Scheme], body: w.goodBody(t, r), header: map[string]string{name: tag}})
		}
		before := w.revision(t)
		if !r.HasGet {
			refused(t, what+" with If-Match", write("If-Match", `"x"`), http.StatusBadRequest)
		} else {
			get := w.send(t, request{method: "GET", path: path, token: w.tokens[r.Scheme]})
			tag := get.header.Get("ETag")
			if get.status != http.StatusOK || len(tag) < 20 || !strings.HasPrefix(tag, `"`) {
				t.Errorf("GET %s: status %d, ETag %s", r.Path, get.status, tag)
			}
			if r := w.send(t, request{method: "GET", path: path, token: w.tokens[r.Scheme], header: map[string]string{"If-None-Match": `"other", W/` + tag}}); r.status != http.StatusNotModified {
				t.Errorf("%s If-None-Match: status %d", what, r.status)
			}
			if r := w.send(t, request{method: "GET", path: path, token: w.tokens[r.Scheme], header: map[string]string{"If-None-Match": `"other"`}}); r.status != http.StatusOK {
				t.Errorf("%s If-None-Match other: status %d", what, r.status)
			}
			if r.Path == accountPath+"/cfd_tunnel/{id}/connections" {
				continue // it writes nothing
			}
			for _, stale := range []string{`"stale"`, `W/` + tag, strings.Trim(tag, `"`), `"a", "b"`} {
				a := write("If-Match", stale)
				refused(t, what+" If-Match "+stale, a, http.StatusPreconditionFailed)
				if len(a.env.Errors) > 0 && (a.env.Errors[0].Code != 1012 || !strings.Contains(a.env.Errors[0].Hint, "read it again")) {
					t.Errorf("%s: %s", what, a.raw)
				}
			}
			refused(t, what+" If-None-Match *", write("If-None-Match", "*"), http.StatusPreconditionFailed)
			tested++
		}
		if after := w.revision(t); after != before {
			t.Errorf("%s: the revision went from %d to %d", what, before, after)
		}
	}
	if tested < 20 {
		t.Errorf("only %d writes have something to read", tested)
	}
}

func TestPreconditions_LastOneLoses(t *testing.T) {
	w := newEverything(t)
	path := w.fill("~/infrastructure/targets/{id}")
	get := func() string {
		return w.send(t, request{method: "GET", path: path, token: w.s.Token}).header.Get("ETag")
	}
	put := func(hostname, tag string) reply {
		q := request{method: "PUT", path: path, token: w.s.Token, body: `{"hostname":"` + hostname + `","ip":{"ipv4":{"ip_addr":"10.9.0.9"}}}`}
		if tag != "" {
			q.header = map[string]string{"If-Match": tag}
		}
		return w.send(t, q)
	}
	tag := get()
	if again := get(); again != tag {
		t.Errorf("the tag changes by itself: %s, %s", tag, again)
	}
	if r := put("one", tag); r.status != http.StatusOK {
		t.Fatalf("with the current tag: %s", r.raw)
	}
	if r := put("two", tag); r.status != http.StatusPreconditionFailed {
		t.Errorf("with the tag of before: %s", r.raw)
	}
	for _, always := range []func() string{func() string { return "" }, func() string { return "*" }, func() string { return `"other", ` + get() }} {
		if r := put("three", always()); r.status != http.StatusOK {
			t.Errorf("a condition that holds: %s", r.raw)
		}
	}
	gone := w.fill("~/infrastructure/targets/{id}", "id", "no")
	refused(t, "what is not there", w.send(t, request{method: "DELETE", path: gone, token: w.s.Token, header: map[string]string{"If-Match": "*"}}), http.StatusNotFound)
	if r := w.send(t, request{method: "GET", path: path, token: w.s.Token, header: map[string]string{"If-Match": `"x"`}}); r.status != http.StatusPreconditionFailed {
		t.Errorf("a conditional GET: %s", r.raw)
	}
}

// Of many that read the same state and write at once, one wins; there is no moment between the check and the write.
func TestPreconditions_Race(t *testing.T) {
	s := controltest.New(t)
	w := &everything{s: s, c: newRawClient(t, s)}
	id := s.Target("start", "10.0.0.1", s.DefaultVNET())
	path := s.Account("/infrastructure/targets/" + id)
	for range 5 {
		tag := w.send(t, request{method: "GET", path: path, token: s.Token}).header.Get("ETag")
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				r := w.send(t, request{
					method: "PUT", path: path, token: s.Token, header: map[string]string{"If-Match": tag},
					body: fmt.Sprintf(`{"hostname":"w-%d","ip":{"ipv4":{"ip_addr":"10.0.0.1"}}}`, i),
				})
				switch r.status {
				case http.StatusOK:
					won.Add(1)
				case http.StatusPreconditionFailed:
					lost.Add(1)
				default:
					t.Errorf("status %d: %s", r.status, r.raw)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 11 {
			t.Errorf("%d won, %d lost", won.Load(), lost.Load())
		}
	}
}
