// Package client speaks the local API of warp-svc, as package localapi states
// it, over a Unix socket (Windows: a named pipe).
//
// It writes and reads HTTP/1.1 itself, one connection per call: the calls are
// few, a dial turns its connection into a raw stream with half-close, and a
// command that starts for every ssh must not pay for a connection pool.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"weft/agent/localapi"
)

// Limits on what an agent may send and how long it may take to answer. The
// agent is trusted with traffic, but a wrong program behind the socket must not
// fill memory or hang a script.
const (
	maxBody      = 64 << 20 // a list of 10,000 targets is about 4 MiB
	maxErrorBody = 64 << 10
	maxLine      = maxBody // one event may carry the whole list

	// DefaultTimeout bounds a call that the agent answers by itself.
	DefaultTimeout = 10 * time.Second
	// RemoteTimeout bounds a call for which the agent asks somebody else: control or a target.
	RemoteTimeout = 75 * time.Second
	// waitGrace is what an agent may take beyond the time that it was asked to wait at most.
	waitGrace = 10 * time.Second
)

// host is the Host header. The agent refuses one with a dot, which is all that a browser would send.
const host = "weft-agent"

// Client calls one agent. It holds no connection and is safe for concurrent use.
type Client struct {
	socket string
	trace  func(method, target string, status int, took time.Duration, err error)
}

// New returns a client of the agent that listens at socket; empty means the default of this system.
func New(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket()
	}
	return &Client{socket: socket}
}

// Trace has f called after every call. Set it before the first one.
func (c *Client) Trace(f func(method, target string, status int, took time.Duration, err error)) {
	c.trace = f
}

// Socket returns the path that the client dials.
func (c *Client) Socket() string { return c.socket }

// Version of the agent.
func (c *Client) Version(ctx context.Context) (*localapi.Version, error) {
	return call[localapi.Version](ctx, c, DefaultTimeout, http.MethodGet, localapi.PathVersion, nil)
}

// Status of the agent.
func (c *Client) Status(ctx context.Context) (*localapi.Status, error) {
	return call[localapi.Status](ctx, c, DefaultTimeout, http.MethodGet, localapi.PathStatus, nil)
}

// Registration of this device; an [*Error] with [localapi.CodeNotRegistered] when there is none.
func (c *Client) Registration(ctx context.Context) (*localapi.Registration, error) {
	return call[localapi.Registration](ctx, c, DefaultTimeout, http.MethodGet, localapi.PathRegistration, nil)
}

// Register enrols this device.
func (c *Client) Register(ctx context.Context, enrolment string) (*localapi.Registration, error) {
	return call[localapi.Registration](ctx, c, RemoteTimeout, http.MethodPost, localapi.PathRegistration,
		localapi.NewRegistration{Enrolment: enrolment})
}

// Deregister forgets this device's registration.
func (c *Client) Deregister(ctx context.Context) (*localapi.Done, error) {
	return call[localapi.Done](ctx, c, RemoteTimeout, http.MethodDelete, localapi.PathRegistration, nil)
}

// Connect asks for the tunnel and waits until it is up, at most wait (rounded up to whole seconds).
func (c *Client) Connect(ctx context.Context, wait time.Duration) (*localapi.Status, error) {
	seconds := int((wait + time.Second - 1) / time.Second)
	return call[localapi.Status](ctx, c, wait+waitGrace, http.MethodPost, localapi.PathConnect,
		localapi.Connect{WaitSeconds: seconds})
}

// Disconnect takes the tunnel down.
func (c *Client) Disconnect(ctx context.Context) (*localapi.Status, error) {
	return call[localapi.Status](ctx, c, DefaultTimeout, http.MethodPost, localapi.PathDisconnect, struct{}{})
}

// VNETs lists the virtual networks.
func (c *Client) VNETs(ctx context.Context) (*localapi.VNETList, error) {
	return call[localapi.VNETList](ctx, c, DefaultTimeout, http.MethodGet, localapi.PathVNET, nil)
}

// SelectVNET selects the virtual network of new connections, by name or ID.
func (c *Client) SelectVNET(ctx context.Context, nameOrID string) (*localapi.VNETList, error) {
	return call[localapi.VNETList](ctx, c, DefaultTimeout, http.MethodPost, localapi.PathVNET,
		localapi.SelectVNET{VNET: nameOrID})
}

// Targets lists the targets that q selects.
func (c *Client) Targets(ctx context.Context, q Query) (*localapi.TargetList, error) {
	path := localapi.PathTargets
	if v := q.values().Encode(); v != "" {
		path += "?" + v
	}
	return call[localapi.TargetList](ctx, c, DefaultTimeout, http.MethodGet, path, nil)
}

