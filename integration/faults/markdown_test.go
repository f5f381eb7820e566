package faults_test

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/cli"
	"weft/integration/faults"
)

var update = flag.Bool("update", false, "rewrite docs/troubleshooting.md")

func TestMarkdown(t *testing.T) {
	const name = "../../docs/troubleshooting.md"
	want := faults.Markdown(cli.DiagRemedies())
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the tables say; run go test ./integration/faults -run TestMarkdown -update (-want +got):\n%s", name, diff)
	}
	seen := map[string]bool{}
	for _, c := range faults.Table() {
		key := string(c.Tool) + "/" + c.Name
		if seen[key] || c.How == "" {
			t.Errorf("%s is there twice, or not how it is injected", key)
		}
		seen[key] = true
	}
	if len(seen) < 40 {
		t.Errorf("%d causes", len(seen))
	}
}
