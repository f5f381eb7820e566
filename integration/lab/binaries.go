// Package lab is what the demo, the end-to-end tests and the benchmark share:
// it builds the real binaries, runs them as processes that are always ended, and
// talks to the management API as an administrator's program does.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Binaries are the paths of the three programs.
type Binaries struct{ Weft, Svc, CLI string }

// Build compiles the programs of the module at repo into dir.
func Build(ctx context.Context, repo, dir string) (Binaries, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return Binaries{}, fmt.Errorf("the Go tool is needed to build: %w", err)
	}
	// No flags and no environment of our own: what "go run" and "go test" compiled before is then used again.
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator),
		"./cmd/weft", "./cmd/warp-svc", "./cmd/warp-cli")
	cmd.Dir = repo
	if out, err := cmd.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("go build: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return BinariesIn(dir), nil
}

// BinariesIn names the programs in dir.
func BinariesIn(dir string) Binaries {
	name := func(s string) string {
		if runtime.GOOS == "windows" {
			s += ".exe"
		}
		return filepath.Join(dir, s)
	}
	return Binaries{Weft: name("weft"), Svc: name("warp-svc"), CLI: name("warp-cli")}
}

// Repository finds the root of this module from the working directory upwards.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(b), "module weft\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this inside the weft repository: no go.mod of the module weft was found")
		}
		dir = parent
	}
}