// Resolve says where name leads, in the given VNET (empty: the selected one is preferred) at the given port (0: any).
func (c *Client) Resolve(ctx context.Context, name, vnet string, port uint16) (*localapi.Resolution, error) {
	v := url.Values{"name": {name}}
	if vnet != "" {
		v.Set("vnet", vnet)
	}
	if port != 0 {
		v.Set("port", fmt.Sprint(port))
	}
	return call[localapi.Resolution](ctx, c, DefaultTimeout, http.MethodGet, localapi.PathResolve+"?"+v.Encode(), nil)
}

// call makes one request and decodes the answer of type T.
func call[T any](ctx context.Context, c *Client, limit time.Duration, method, path string, body any) (_ *T, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, resp, err := c.roundTrip(ctx, method, path, body, false)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, c.broken(ctx.Err(), err)
	}
	if len(data) > maxBody {
		return nil, c.notAnAgent(fmt.Errorf("an answer of more than %d bytes", maxBody))
	}
	v := new(T)
	if err := decode(data, v); err != nil {
		return nil, c.notAnAgent(err)
	}
	return v, nil
}

// decode reads one answer and refuses the schema of a newer generation, whose fields may mean something else.
func decode(data []byte, v any) error {
	var head struct {
		SchemaVersion int `json:"schema_version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	if head.SchemaVersion != localapi.SchemaVersion {
		return fmt.Errorf("schema version %d, expected %d", head.SchemaVersion, localapi.SchemaVersion)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

// roundTrip sends one request on a connection of its own and reads the head of
// the answer. Any status but 200 (101 for an upgrade) becomes an error. The caller
// closes the connection; until then, the end of ctx ends its reads and writes.
func (c *Client) roundTrip(ctx context.Context, method, path string, body any, upgrade bool) (conn *agentConn, resp *http.Response, err error) {
	start := time.Now()
	status := 0
	if c.trace != nil {
		defer func() { c.trace(method, path, status, time.Since(start), err) }()
	}
	req, err := newRequest(ctx, method, path, body, upgrade)
	if err != nil {
		return nil, nil, err
	}
	conn, err = c.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	// An agent that refuses a request before its end may close first; its answer is still there to read.
	werr := req.Write(conn)
	resp, err = http.ReadResponse(conn.r, req)
	if err != nil {
		conn.Close()
		return nil, nil, c.broken(ctx.Err(), errors.Join(werr, err))
	}
	status = resp.StatusCode
	if err := c.checkStatus(ctx, resp, upgrade); err != nil {
		resp.Body.Close()
		conn.Close()
		return nil, nil, err
	}
	return conn, resp, nil
}

func newRequest(ctx context.Context, method, path string, body any, upgrade bool) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, r)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if upgrade {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", localapi.UpgradeProtocol)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "warp-cli")
	req.Close = !upgrade
	return req, nil
}

// agentConn is a connection to the agent with what was read ahead of need.
type agentConn struct {
	net.Conn
	r    *bufio.Reader
	stop func() bool
}

// dial connects to the agent. The end of ctx breaks the connection until detach or Close.
func (c *Client) dial(ctx context.Context) (*agentConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, c.broken(ctx.Err(), err)
	}
	conn, err := dialSocket(ctx, c.socket)
	if err != nil {
		return nil, c.unreachable(err)
	}
	a := &agentConn{Conn: conn, r: bufio.NewReader(conn)}
	a.stop = context.AfterFunc(ctx, func() {
		// A deadline in the past wakes blocked calls without racing with a close.
		_ = conn.SetDeadline(time.Unix(1, 0))
	})
	return a, nil
}

// detach frees the connection from the context that it was made with.
func (a *agentConn) detach() error {
	if !a.stop() {
		return errors.New("too late")
	}
	return a.SetDeadline(time.Time{})
}

// Close ends the connection.
func (a *agentConn) Close() error {
	a.stop()
	return a.Conn.Close()
}

// checkStatus turns every answer but success into an [*Error].
func (c *Client) checkStatus(ctx context.Context, resp *http.Response, upgrade bool) error {
	want := http.StatusOK
	if upgrade {
		want = http.StatusSwitchingProtocols
	}
	if resp.StatusCode == want {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return c.broken(ctx.Err(), err)
	}
	var e localapi.Error
	if err := json.Unmarshal(data, &e); err != nil || e.Code == "" {
		return c.notAnAgent(fmt.Errorf("status %d without an error object", resp.StatusCode))
	}
	return &Error{Code: e.Code, Message: e.Message, Hint: e.Hint, Status: resp.StatusCode}
}
