package api

import "net/http"

// SetTransportForTest replaces what carries the requests, so that time-driven tests need no sockets.
func (c *Client) SetTransportForTest(rt http.RoundTripper) { c.http.Transport = rt }

// MaxEventBytesForTest and MaxResponseBytesForTest are the limits.
const (
	MaxEventBytesForTest    = maxEventBytes
	MaxResponseBytesForTest = maxResponseBytes
)
