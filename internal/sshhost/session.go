package sshhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"

	"golang.org/x/crypto/ssh"
)

// session is one session channel (RFC 4254 section 6).
type session struct {
	host *Host
	user string
	ch   ssh.Channel

	env     map[string]string
	pty     *ptyRequest
	resize  func(cols, rows uint32) // set while a program with a terminal runs
	signal  func(name string)       // set while a program runs
	running bool
	wg      sync.WaitGroup // the program and its copying
}

type ptyRequest struct {
	Term                             string
	Columns, Rows, WidthPx, HeightPx uint32
	Modes                            string
}

// program is what a session runs. It returns the exit status.
type program func(ctx context.Context) uint32

// serve answers requests until the client closes the channel, and ends the program then.
func (s *session) serve(ctx context.Context, reqs <-chan *ssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	defer s.wg.Wait()
	defer cancel()
	s.env = make(map[string]string)
	for req := range reqs {
		run, err := s.request(ctx, req)
		ok := err == nil
		if run != nil {
			s.running = true
		}
		_ = req.Reply(ok, nil) // fails when the client is gone, and then reqs ends
		if run != nil {
			s.wg.Go(func() { s.finish(run(ctx)) })
		}
	}
}

// finish reports the status and closes the channel.
func (s *session) finish(status uint32) {
	// All fail when the client is gone; there is nobody to tell.
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	_ = s.ch.CloseWrite()
	_ = s.ch.Close()
}

var errRefused = errors.New("refused")

// request handles one; the program is not nil when it starts one.
func (s *session) request(ctx context.Context, req *ssh.Request) (program, error) {
	switch req.Type {
	case "env":
		var m struct{ Name, Value string }
		if err := ssh.Unmarshal(req.Payload, &m); err != nil || len(s.env) >= 64 {
			return nil, errRefused
		}
		s.env[m.Name] = m.Value
		return nil, nil
	case "pty-req":
		var m ptyRequest
		if err := ssh.Unmarshal(req.Payload, &m); err != nil || s.running {
			return nil, errRefused
		}
		s.pty = &m
		return nil, nil
	case "window-change":
		var m struct{ Columns, Rows, WidthPx, HeightPx uint32 }
		if err := ssh.Unmarshal(req.Payload, &m); err != nil || s.resize == nil {
			return nil, errRefused
		}
		s.resize(m.Columns, m.Rows)
		return nil, nil
	case "signal":
		var m struct{ Name string }
		if err := ssh.Unmarshal(req.Payload, &m); err != nil || s.signal == nil {
			return nil, errRefused
		}
		s.signal(m.Name)
		return nil, nil
	case "shell":
		return s.start(ctx, "", true)
	case "exec":
		var m struct{ Command string }
		if err := ssh.Unmarshal(req.Payload, &m); err != nil {
			return nil, fmt.Errorf("exec: %w", err)
		}
		return s.start(ctx, m.Command, false)
	}
	return nil, errRefused
}

// start chooses what to run.
func (s *session) start(ctx context.Context, command string, interactive bool) (program, error) {
	if s.running {
		return nil, errRefused
	}
	if s.host.cfg.Shell != "" {
		return s.startShell(ctx, command, interactive)
	}
	signals := make(chan string, 1)
	s.signal = func(name string) {
		select {
		case signals <- name:
		default: // the program has one to read still
		}
	}
	e := &execution{
		host: s.host.cfg.Name, user: s.user, env: maps.Clone(s.env), signals: signals,
		stdin: s.ch, stdout: s.ch, stderr: s.ch.Stderr(),
	}
	if p := s.pty; p != nil {
		t := &terminal{w: s.ch, cols: p.Columns, rows: p.Rows}
		s.resize = t.resize
		e.stdout, e.stderr, e.terminal = t, t, t
	}
	if interactive {
		return e.shell, nil
	}
	return func(ctx context.Context) uint32 { return e.run(ctx, command) }, nil
}

// terminal stands in for a pseudo-terminal of built-in commands: it knows its size and ends lines with CR LF.
type terminal struct {
	w io.Writer

	mu         sync.Mutex // guards the following
	cols, rows uint32
}

func (t *terminal) resize(cols, rows uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cols, t.rows = cols, rows
}

func (t *terminal) size() (cols, rows uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cols, t.rows
}

func (t *terminal) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b)+8)
	for _, c := range b {
		if c == '\n' {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
