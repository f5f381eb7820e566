// Package server is the agent's side of the local API (weft/agent/localapi): HTTP/1.1
// with JSON over a socket whose caller the kernel names.
//
// A request passes, in this order: the limits on connections, who calls, the checks that no
// browser can pass (no Origin, a Host of ours) and of its form, the caller's tier
// against that of the route and whose session it is about (access.go), the limits on body,
// streams and dials. What fails is answered with a localapi.Error, whose hint is a
// command that would work.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"weft/agent/localapi"
	"weft/agent/relay"
	"weft/internal/localsock"
)

// Agent is what the server serves. Its errors are *fault.Error, *kind.Error, or
// internal. Safe for concurrent use.
type Agent interface {
	sshHostAgent
	forwardAgent
	Version() localapi.Version
	Status() localapi.Status
	Registration() (localapi.Registration, error)
	Register(ctx context.Context, enrolment string) (localapi.Registration, error)
	Unregister(ctx context.Context) error
	// Connect waits until connected or ctx ends.
	Connect(ctx context.Context) (localapi.Status, error)
	// Pause disconnects for d; 0: until somebody connects.
	Pause(ctx context.Context, d time.Duration) (localapi.Status, error)
	VNETs() localapi.VNETList
	SelectVNET(ctx context.Context, ref string) (localapi.VNETList, error)
	Targets(q TargetQuery) (localapi.TargetList, error)
	Resolve(name, vnet string, port uint16) (localapi.Resolution, error)
	DialFlow(ctx context.Context, d localapi.Dial) (relay.Flow, error)
	Subscribe() (Subscription, error)
	Explainer
	Diagnoser
	FlowAgent
	SettingAgent
	TunnelAgent
	DebugAgent
}

// TargetQuery is the filter of a target list: AND across fields, OR within one.
type TargetQuery struct {
	Attributes []string // key=value
	Usernames  []string
	Hostnames  []string // patterns, see targets.Glob
	Protocols  []string
	Ports      []string
	VNETs      []string // names or IDs
	IDs        []string
	IPs        []string // addresses or prefixes
}

// Subscription is one reader of the event stream. What was not yet taken is
// coalesced, so it is bounded however slow the reader is.
type Subscription interface {
	// Ready has a value when Take would return something.
	Ready() <-chan struct{}
	// Take returns what changed since the last call; the first call returns the snapshot.
	Take() []localapi.Event
	Close()
}

// Config of a Server. Zero limits mean the defaults named.
type Config struct {
	// Agents are the sessions that requests are about.
	Agents Sessions
	// Agent is for a server with one session, that of Owner; Agents is nil then.
	Agent Agent
	// Owner is the identity of the agent's process.
	Owner localsock.Caller
	// Version is answered without a session. Empty: the agent says it.
	Version string
	// Socket is the path that hints name.
	Socket string
	Logger *slog.Logger
	// MaxConns bounds open connections, dial streams included; 0 means 2048.
	MaxConns int
	// MaxConnsPerUser bounds those of one account; 0 means 1024.
	MaxConnsPerUser int
	// MaxStreams bounds event streams; 0 means 64. MaxStreamsPerUser: 0 means 16.
	MaxStreams, MaxStreamsPerUser int
	// MaxDials bounds dials in flight; 0 means 256. MaxDialsPerUser: 0 means 128.
	MaxDials, MaxDialsPerUser int
	// DialTimeout bounds one dial; 0 means 10 s.
	DialTimeout time.Duration
	// BodyTimeout bounds reading a request's body and writing an answer; 0 means 10 s.
	BodyTimeout time.Duration
	// HeadTimeout bounds reading a request's head; 0 means 5 s.
	HeadTimeout time.Duration
}

// Limits of a request; the README of the local API names them.
const (
	maxBodyBytes   = 64 << 10
	maxHeaderBytes = 16 << 10
	maxHeaders     = 64 // fields of a head
	maxWait        = 10 * time.Minute
	defaultWait    = 30 * time.Second
	maxPause       = 30 * 24 * time.Hour
)

// Stats counts what the server refused.
type Stats struct {
	OverConns   uint64 // connections over a limit
	OverStreams uint64
	OverDials   uint64
	NotAllowed  uint64 // requests above the caller's tier
	Browser     uint64 // requests with an Origin or a foreign Host
	BadHeads    uint64 // connections or requests whose head is malformed, too large, too slow, or not of our form
	OverBody    uint64 // bodies over the limit, or where none belongs
	SlowBodies  uint64 // bodies that did not come in time
	SlowReaders uint64 // event streams ended because their reader took too long
}

// Server serves the local API.
type Server struct {
	cfg      Config
	log      *slog.Logger
	sessions Sessions
	mux      *http.ServeMux
	streams  *quota
	dials    *quota

	overConns, overStreams, overDials, notAllowed, browser, slowReaders atomic.Uint64
	overBody, slowBodies, badHeads                                      atomic.Uint64
	relays                                                              sync.WaitGroup
}

// New returns a server; it starts nothing.
func New(cfg Config) (*Server, error) {
	if (cfg.Agent == nil) == (cfg.Agents == nil) {
		return nil, errors.New("make local API: one agent, or many sessions")
	}
	if cfg.Agents == nil {
		cfg.Agents = single{agent: cfg.Agent, owner: cfg.Owner.Account()}
	}
	setDefault(&cfg.MaxConns, 2048)
	setDefault(&cfg.MaxConnsPerUser, 1024)
	setDefault(&cfg.MaxStreams, 64)
	setDefault(&cfg.MaxStreamsPerUser, 16)
	setDefault(&cfg.MaxDials, 256)
	setDefault(&cfg.MaxDialsPerUser, 128)
	setDefault(&cfg.DialTimeout, 10*time.Second)
	setDefault(&cfg.BodyTimeout, 10*time.Second)
	setDefault(&cfg.HeadTimeout, 5*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, sessions: cfg.Agents,
		streams: newQuota(cfg.MaxStreams, cfg.MaxStreamsPerUser),
		dials:   newQuota(cfg.MaxDials, cfg.MaxDialsPerUser),
	}
	s.mux = s.routes()
	return s, nil
}

func setDefault[T int | time.Duration](p *T, d T) {
	if *p == 0 {
		*p = d
	}
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		OverConns: s.overConns.Load(), OverStreams: s.overStreams.Load(), OverDials: s.overDials.Load(),
		NotAllowed: s.notAllowed.Load(), Browser: s.browser.Load(), SlowReaders: s.slowReaders.Load(),
		BadHeads: s.badHeads.Load(), OverBody: s.overBody.Load(), SlowBodies: s.slowBodies.Load(),
	}
}

// Serve serves ln, whose connections name their caller as *localsock.Conn does,
// until ctx ends; it closes ln and returns nil after the last stream.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hs := &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: s.cfg.HeadTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withConn,
		ConnState:         s.noteState,
		Protocols:         http1Only(),
		// "OPTIONS *" would be answered without asking who calls.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- hs.Serve(s.limit(ln)) }()
	var err error
	select {
	case <-ctx.Done():
		err = s.shutdown(ctx, hs)
		if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	case err = <-done:
		err = fmt.Errorf("serve local API: %w", err)
		cancel()
	}
	s.relays.Wait()
	return err
}

// shutdown lets answers under way be written for a second.
func (s *Server) shutdown(ctx context.Context, hs *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := hs.Shutdown(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.DebugContext(ctx, "local API did not drain", "error", err)
		if err := hs.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("close local API: %w", err)
		}
	}
	return nil
}
