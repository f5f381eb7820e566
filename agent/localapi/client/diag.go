package client

import (
	"context"

	"weft/agent/localapi"
)

// Diag has the agent run its checks; codes selects some of them, nil all.
func (c *Client) Diag(ctx context.Context, codes []string) (*localapi.DiagReport, error) {
	return call[localapi.DiagReport](ctx, c, RemoteTimeout, methodPost, localapi.PathDiag, localapi.DiagRequest{Checks: codes})
}

// DiagBundle returns what the agent gives to a support bundle.
func (c *Client) DiagBundle(ctx context.Context, anonymize bool) (*localapi.Bundle, error) {
	return call[localapi.Bundle](ctx, c, RemoteTimeout, methodPost, localapi.PathDiagBundle, localapi.BundleRequest{Anonymize: anonymize})
}
