package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Env is the environment that "weft dev env" prints.
type Env map[string]string

// DevEnv runs "weft dev env" and reads its exports.
func DevEnv(ctx context.Context, b Binaries, dir, email, netns string) (Env, error) {
	c := Command{Netns: netns, Args: []string{b.Weft, "dev", "env", "--dir", dir, "--email", email}}
	out, err := c.Exec(ctx).Output()
	if err != nil {
		return nil, fmt.Errorf("weft dev env: %w\n%s", err, Stderr(err))
	}
	return ParseExports(string(out))
}

// ParseExports reads lines of the form export NAME='VALUE'.
func ParseExports(s string) (Env, error) {
	env := Env{}
	for line := range strings.Lines(s) {
		assignment, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "export ")
		name, quoted, ok2 := strings.Cut(assignment, "=")
		if !ok || !ok2 || len(quoted) < 2 || quoted[0] != '\'' || quoted[len(quoted)-1] != '\'' {
			return nil, fmt.Errorf("line %q is not an export", line)
		}
		env[name] = strings.ReplaceAll(quoted[1:len(quoted)-1], `'\''`, `'`)
	}
	return env, nil
}

// API builds the management API's client from the environment.
func (e Env) API() (*API, error) {
	return NewAPI(e["CLOUDFLARE_BASE_URL"], e["CLOUDFLARE_API_TOKEN"], e["CLOUDFLARE_ACCOUNT_ID"], e["SSL_CERT_FILE"])
}

// ControlURL is the control plane's own URL.
func (e Env) ControlURL() string { return strings.TrimSuffix(e["CLOUDFLARE_BASE_URL"], "/client/v4") }

// Stderr is what a program that failed wrote to its standard error, when it was run by Output.
func Stderr(err error) string {
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		return strings.TrimSpace(string(ee.Stderr))
	}
	return ""
}
