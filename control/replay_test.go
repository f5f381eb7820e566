package control_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/control/controltest"
)

// TestReplay sends what others' clients were recorded to send, in their order and form, and compares every answer with
// what those clients depend on. Each file under testdata/replay is one life of one resource with one client:
//
//	client tf4                    whose headers are sent (see clients)
//
//	POST ~/access/apps            a request, its body below it
//	{"name":"x", ...}
//	= 200                         the status; "list" behind it: result is a list with result_info, "bare": one without
//	{"id":"${app}", ...}          the result: exactly these keys
//
//	GET ~/access/apps/${app}
//	= 404 no application          a refusal, and what its message contains
//
// In a result "${name}" is kept at its first sight and compared afterwards, also inside a text, "<text>" is any text but none, "<time>" a time of
// RFC 3339, "<any>" anything, and a key that ends in "?" may be missing. An empty result after "= 200" is not looked at.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("testdata/replay/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d transcripts: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := controltest.New(t)
			p := &replay{w: &everything{s: s, c: newRawClient(t, s)}, vars: map[string]string{"A": s.AccountID, "default_vnet": s.DefaultVNET()}}
			for i, step := range regexp.MustCompile(`\n\s*\n`).Split(string(raw), -1) {
				if p.step(t, step); t.Failed() {
					t.Fatalf("in step %d:\n%s", i+1, strings.TrimSpace(step))
				}
			}
			if p.requests < 4 {
				t.Errorf("only %d requests", p.requests)
			}
		})
	}
}

// clients are the headers of each client. The older SDK names a content type even without a body.
var clients = map[string]map[string]string{
	"tf4":         {"Content-Type": "application/json", "User-Agent": "terraform-provider-cloudflare/4.52.8 terraform-plugin-sdk/2.35.0 terraform/1.13.0"},
	"go0":         {"Content-Type": "application/json", "User-Agent": "cloudflare-go/v4"},
	"tf5":         {"Accept": "application/json", "User-Agent": "terraform-provider-cloudflare/5.22.0 terraform-plugin-framework/1.19.0 terraform/1.13.0", "X-Stainless-Lang": "go", "X-Stainless-Retry-Count": "0"},
	"go6":         {"Accept": "application/json", "User-Agent": "Cloudflare/Go 6.10.0", "X-Stainless-Lang": "go", "X-Stainless-Retry-Count": "0"},
	"cloudflared": {"Accept": "application/json;version=1", "User-Agent": "cloudflared/2025.8.1"},
}

type replay struct {
	w        *everything
	client   string
	vars     map[string]string
	requests int
}

// step runs one paragraph.
func (p *replay) step(t *testing.T, text string) {
	t.Helper()
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	if len(all) == 0 {
		return
	}
	if name, ok := strings.CutPrefix(all[0], "client "); ok {
		if p.client = name; clients[name] == nil {
			t.Fatalf("there is no client %q", name)
		}
		return
	}
	cut := slices.IndexFunc(all, func(l string) bool { return strings.HasPrefix(l, "= ") })
	method, path, ok := strings.Cut(all[0], " ")
	if cut < 1 || !ok || p.client == "" {
		t.Fatalf("not a step: %q", text)
	}
	p.requests++
	r := p.send(t, method, p.fill(path), p.fill(strings.Join(all[1:cut], "\n")))
	p.check(t, r, strings.Fields(all[cut])[1:], strings.Join(all[cut+1:], "\n"))
}

// fill puts in what was kept, and the account's path.
func (p *replay) fill(s string) string {
	return p.known(strings.Replace(s, "~", "/client/v4/accounts/"+p.vars["A"], 1))
}

// known puts in what was kept.
func (p *replay) known(s string) string {
	for name, value := range p.vars {
		s = strings.ReplaceAll(s, "${"+name+"}", value)
	}
	return s
}

func (p *replay) send(t *testing.T, method, path, body string) reply {
	t.Helper()
	header := map[string]string{}
	for k, v := range clients[p.client] {
		header[k] = v
	}
	if body != "" {
		header["Content-Type"] = "application/json"
	}
	return p.w.send(t, request{method: method, path: path, token: p.w.s.Token, body: body, header: header})
}

