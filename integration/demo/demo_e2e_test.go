//go:build e2e

package main

import (
	"strings"
	"testing"
)

// TestDemo performs the whole demo, with the system's ssh when there is one and with the built-in client.
func TestDemo(t *testing.T) {
	for name, args := range map[string][]string{"ssh": {"-once"}, "built-in SSH client": {"-once", "-go-ssh"}} {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			if code := run(t.Context(), args, &out, &errs); code != 0 {
				t.Fatalf("exit status %d\n%s%s", code, out.String(), errs.String())
			}
			if !strings.Contains(out.String(), "every step held") {
				t.Errorf("it does not say that every step held:\n%s", out.String())
			}
		})
	}
}
