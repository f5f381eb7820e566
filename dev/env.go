package dev

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"weft/api"
	"weft/internal/kind"
)

// Variable is one environment variable.
type Variable struct{ Name, Value string }

// Env is what programs need to use a running Dev, in a fixed order.
type Env []Variable

// Get returns the value of name, or "".
func (e Env) Get(name string) string {
	for _, v := range e {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

// Shell returns POSIX shell exports that eval reads back exactly.
func (e Env) Shell() string {
	var b strings.Builder
	for _, v := range e {
		fmt.Fprintf(&b, "export %s='%s'\n", v.Name, strings.ReplaceAll(v.Value, "'", `'\''`))
	}
	return b.String()
}

// Environment asks the Dev that runs on dir for a fresh one-shot enrolment string for email, and returns it with
// everything else that programs need. It fails with kind.Unavailable when none runs on dir.
func Environment(ctx context.Context, dir, email string) (Env, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("make the directory absolute: %w", err)
	}
	in, err := runningInstance(ctx, dir)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(in.URL)
	if err != nil {
		return nil, fmt.Errorf("read the control plane's URL: %w", err)
	}
	enrolment, err := in.enrolment(ctx, email)
	if err != nil {
		return nil, err
	}
	return Env{
		{"CLOUDFLARE_BASE_URL", in.URL + api.PathManagement},
		{"CLOUDFLARE_API_HOSTNAME", u.Host},
		{"CLOUDFLARE_API_BASE_PATH", api.PathManagement},
		{"CLOUDFLARE_API_TOKEN", in.token},
		{"CLOUDFLARE_ACCOUNT_ID", in.AccountID},
		{"SSL_CERT_FILE", bundlePath(dir)},
		{"WEFT_ENROLMENT", enrolment},
	}, nil
}

// runningInstance reads dir and makes sure that the Dev in question answers now.
func runningInstance(ctx context.Context, dir string) (instance, error) {
	notRunning := func(err error) error {
		return kind.New(kind.Unavailable, "no weft dev is running on %s", dir).
			WithHint("start it with: weft dev --dir %s", dir).WithCause(err)
	}
	in, err := readInstance(dir)
	if err != nil {
		return instance{}, notRunning(err)
	}
	b, err := os.ReadFile(tokenPath(dir))
	if err != nil {
		return instance{}, notRunning(err)
	}
	in.token = strings.TrimSpace(string(b))
	if err := in.checkHealth(ctx); err != nil {
		return instance{}, notRunning(err)
	}
	return in, nil
}

func (in instance) enrolment(ctx context.Context, email string) (string, error) {
	c, err := in.client(in.token, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer c.Close()
	var key api.EnrolmentKey
	if err := c.Do(ctx, http.MethodPost, api.PathEnrolmentKeys, api.NewEnrolmentKey{Email: email, MaxUses: 1}, &key); err != nil {
		return "", fmt.Errorf("create an enrolment string for %s: %w", email, err)
	}
	return key.Enrolment, nil
}
