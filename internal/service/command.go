package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// maxOutput bounds what is kept of a command's output.
const maxOutput = 256 << 10

// commandTimeout bounds one command of a service manager; stopping a service may take its TimeoutStopSec.
const commandTimeout = 90 * time.Second

// CommandError is a command of the system that failed.
type CommandError struct {
	Name string
	Args []string
	Result
}

// Error names the command and what it said.
func (e *CommandError) Error() string {
	said := strings.TrimSpace(e.Stderr)
	if said == "" {
		said = strings.TrimSpace(e.Stdout)
	}
	if i := strings.IndexByte(said, '\n'); i >= 0 {
		said = said[:i]
	}
	line := strings.Join(append([]string{e.Name}, e.Args...), " ")
	if said == "" {
		return fmt.Sprintf("%s: exit status %d", line, e.Code)
	}
	return fmt.Sprintf("%s: exit status %d: %s", line, e.Code, said)
}

// Exec is the Runner of the real system. Commands speak English, and have no input.
type Exec struct{}

// Run implements Runner.
func (Exec) Run(ctx context.Context, name string, args ...string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=cat")
	var stdout, stderr limited
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	r := Result{Stdout: string(stdout.kept), Stderr: string(stderr.kept)}
	if e, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		r.Code = e.ExitCode()
		return r, nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return r, err
}

// limited keeps the first maxOutput bytes.
type limited struct{ kept []byte }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - len(l.kept); room > 0 {
		l.kept = append(l.kept, p[:min(len(p), room)]...)
	}
	return len(p), nil
}
