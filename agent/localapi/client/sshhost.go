package client

import (
	"context"
	"fmt"
	"net/url"

	"weft/agent/localapi"
)

// SSHHost says whether name is a target's, and by what its host key is known. An unknown name is no error.
func (c *Client) SSHHost(ctx context.Context, name string, port uint16) (*localapi.SSHHost, error) {
	v := url.Values{"name": {name}}
	if port != 0 {
		v.Set("port", fmt.Sprint(port))
	}
	return call[localapi.SSHHost](ctx, c, DefaultTimeout, methodGet, localapi.PathSSHHost+"?"+v.Encode(), nil)
}
