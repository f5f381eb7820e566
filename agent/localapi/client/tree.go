package client

import (
	"context"
	"net/url"
	"time"

	"weft/agent/localapi"
)

// Pause takes the tunnel down for d (rounded up to whole seconds); 0: until somebody connects.
func (c *Client) Pause(ctx context.Context, d time.Duration) (*localapi.Status, error) {
	seconds := int((d + time.Second - 1) / time.Second)
	return call[localapi.Status](ctx, c, DefaultTimeout, methodPost, localapi.PathDisconnect, localapi.Disconnect{ForSeconds: seconds})
}

// Flows lists the open connections of some virtual networks and targets; none means all.
func (c *Client) Flows(ctx context.Context, vnets, targets []string) (*localapi.FlowList, error) {
	v := url.Values{}
	for _, n := range vnets {
		v.Add("vnet", n)
	}
	for _, t := range targets {
		v.Add("target", t)
	}
	return call[localapi.FlowList](ctx, c, DefaultTimeout, methodGet, withQuery(localapi.PathFlows, v), nil)
}

// CloseFlows resets open connections.
func (c *Client) CloseFlows(ctx context.Context, what localapi.CloseFlows) (*localapi.FlowsClosed, error) {
	return call[localapi.FlowsClosed](ctx, c, DefaultTimeout, methodPost, localapi.PathFlowsClose, what)
}

// Settings lists the settings.
func (c *Client) Settings(ctx context.Context) (*localapi.SettingList, error) {
	return call[localapi.SettingList](ctx, c, DefaultTimeout, methodGet, localapi.PathSettings, nil)
}

// SetSetting changes one setting.
func (c *Client) SetSetting(ctx context.Context, name, value string) (*localapi.SettingList, error) {
	return call[localapi.SettingList](ctx, c, DefaultTimeout, methodPost, localapi.PathSettings, localapi.SetSetting{Name: name, Value: value})
}

// ResetSettings gives settings their defaults; no name means all.
func (c *Client) ResetSettings(ctx context.Context, names []string) (*localapi.SettingList, error) {
	return call[localapi.SettingList](ctx, c, DefaultTimeout, methodPost, localapi.PathSettingsReset,
		localapi.ResetSettings{Names: append([]string{}, names...)})
}

// ManagedConfig shows the administrator's settings file.
func (c *Client) ManagedConfig(ctx context.Context) (*localapi.ManagedConfig, error) {
	return call[localapi.ManagedConfig](ctx, c, DefaultTimeout, methodGet, localapi.PathMDM, nil)
}

// RefreshManaged has the agent read the administrator's settings file again.
func (c *Client) RefreshManaged(ctx context.Context) (*localapi.ManagedConfig, error) {
	return call[localapi.ManagedConfig](ctx, c, DefaultTimeout, methodPost, localapi.PathMDMRefresh, struct{}{})
}

// SetManagedConfig replaces the administrator's settings file.
func (c *Client) SetManagedConfig(ctx context.Context, content string) (*localapi.ManagedConfig, error) {
	return call[localapi.ManagedConfig](ctx, c, DefaultTimeout, methodPost, localapi.PathMDM, localapi.SetManagedConfig{Content: content})
}

// Tunnel shows the WireGuard link and what it has carried.
func (c *Client) Tunnel(ctx context.Context) (*localapi.Tunnel, error) {
	return call[localapi.Tunnel](ctx, c, DefaultTimeout, methodGet, localapi.PathTunnel, nil)
}

// RotateKeys gives this device another WireGuard key.
func (c *Client) RotateKeys(ctx context.Context) (*localapi.KeyRotation, error) {
	return call[localapi.KeyRotation](ctx, c, RemoteTimeout, methodPost, localapi.PathTunnelRotate, struct{}{})
}

// Devices lists the devices of the same user.
func (c *Client) Devices(ctx context.Context) (*localapi.DeviceList, error) {
	return call[localapi.DeviceList](ctx, c, RemoteTimeout, methodGet, localapi.PathDevices, nil)
}

// Connectivity has the agent try each way.
func (c *Client) Connectivity(ctx context.Context) (*localapi.Connectivity, error) {
	return call[localapi.Connectivity](ctx, c, RemoteTimeout, methodGet, localapi.PathDebugConnectivity, nil)
}

// Network shows this machine's network as the agent sees it.
func (c *Client) Network(ctx context.Context) (*localapi.Network, error) {
	return call[localapi.Network](ctx, c, DefaultTimeout, methodGet, localapi.PathDebugNetwork, nil)
}

// Runtime shows what the agent's process uses, with the stacks of its goroutines if asked.
func (c *Client) Runtime(ctx context.Context, stacks bool) (*localapi.Runtime, error) {
	path := localapi.PathDebugRuntime
	if stacks {
		path += "?stacks=true"
	}
	return call[localapi.Runtime](ctx, c, DefaultTimeout, methodGet, path, nil)
}

func withQuery(path string, v url.Values) string {
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// Log is the agent's log: the lines that it keeps, and if asked those that come.
type Log struct{ e *Events }

// Log opens the agent's log from a level on ("": info). The end of ctx ends it; the caller closes it.
func (c *Client) Log(ctx context.Context, level string, follow bool) (*Log, error) {
	v := url.Values{}
	if level != "" {
		v.Set("level", level)
	}
	if follow {
		v.Set("follow", "true")
	}
	e, err := c.stream(ctx, withQuery(localapi.PathDebugLog, v))
	if err != nil {
		return nil, err
	}
	return &Log{e}, nil
}

// Next waits for the next line; io.EOF after the last.
func (l *Log) Next() (*localapi.LogLine, error) {
	return next[localapi.LogLine](l.e)
}

// Close ends the stream.
func (l *Log) Close() error { return l.e.Close() }
