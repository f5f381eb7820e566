package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/agent/localapi"
	"weft/cli"
	"weft/internal/service"
	"weft/internal/service/servicetest"
)

// withoutAgent are commands that need no agent, so that they succeed without one.
var withoutAgent = []string{"completion", "generate-completions", "help"}

// goldenless are commands whose output is not theirs: a raw stream, another program, a script of the shell, a file in
// somebody's home. Each has scripts of its own.
var goldenless = []string{
	"completion", "generate-completions", "help", "nc", "ssh", "ssh-config", "ssh-config match", "target connect", "target pick", "target ssh",
}

// goldenElsewhere are commands whose answer holds times and this machine: scripts and tests of their own compare it
// with those taken out (diag.txtar, TestDiag_JSON).
var goldenElsewhere = []string{"diag"}

// reports are commands that have a result although the agent fails them: it says so on stdout, complete, and they end
// with exit code 16.
var reports = []string{"diag"}

// sampleArgs are arguments of commands whose first example is no plain command line.
var sampleArgs = map[string][]string{
	"registration new":   {"weft1.x"},
	"registration token": {"weft1.x"},
	"nc":                 {"do-target", "22"},
	"ssh":                {"alice@do-target"},
	"target ssh":         {"alice@do-target"},
	"mdm set-config":     {"tree_test.go"},
	"proxy env":          {},
	"proxy pac":          {},
}

// compares matches the line of a script that compares stdout with a golden file, maybe under a condition.
var compares = regexp.MustCompile(`^(\[[^\]]*\] )*cmp(env)? stdout `)

