package control_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weft/control"
	"weft/control/controltest"
)

var update = flag.Bool("update", false, "write docs/api.md anew")

const apiDocument = "../docs/api.md"

// covering runs the tests and then looks at what they called: no endpoint may be without a test that had success from
// it, and docs/api.md names one for each. It looks only after all tests have run.
type covering struct{ m *testing.M }

func (c covering) Run() int {
	code := c.m.Run()
	if code != 0 || !wholeRun() {
		return code
	}
	if err := checkTable(controltest.Covered()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
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

// checkTable compares docs/api.md with the table of endpoints and with what the tests called.
func checkTable(called map[string][]string) error {
	rows, err := control.TableForTest()
	if err != nil {
		return err
	}
	old, err := os.ReadFile(apiDocument)
	if err != nil && !*update {
		return err
	}
	named := testsIn(string(old))
	var b strings.Builder
	b.WriteString(apiIntroduction)
	tag := ""
	var missing []string
	for _, r := range rows {
		key := r.Method + " " + r.Path
		tests := called[key]
		if r.Refused {
			tests = called["refused "+key]
		}
		if len(tests) == 0 {
			missing = append(missing, key)
			continue
		}
		if r.Tag != tag {
			tag = r.Tag
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| method | path | permission | what | test |\n|---|---|---|---|---|\n", tag, r.TagText)
		}
		test := named[key]
		if !slices.Contains(tests, test) && (*update || !isTest(test)) { // else it was skipped: the machine lacks what it needs
			test = slices.MinFunc(tests, func(a, b string) int { return cmp.Or(general(a)-general(b), strings.Compare(a, b)) })
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | `%s` |\n", r.Method, r.Path, r.Permission, r.What, test)
	}
	if len(missing) > 0 {
		return fmt.Errorf("no test had an answer of success from\n%s", strings.Join(missing, "\n"))
	}
	if *update {
		return os.WriteFile(apiDocument, []byte(b.String()), 0o644)
	}
	if b.String() != string(old) {
		return fmt.Errorf("%s is not what the endpoints and their tests are; write it anew: go test ./control -update", apiDocument)
	}
	return nil
}

// isTest reports whether this package has a test of that name.
func isTest(name string) bool {
	files, err := filepath.Glob("*_test.go")
	if err != nil || name == "" {
		return false
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && bytes.Contains(text, []byte("func "+name+"(t *testing.T)"))
	})
}

// general is smaller for the tests that are about the endpoint itself.
func general(test string) int {
	switch {
	case strings.Contains(test, "_As") || strings.HasPrefix(test, "TestReplay"):
		return 0
	case strings.HasPrefix(test, "TestEverything"), strings.HasPrefix(test, "TestTable"):
		return 1
	}
	return 2
}

// testsIn are the tests that a document names, by "METHOD path".
func testsIn(doc string) map[string]string {
	named := map[string]string{}
	for line := range strings.Lines(doc) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) == 5 && strings.HasPrefix(cells[0], "| ") {
			named[strings.TrimPrefix(cells[0], "| ")+" "+strings.Trim(cells[1], "`")] = strings.Trim(cells[4], "`| ")
		}
	}
	return named
}

const apiIntroduction = `# The API

Everything that ` + "`weft control`" + ` serves, made by ` + "`go test ./control -update`" + ` from the table of endpoints; a test holds it to the router, and each row to a
test that had an answer of success from it. The same table makes the OpenAPI 3.1 document at ` + "`GET /openapi.json`" + `, to which every answer of
every test is compared. How to use it with Terraform: [terraform](terraform.md);
with cloudflare-go, method by method: [the Go SDKs](sdk.md).

- **Envelope.** ` + "`{\"success\", \"errors\", \"messages\", \"result\"}`" + `, and ` + "`result_info`" + ` with lists. ` + "`messages`" + ` is always empty.
- **Refusals** have an HTTP status, an integer code, a message, often a hint, and a pointer to the field (` + "`source.pointer`" + `, RFC 6901). Nothing is
  half written. A conflict is 400, since the generated clients repeat a 409 for minutes; only the clash of a tunnel's name is 409.
- **Permission** is what an API token needs; a token with ` + "`All`" + ` may do everything, and Write includes Read. A token of another account finds nothing (404).
- **Two administrators.** Every GET answers with a strong ETag. PUT, PATCH and DELETE with ` + "`If-Match`" + ` are refused with 412 when the object is another one by
  now, checked inside the transaction of the write; without it nothing changes for anybody. GET with ` + "`If-None-Match`" + ` answers 304. A path
  that cannot be read (a batch, a route by its prefix) refuses a condition with 400 rather than ignoring it.
- **Lists** take ` + "`page`" + ` (from 1) and ` + "`per_page`" + ` (1 to 1000; 50 by default, 1000 for routes); past the end the result is empty. Unknown parameters are ignored.
- **Bodies** are JSON of at most 1 MiB and 32 levels, each key once. An unknown field is refused, but for those that a client sends back from an answer.
  A content type other than JSON is 415.
- **Secrets** appear once: in the answer that makes them. Only the token of a tunnel is shown again, to whoever may write tunnels.
- **Codes** are those of the public API where it has one. Of a credential: 9106 none, 6003 not a bearer token, 1000 unknown, expired or revoked, 10000 not
  permitted. Of a path: 7003 no such path or account. Of an object: 1003 not there (a route 1015, a network rule 2009), 1002 another object holds what was
  asked for, or it is in use (a tunnel 1023), 1012 changed since it was read. Of a body or query: 1001 wrong (in applications, policies and rule groups 12130),
  1004 a limit. Of the server: 1005 try again, 1007 a fault of ours, with the number of the request.

## Try it

On a machine with ` + "`weft dev`" + ` running ([the tour](tour.md) starts one), or with the five variables set by hand for ` + "`weft control`" + `:

` + "```sh" + `
eval "$(weft dev env --dir ~/weft-dev)"
api=$CLOUDFLARE_BASE_URL/accounts/$CLOUDFLARE_ACCOUNT_ID
call() { curl -sS --cacert "$SSL_CERT_FILE" -H "Authorization: Bearer $CLOUDFLARE_API_TOKEN" -H "Content-Type: application/json" "$@"; }

# Create, find, read.
call "$api/infrastructure/targets" -d '{"hostname":"try-1","ip":{"ipv4":{"ip_addr":"10.99.0.1"}},"tags":{"env":"test"}}'
call "$api/infrastructure/targets?hostname_contains=TRY&tag=env:test&order=hostname&per_page=10"
id=$(call "$api/infrastructure/targets?hostname=try-1" | jq -r '.result[0].id')
call "$api/infrastructure/targets/$id"

# What would it change, and for whom?
call "${CLOUDFLARE_BASE_URL%/client/v4}/weft/v1/impact?change=target.rename&id=$id&to=try-2"

# Change it, unless somebody else was faster.
etag=$(call -o /dev/null -D - "$api/infrastructure/targets/$id" | tr -d '\r' | sed -n 's/^[Ee][Tt]ag: //p')
call -X PUT -H "If-Match: $etag" "$api/infrastructure/targets/$id" -d '{"hostname":"try-2","ip":{"ipv4":{"ip_addr":"10.99.0.1"}}}'

# Take it away.
call -X DELETE "$api/infrastructure/targets/$id"
` + "```" + `
`
