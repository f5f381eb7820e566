package client

import (
	"context"

	"weft/agent/localapi"
)

// Explain walks the way to a target.
func (c *Client) Explain(ctx context.Context, q localapi.ExplainRequest) (*localapi.Explanation, error) {
	return call[localapi.Explanation](ctx, c, RemoteTimeout, methodPost, localapi.PathExplain, q)
}
