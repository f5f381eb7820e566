package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weft/api"
	"weft/internal/buildinfo"
	"weft/internal/kind"
)

// controlFlags say how a command reaches the control plane and as whom.
type controlFlags struct {
	url       string
	tokenFile string
	caFile    string
	tokenEnv  string
}

// add declares the flags; tokenEnv names the variable that stands in for --token-file.
func (f *controlFlags) add(cmd *cobra.Command, what, tokenEnv string) {
	f.tokenEnv = tokenEnv
	cmd.Flags().StringVar(&f.url, "control", "", "URL of the control plane, such as https://control.example.net:8443 (WEFT_CONTROL_URL)")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file that holds the "+what+" ("+tokenEnv+")")
	cmd.Flags().StringVar(&f.caFile, "ca-file", "", "PEM file of the authority to trust for the control plane (WEFT_CA_FILE); default: the system's")
}

// resolve fills empty flags from the environment and reads the token.
func (f *controlFlags) resolve() (token string, err error) {
	fallback(&f.url, "WEFT_CONTROL_URL")
	fallback(&f.tokenFile, f.tokenEnv)
	fallback(&f.caFile, "WEFT_CA_FILE")
	if f.url == "" {
		return "", usageError{errors.New("--control or WEFT_CONTROL_URL is required")}
	}
	if f.tokenFile == "" {
		return "", usageError{fmt.Errorf("--token-file or %s is required", f.tokenEnv)}
	}
	return readSecret("--token-file", f.tokenFile)
}

// client builds the API client that sends token.
func (f *controlFlags) client(token string, logger *slog.Logger) (*api.Client, error) {
	cfg := api.ClientConfig{BaseURL: f.url, Token: api.Secret(token), UserAgent: "weft/" + buildinfo.Version(), Logger: logger}
	if f.caFile != "" {
		pem, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, fmt.Errorf("read --ca-file: %w", err)
		}
		cfg.Roots = x509.NewCertPool()
		if !cfg.Roots.AppendCertsFromPEM(pem) {
			return nil, kind.New(kind.Invalid, "--ca-file %s holds no PEM certificate", f.caFile)
		}
	}
	return api.NewClient(cfg)
}

// manager is the client of a command that administers: it resolves and connects in one step.
func (f *controlFlags) manager() (*api.Client, error) {
	token, err := f.resolve()
	if err != nil {
		return nil, err
	}
	return f.client(token, slog.New(slog.DiscardHandler))
}

func fallback(value *string, env string) {
	if *value == "" {
		*value = os.Getenv(env)
	}
}

// maxSecretBytes bounds a secret file: nobody's token is longer, and a wrong path may be a device.
const maxSecretBytes = 64 << 10

// readSecret reads a one-line secret.
func readSecret(flag, path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", kind.New(kind.NotFound, "%s %s does not exist", flag, path)
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", flag, err)
	}
	if info.Mode().IsRegular() && info.Size() > maxSecretBytes {
		return "", kind.New(kind.Invalid, "%s %s is longer than any token", flag, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", flag, err)
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" {
		return "", kind.New(kind.Invalid, "%s %s is empty", flag, path)
	}
	return secret, nil
}
