package api

import (
	"context"
	"io"
	"net/http"
)

// Stream opens an endless answer, which ctx ends; the caller closes it.
func (c *Client) Stream(ctx context.Context, path string) (io.ReadCloser, error) {
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes))
	if err != nil {
		return nil, unreachable(ctx, c.base.Host, err)
	}
	return nil, decodeEnvelope(resp.StatusCode, raw, nil)
}
