package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weft/api"
	"weft/control"
	"weft/control/store"
	"weft/internal/readyfile"
)

// instance is what a Dev writes about itself for Environment and for its next start.
type instance struct {
	PID       int    `json:"pid"`
	URL       string `json:"url"`
	AccountID string `json:"account_id"`
	CAPEM     string `json:"ca_pem"`
	Ports     ports  `json:"ports"`
	// token is kept in a file of its own.
	token string
}

func instancePath(dir string) string { return filepath.Join(dir, "dev.json") }
func tokenPath(dir string) string    { return filepath.Join(dir, "api-token") }

// record writes down where this Dev is reached, and creates the API token at the first start.
func (d *Dev) record(ctx context.Context, ctl *control.Control, p ports) (instance, error) {
	in := instance{PID: os.Getpid(), URL: ctl.URL(), AccountID: ctl.AccountID(), CAPEM: string(ctl.CAPEM()), Ports: p}
	var err error
	if in.token, err = d.apiToken(ctx, ctl); err != nil {
		return instance{}, err
	}
	b, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return instance{}, fmt.Errorf("encode dev.json: %w", err)
	}
	if err := writeFile(instancePath(d.cfg.Dir), append(b, '\n')); err != nil {
		return instance{}, err
	}
	return in, writeFile(bundlePath(d.cfg.Dir), bundle(in.CAPEM, bundlePath(d.cfg.Dir)))
}

// apiToken keeps the token of the first start as long as its file exists.
func (d *Dev) apiToken(ctx context.Context, ctl *control.Control) (string, error) {
	b, err := os.ReadFile(tokenPath(d.cfg.Dir))
	if token := strings.TrimSpace(string(b)); err == nil && token != "" {
		return token, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	token, err := ctl.CreateToken(ctx, store.TokenFields{Name: "weft dev"})
	if err != nil {
		return "", fmt.Errorf("create the API token: %w", err)
	}
	return token, writeFile(tokenPath(d.cfg.Dir), []byte(token+"\n"))
}

func readInstance(dir string) (instance, error) {
	b, err := os.ReadFile(instancePath(dir))
	if err != nil {
		return instance{}, fmt.Errorf("read dev.json: %w", err)
	}
	var in instance
	if err := json.Unmarshal(b, &in); err != nil {
		return instance{}, fmt.Errorf("read %s: %w", instancePath(dir), err)
	}
	return in, nil
}

// healthTimeout bounds one question whether the control plane answers.
const healthTimeout = 5 * time.Second

// checkHealth asks the control plane through its own front door, and checks that the token is good.
func (in instance) checkHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	c, err := in.client(in.token, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer c.Close()
	path := api.PathManagement + "/accounts/" + in.AccountID + "/teamnet/virtual_networks"
	if err := c.Do(ctx, http.MethodGet, path, nil, nil); err != nil {
		return fmt.Errorf("ask the control plane at %s: %w", in.URL, err)
	}
	return nil
}

func writeFile(path string, b []byte) error {
	if err := readyfile.WriteAtomic(path, b, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
