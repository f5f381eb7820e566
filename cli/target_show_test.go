package cli_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"weft/agent/localapi"
	"weft/cli"
	"weft/cli/render"
)

// Every command line that `target show` offers is one that this warp-cli understands and that reaches the target.
func TestTargetShow_CommandsWork(t *testing.T) {
	w := seedWorld(t)
	one := localapi.Target{
		ID: "0193f22a-9df3-78e3-b5bb-7ab631903306", Hostname: "db-1", Protocol: "POSTGRES", Port: 5432,
		Addresses: []localapi.Address{{IP: "10.0.0.1", VNETID: "v1", VNETName: "a1net"}},
	}
	two, three := one, one
	two.Protocol, two.Port = "TCP", 9000
	three.Protocol, three.Port = "UDP", 53
	w.Targets.Targets = []localapi.Target{one, two, three}
	w.Resolution = localapi.Resolution{TargetID: one.ID, Hostname: one.Hostname, IP: "10.0.0.1", VNETID: "v1", VNETName: "a1net"}
	socket := startAgent(t, w)
	run := func(line ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		code := cli.Main(t.Context(), cli.Config{
			Args: append([]string{"--json", "--socket", socket}, line...), Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
			Getenv: func(string) string { return "" }, Self: "warp-cli",
		})
		return code, stdout.String(), stderr.String()
	}
	code, out, errs := run("target", "show", "db-1")
	var d render.Details
	if err := json.Unmarshal([]byte(out), &d); code != 0 || err != nil || len(d.Target.Ports) != 3 {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, errs)
	}
	connects := 0
	for _, p := range d.Target.Ports {
		for _, c := range p.Commands {
			words, ok := strings.CutPrefix(c, "warp-cli ")
			if !ok {
				t.Errorf("%q does not begin with warp-cli", c)
			}
			line := strings.Fields(words)
			if strings.HasPrefix(words, "target connect ") {
				connects++
				line = append(line, "--print", "--timeout", "10ms")
			}
			code, out, errs := run(line...)
			if code != 0 || !strings.Contains(out, `"target_port": `) && !strings.HasPrefix(out, "hello from ") {
				t.Errorf("%s: exit code %d, %s%s", c, code, out, errs)
			}
		}
	}
	if connects != 2 {
		t.Errorf("%d lines with target connect, want 2: %s", connects, out)
	}
}
