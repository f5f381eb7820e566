package client

import (
	"context"
	"net/url"

	"weft/agent/localapi"
)

// Forwards lists the forwards.
func (c *Client) Forwards(ctx context.Context) (*localapi.ForwardList, error) {
	return call[localapi.ForwardList](ctx, c, DefaultTimeout, methodGet, localapi.PathForwards, nil)
}

// AddForward makes a forward that outlives the agent.
func (c *Client) AddForward(ctx context.Context, f localapi.NewForward) (*localapi.Forward, error) {
	return call[localapi.Forward](ctx, c, DefaultTimeout, methodPost, localapi.PathForwards, f)
}

// RemoveForward ends a forward and the connections through it.
func (c *Client) RemoveForward(ctx context.Context, name string) (*localapi.Done, error) {
	return call[localapi.Done](ctx, c, DefaultTimeout, methodDelete, localapi.PathForwards+"?"+url.Values{"name": {name}}.Encode(), nil)
}