// scripts reads the lines of all scripts whose stdout is compared with a golden file.
func scripts(t *testing.T) (lines []string) {
	t.Helper()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut("\n"+string(b), "\n-- ")
		all := strings.Split(text, "\n")
		for i, line := range all {
			if i+1 < len(all) && compares.MatchString(all[i+1]) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// Every command that can be run has a golden file for its text and one for its JSON, and tells what it does, with an example.
func TestTree_Golden(t *testing.T) {
	lines := scripts(t)
	commands := cli.Commands()
	if len(commands) < 40 {
		t.Fatalf("only %d commands", len(commands))
	}
	for _, c := range commands {
		if c.Long == "" || c.Example == "" || c.Short == "" {
			t.Errorf("%s lacks a short or long description, or an example", c.Path)
		}
		if strings.HasSuffix(c.Short, ".") || len(c.Short) > 72 {
			t.Errorf("%s: short description %q ends with a full stop or is too long", c.Path, c.Short)
		}
		if slices.Contains(goldenless, c.Path) || slices.Contains(goldenElsewhere, c.Path) {
			continue
		}
		call := regexp.MustCompile(`(^|\s)warp-cli( -[-\w=]+)* ` + regexp.QuoteMeta(c.Path) + `( |$)`)
		text, asJSON := false, false
		for _, l := range lines {
			if call.MatchString(l) && !longer(commands, c.Path, l) {
				isJSON := strings.Contains(l, "--json") || regexp.MustCompile(` -j\b`).MatchString(l)
				asJSON, text = asJSON || isJSON, text || !isJSON
			}
		}
		if !text || !asJSON {
			t.Errorf("warp-cli %s: golden file for text: %t, for JSON: %t; write a script in testdata/script with `cmp stdout`", c.Path, text, asJSON)
		}
	}
}

// longer reports whether a line calls a command below path and not path itself.
func longer(all []cli.Command, path, line string) bool {
	return slices.ContainsFunc(all, func(c cli.Command) bool {
		return strings.HasPrefix(c.Path, path+" ") && regexp.MustCompile(regexp.QuoteMeta(c.Path)+`( |$)`).MatchString(line)
	})
}

// sample is a command line of a command: from the table, or its first example that needs no shell.
func sample(t *testing.T, c cli.Command) []string {
	t.Helper()
	words := strings.Fields(c.Path)
	if args, ok := sampleArgs[c.Path]; ok {
		return append(words, args...)
	}
	for line := range strings.SplitSeq(c.Example, "\n") {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "warp-cli "+c.Path); ok && !strings.ContainsAny(line, `"'$|<>()`) {
			return append(words, strings.Fields(rest)...)
		}
	}
	t.Errorf("warp-cli %s: no example is a plain command line; add it to sampleArgs", c.Path)
	return words
}

// agents are agents that do not do what they are asked.
func agents(t *testing.T) map[string]string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft") //nolint:usetesting // a socket's path has hardly more than a hundred bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	garbage := filepath.Join(dir, "garbage")
	serveBytes(t, garbage, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<garbage>")
	half := filepath.Join(dir, "half")
	serveBytes(t, half, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"schema_version\":1,")
	newer := filepath.Join(dir, "newer")
	serveBytes(t, newer, "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"schema_version\": 2}")
	silentClose := filepath.Join(dir, "closes")
	serveBytes(t, silentClose, "")
	refusing := filepath.Join(dir, "refuses")
	serveBytes(t, refusing, errorAnswer(`{"schema_version":1,"code":"permission","message":"you may not do this","hint":"run: sudo warp-cli"}`))
	unregistered := filepath.Join(dir, "unregistered")
	serveBytes(t, unregistered, errorAnswer(`{"schema_version":1,"code":"not_registered","message":"this device is not registered","hint":""}`))
	return map[string]string{
		"no agent": filepath.Join(dir, "missing"), "an agent that answers garbage": garbage, "an agent that breaks off": half,
		"an agent of a newer generation": newer, "an agent that closes": silentClose, "an agent that refuses": refusing,
		"an agent that is not registered": unregistered,
	}
}

func errorAnswer(body string) string {
	return "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + body
}

// serveBytes answers whatever is asked with the same bytes.
func serveBytes(t *testing.T, socket, answer string) {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			_, _ = c.Read(make([]byte, 64<<10))
			_, _ = c.Write([]byte(answer))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
}

// No command ends with 0 when the agent did not do what was asked, and every failure has a hint and, with --json, a form.
func TestTree_NeverSucceedsOnFailure(t *testing.T) {
	for name, socket := range agents(t) {
		t.Run(name, func(t *testing.T) {
			for _, c := range cli.Commands() {
				if slices.Contains(withoutAgent, c.Path) {
					continue
				}
				args := sample(t, c)
				if c.Path == "wait" {
					args = append(args, "--timeout", "50ms")
				}
				for _, asJSON := range []bool{false, true} {
					line := append([]string{"--socket", socket}, args...)
					if asJSON {
						line = append([]string{"--json"}, line...)
					}
					var stdout, stderr bytes.Buffer
					code := cli.Main(t.Context(), cli.Config{
						Args: line, Stdin: strings.NewReader("weft1.x\n"), Stdout: &stdout, Stderr: &stderr,
						Getenv: func(string) string { return "" }, Self: "warp-cli", Host: noServices(t),
					})
					if code == 0 {
						t.Errorf("warp-cli %q: exit code 0\nstdout: %s", line, &stdout)
						continue
					}
					if slices.Contains(reports, c.Path) && code == 16 {
						checkReport(t, line, asJSON, &stdout)
					}
					checkFailure(t, line, code, asJSON, &stdout, &stderr)
				}
			}
		})
	}
}

// noServices is a system without a manager of services, never this one.
func noServices(t *testing.T) *service.Host {
	t.Helper()
	h, _, err := servicetest.Host("none", t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	return &h
}

// checkReport takes the report from stdout, which must name a fault.
func checkReport(t *testing.T, line []string, asJSON bool, stdout *bytes.Buffer) {
	t.Helper()
	if !asJSON {
		if !strings.Contains(stdout.String(), "\nBegin with: ") {
			t.Errorf("warp-cli %q: stdout %q names no fault", line, stdout)
		}
		stdout.Reset()
		return
	}
	var r localapi.DiagReport
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || r.SchemaVersion != localapi.SchemaVersion || r.Verdict == "" || len(r.Checks) == 0 {
		t.Errorf("warp-cli %q: stdout %q is no report of a fault: %v", line, stdout, err)
	}
	stdout.Reset()
}

func checkFailure(t *testing.T, line []string, code int, asJSON bool, stdout, stderr *bytes.Buffer) {
	t.Helper()
	last := strings.TrimSpace(stderr.String())
	if i := strings.LastIndexByte(last, '\n'); i >= 0 && asJSON {
		last = last[i+1:]
	}
	switch {
	case stdout.Len() > 0:
		t.Errorf("warp-cli %q failed with %d and wrote to stdout: %s", line, code, stdout)
	case asJSON && (!strings.HasPrefix(last, `{"schema_version":1,"code":"`) || strings.Contains(last, `"hint":""`)):
		t.Errorf("warp-cli %q: stderr %q is no failure with a hint", line, stderr)
	case !asJSON && (!strings.Contains(last, "Error: ") || !strings.Contains(last, "\nNext: ")):
		t.Errorf("warp-cli %q: stderr %q names no next step", line, stderr)
	}
}

// docs/cli.md is made from the tree.
func TestTree_Manual(t *testing.T) {
	compareDoc(t, "../docs/cli.md", cli.ManualMarkdown())
}

// docs/status-codes.md is made from the table in package localapi, which knows every state, reason and notice.
func TestStatusCodes_Document(t *testing.T) {
	compareDoc(t, "../docs/status-codes.md", cli.StatusCodesMarkdown())
}

func compareDoc(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the source says; run go test ./cli -update (-want +got):\n%s", path, diff)
	}
}

// Every state, reason and notice that the source knows stands in the table, once.
func TestStatusCodes_Complete(t *testing.T) {
	known := map[string]bool{}
	for _, c := range localapi.StatusCodes {
		key := c.Kind + " " + c.Code
		if known[key] || c.Meaning == "" || c.Remedy == "" {
			t.Errorf("%s stands twice, or lacks a meaning or a remedy", key)
		}
		known[key] = true
	}
	want := 0
	for name, value := range stringConstants(t, "../agent/localapi/localapi.go") {
		kind := ""
		switch {
		case slices.Contains([]string{"Unregistered", "Disconnected", "Connecting", "Connected"}, name):
			kind = "state"
		case strings.HasPrefix(name, "Reason") && value != "":
			kind = "reason"
		default:
			continue
		}
		want++
		if !known[kind+" "+value] {
			t.Errorf("%s %q is not in the table", kind, value)
		}
	}
	for name, value := range stringConstants(t, "../agent/status.go") {
		if strings.HasPrefix(name, "notice") {
			want++
			if !known["notice "+value] {
				t.Errorf("notice %q is not in the table", value)
			}
		}
	}
	if want < 20 || len(localapi.StatusCodes) < want {
		t.Errorf("found %d codes in the source and %d in the table", want, len(localapi.StatusCodes))
	}
}

// nullable are the fields of JSON answers that may be null; every other field has one type and is always there.
var nullable = []string{"vnet", "agent", "resume_at", "last_handshake_at", "since"}

// Every JSON answer of every command says its schema version, and nothing in it is null that must not be.
func TestTree_JSON(t *testing.T) {
	for _, c := range cli.Commands() {
		if slices.Contains(goldenless, c.Path) {
			continue
		}
		t.Run(c.Path, func(t *testing.T) {
			socket := startAgent(t, seedWorld(t))
			host, self := someService(t, c)
			var stdout, stderr bytes.Buffer
			code := cli.Main(t.Context(), cli.Config{
				Args: append([]string{"--socket", socket, "--json"}, sample(t, c)...), Stdin: strings.NewReader("weft1.x\n"),
				Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" }, Version: "1.2.3", Self: self, Host: host,
			})
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, &stderr)
			}
			dec, n := json.NewDecoder(&stdout), 0
			for ; dec.More(); n++ {
				var v map[string]any
				if err := dec.Decode(&v); err != nil {
					t.Fatalf("not JSON: %v", err)
				}
				if v["schema_version"] != 1.0 {
					t.Errorf("schema_version is %v", v["schema_version"])
				}
				checkNull(t, "", v)
			}
			if n == 0 {
				t.Error("no answer")
			}
		})
	}
}

// someService is a system with a manager of services and warp-svc beside this program; for the verbs of a service that
// is there, it is.
func someService(t *testing.T, c cli.Command) (host *service.Host, self string) {
	t.Helper()
	root := t.TempDir()
	h, _, err := servicetest.Host("systemd", root, false)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, "warp-svc")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(c.Path, "service ") && c.Path != "service install" {
		m, err := service.New(h, service.User)
		if err == nil {
			_, err = m.Install(t.Context(), service.Spec{Program: program})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return &h, filepath.Join(root, "warp-cli")
}

func checkNull(t *testing.T, at string, v any) {
	t.Helper()
	switch v := v.(type) {
	case nil:
		if i := strings.LastIndexByte(at, '.'); !slices.Contains(nullable, at[i+1:]) {
			t.Errorf("%s is null", at)
		}
	case map[string]any:
		for k, e := range v {
			if k != strings.ToLower(k) || strings.ContainsAny(k, "- ") {
				t.Errorf("%s.%s is not in snake case", at, k)
			}
			checkNull(t, at+"."+k, e)
		}
	case []any:
		for _, e := range v {
			checkNull(t, at+"[]", e)
		}
	}
}