// check compares an answer. What every client depends on is looked at in every answer.
func (p *replay) check(t *testing.T, r reply, want []string, result string) {
	t.Helper()
	if strconv.Itoa(r.status) != want[0] {
		t.Fatalf("status %d, want %s: %s", r.status, want[0], r.raw)
	}
	if r.header.Get("Content-Type") != "application/json" {
		t.Errorf("the content type is %q", r.header.Get("Content-Type"))
	}
	var env map[string]any
	decode(t, r.raw, &env)
	if r.status != http.StatusOK {
		says := strings.Join(want[1:], " ")
		errs, _ := env["errors"].([]any)
		if env["success"] != false || len(errs) == 0 || r.env.Errors[0].Code < 1000 || !strings.Contains(r.env.Errors[0].Message, says) {
			t.Errorf("the refusal is %s, want one about %q", r.raw, says)
		}
		return
	}
	if env["success"] != true || fmt.Sprint(env["errors"], env["messages"]) != "[] []" {
		t.Errorf("the envelope is %s", r.raw)
	}
	if len(want) > 1 {
		p.checkList(t, env, want[1])
	}
	if result == "" {
		return
	}
	var template any
	if err := json.Unmarshal([]byte(result), &template); err != nil {
		t.Fatalf("the expected result is not JSON: %v", err)
	}
	if wrong := p.match(template, env["result"], "result"); wrong != "" {
		t.Errorf("%s\nin %s", wrong, r.raw)
	}
}

func (p *replay) checkList(t *testing.T, env map[string]any, form string) {
	t.Helper()
	list, ok := env["result"].([]any)
	if !ok {
		t.Fatalf("the result is no list: %v", env["result"])
	}
	info, paged := env["result_info"].(map[string]any)
	if form == "bare" {
		return
	}
	for _, k := range []string{"page", "per_page", "count", "total_count", "total_pages"} {
		if _, ok := info[k].(float64); !ok || !paged {
			t.Fatalf("result_info is %v", info)
		}
	}
	if int(info["count"].(float64)) != len(list) {
		t.Errorf("result_info counts %v of %d", info["count"], len(list))
	}
}

// match compares v with a template and says what is wrong.
func (p *replay) match(template, v any, at string) string {
	switch template := template.(type) {
	case string:
		return p.matchText(template, v, at)
	case []any:
		list, ok := v.([]any)
		if !ok || len(list) != len(template) {
			return fmt.Sprintf("%s is %v, want %d elements", at, v, len(template))
		}
		for i := range template {
			if wrong := p.match(template[i], list[i], fmt.Sprintf("%s/%d", at, i)); wrong != "" {
				return wrong
			}
		}
		return ""
	case map[string]any:
		return p.matchObject(template, v, at)
	}
	if fmt.Sprint(template) != fmt.Sprint(v) {
		return fmt.Sprintf("%s is %v, want %v", at, v, template)
	}
	return ""
}

func (p *replay) matchObject(template map[string]any, v any, at string) string {
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprintf("%s is %v, want an object", at, v)
	}
	allowed := map[string]bool{}
	for key, want := range template {
		name, optional := strings.CutSuffix(key, "?")
		allowed[name] = true
		got, there := object[name]
		if !there && !optional {
			return fmt.Sprintf("%s has no %s", at, name)
		}
		if there {
			if wrong := p.match(want, got, at+"/"+name); wrong != "" {
				return wrong
			}
		}
	}
	for name := range object {
		if !allowed[name] {
			return fmt.Sprintf("%s has %s, which the client did not ask for", at, name)
		}
	}
	return ""
}

func (p *replay) matchText(template string, v any, at string) string {
	if template == "<any>" {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		return fmt.Sprintf("%s is %v, want a text", at, v)
	}
	name, isVar := strings.CutPrefix(template, "${")
	name, closed := strings.CutSuffix(name, "}")
	switch {
	case template == "<text>" && s != "":
		return ""
	case template == "<time>":
		if _, err := time.Parse(time.RFC3339, s); err != nil {
			return fmt.Sprintf("%s is %q, which is no time", at, s)
		}
		return ""
	case isVar && closed && p.vars[name] == "" && s != "":
		p.vars[name] = s
		return ""
	}
	if template = p.known(template); s != template {
		return fmt.Sprintf("%s is %q, want %q", at, s, template)
	}
	return ""
}
