package api

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"weft/internal/kind"
)

// Bytes fetches an answer that has no envelope, of at most 8 MiB. It is bounded by ctx and by 60 s.
func (c *Client) Bytes(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes+1))
	switch {
	case err != nil:
		return nil, unreachable(ctx, c.base.Host, fmt.Errorf("read answer: %w", err)) // also one that was cut short
	case len(raw) > maxResponseBytes:
		return nil, kind.New(kind.Unavailable, "the control plane's answer is larger than %d bytes", maxResponseBytes)
	case resp.StatusCode != http.StatusOK:
		return nil, decodeEnvelope(max(resp.StatusCode, http.StatusBadRequest), raw, nil)
	}
	return raw, nil
}
