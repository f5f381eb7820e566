// Package client speaks the local API of warp-svc, as package localapi states
// it, over a Unix socket (Windows: a named pipe).
//
// It writes and reads HTTP/1.1 itself, one connection per call: the calls are
// few, a dial turns its connection into a raw stream with half-close, and a
// command that starts for every ssh must not pay for more.
package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"weft/agent/localapi"
)

const (
	methodGet    = "GET"
	methodPost   = "POST"
	methodDelete = "DELETE"
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
	fields string // header lines that say which session is meant
	noSend error  // why no call can be made
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
	return call[localapi.Version](ctx, c, DefaultTimeout, methodGet, localapi.PathVersion, nil)
}

// Status of the agent.
func (c *Client) Status(ctx context.Context) (*localapi.Status, error) {
	return call[localapi.Status](ctx, c, DefaultTimeout, methodGet, localapi.PathStatus, nil)
}

// Registration of this device; an [*Error] with [localapi.CodeNotRegistered] when there is none.
func (c *Client) Registration(ctx context.Context) (*localapi.Registration, error) {
	return call[localapi.Registration](ctx, c, DefaultTimeout, methodGet, localapi.PathRegistration, nil)
}

// Register enrols this device.
func (c *Client) Register(ctx context.Context, enrolment string) (*localapi.Registration, error) {
	return call[localapi.Registration](ctx, c, RemoteTimeout, methodPost, localapi.PathRegistration,
		localapi.NewRegistration{Enrolment: enrolment})
}

// Deregister forgets this device's registration.
func (c *Client) Deregister(ctx context.Context) (*localapi.Done, error) {
	return call[localapi.Done](ctx, c, RemoteTimeout, methodDelete, localapi.PathRegistration, nil)
}

// Connect asks for the tunnel and waits until it is up, at most wait (rounded up to whole seconds).
func (c *Client) Connect(ctx context.Context, wait time.Duration) (*localapi.Status, error) {
	seconds := int((wait + time.Second - 1) / time.Second)
	return call[localapi.Status](ctx, c, wait+waitGrace, methodPost, localapi.PathConnect,
		localapi.Connect{WaitSeconds: seconds})
}

// Disconnect takes the tunnel down.
func (c *Client) Disconnect(ctx context.Context) (*localapi.Status, error) {
	return call[localapi.Status](ctx, c, DefaultTimeout, methodPost, localapi.PathDisconnect, struct{}{})
}

// VNETs lists the virtual networks.
func (c *Client) VNETs(ctx context.Context) (*localapi.VNETList, error) {
	return call[localapi.VNETList](ctx, c, DefaultTimeout, methodGet, localapi.PathVNET, nil)
}

// SelectVNET selects the virtual network of new connections, by name or ID.
func (c *Client) SelectVNET(ctx context.Context, nameOrID string) (*localapi.VNETList, error) {
	return call[localapi.VNETList](ctx, c, DefaultTimeout, methodPost, localapi.PathVNET,
		localapi.SelectVNET{VNET: nameOrID})
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
	return call[localapi.Resolution](ctx, c, DefaultTimeout, methodGet, localapi.PathResolve+"?"+v.Encode(), nil)
}

// call makes one request and decodes the answer of type T.
func call[T any](ctx context.Context, c *Client, limit time.Duration, method, target string, body any) (*T, error) {
	data, err := c.fetch(ctx, limit, method, target, body)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := decode([]byte(data), v); err != nil {
		return nil, c.notAnAgent(err)
	}
	return v, nil
}

// fetch makes one request and returns the answer's body.
func (c *Client) fetch(ctx context.Context, limit time.Duration, method, target string, body any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, a, err := c.roundTrip(ctx, method, target, body, "")
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // everything was read, or an error says that it was not
	data, err := a.readAll()
	if errors.Is(err, errMalformed) {
		return "", c.notAnAgent(err)
	}
	if err != nil {
		return "", c.broken(ctx.Err(), err)
	}
	if len(data) > maxBody {
		return "", c.notAnAgent(fmt.Errorf("an answer of more than %d bytes", maxBody))
	}
	return data, nil
}

// readAll reads the whole body, and a byte more than may be when it is too long. The memory of a list of thousands
// of targets is what costs most of the time to read it: it is taken once, where its length was told.
func (a *answer) readAll() (string, error) {
	var b strings.Builder
	if e, ok := a.body.(*exactReader); ok {
		b.Grow(int(min(e.left, maxBody+1)))
	}
	_, err := io.CopyBuffer(&b, io.LimitReader(a.body, maxBody+1), make([]byte, 16<<10))
	return b.String(), err
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
func (c *Client) roundTrip(ctx context.Context, method, target string, body any, upgrade string) (conn *agentConn, a *answer, err error) {
	start := time.Now()
	status := 0
	if c.trace != nil {
		defer func() { c.trace(method, target, status, time.Since(start), err) }()
	}
	var data []byte
	if body != nil {
		if data, err = json.Marshal(body); err != nil {
			return nil, nil, fmt.Errorf("encode request: %w", err)
		}
	}
	if c.noSend != nil {
		return nil, nil, c.noSend
	}
	conn, err = c.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	// An agent that refuses a request before its end may close first; its answer is still there to read.
	werr := writeRequest(conn, method, target, c.fields, data, upgrade)
	a, err = readAnswer(conn.r)
	if err == nil {
		status = a.status
		err = c.checkStatus(ctx, a, upgrade)
	} else if errors.Is(err, errMalformed) {
		err = c.notAnAgent(err)
	} else {
		err = c.broken(ctx.Err(), errors.Join(werr, err))
	}
	if err != nil {
		_ = conn.Close() // the error above is what counts
		return nil, nil, err
	}
	return conn, a, nil
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
func (c *Client) checkStatus(ctx context.Context, a *answer, upgrade string) error {
	if upgrade == "" && a.status == statusOK || upgrade != "" && a.status == statusSwitching && a.upgrade == upgrade {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(a.body, maxErrorBody))
	if err != nil {
		return c.broken(ctx.Err(), err)
	}
	var e localapi.Error
	if err := json.Unmarshal(data, &e); err != nil || e.Code == "" {
		return c.notAnAgent(fmt.Errorf("status %d without an error object", a.status))
	}
	return &Error{Code: e.Code, Message: e.Message, Hint: e.Hint, Command: e.Command, Status: a.status}
}
