// Package audit is the gateway's record of who reached what: one JSON object a line, written before the effect that it
// records. It is not a log: a flow whose line cannot be written is refused.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// The kinds of event.
const (
	FlowOpen   = "flow_open"   // an allowed flow, before its target is dialled
	FlowClose  = "flow_close"  // its end, with bytes and why
	FlowDenied = "flow_denied" // a refused flow
	SSHLogin   = "ssh_login"   // a UNIX user was allowed, before the upstream login
	SSHDenied  = "ssh_denied"  // a UNIX user was refused
	// SSHCertificate is written before the certificate of a login is used. Detail: serial, key_id, ca, valid_before, extensions,
	// source_address
	SSHCertificate = "ssh_certificate"
	SSHEvent       = "ssh_event"        // what happened inside: shell, exec, subsystem, refused request, exit
	RecordStart    = "recording_start"  // Detail: recording (its file)
	RecordEnd      = "recording_end"    // Detail: recording, head (hash of its last chunk), key_id
	RecordFail     = "recording_failed" // Detail: recording, fail_mode
	HostKeyNew     = "host_key_new"     // a target's host key was seen first and pinned
	HostKeyBad     = "host_key_changed"
	GatewayUp      = "gateway_start"
	GatewayDown    = "gateway_stop"
)

// The decisions.
const (
	Allow = "allow"
	Deny  = "deny"
)

// Event is one line. Fields that do not apply are absent.
type Event struct {
	Time          time.Time         `json:"time"`
	Event         string            `json:"event"`
	SessionID     string            `json:"session_id,omitempty"`
	UserID        string            `json:"user_id,omitempty"`
	Email         string            `json:"email,omitempty"`
	DeviceID      string            `json:"device_id,omitempty"`
	DeviceName    string            `json:"device_name,omitempty"`
	Source        netip.AddrPort    `json:"source,omitzero"`
	Destination   netip.AddrPort    `json:"destination,omitzero"`
	Transport     string            `json:"transport,omitempty"`
	TargetID      string            `json:"target_id,omitempty"`
	Hostname      string            `json:"hostname,omitempty"`
	VNETID        string            `json:"vnet_id,omitempty"`
	VNETName      string            `json:"vnet_name,omitempty"`
	Protocol      string            `json:"protocol,omitempty"`
	Login         string            `json:"login,omitempty"`
	Decision      string            `json:"decision,omitempty"`
	Reason        string            `json:"reason,omitempty"`
	ApplicationID string            `json:"application_id,omitempty"`
	PolicyID      string            `json:"policy_id,omitempty"`
	PolicyName    string            `json:"policy_name,omitempty"`
	PolicyRev     uint64            `json:"policy_rev,omitempty"`
	BytesUp       *int64            `json:"bytes_up,omitempty"` // from the client
	BytesDown     *int64            `json:"bytes_down,omitempty"`
	DurationMS    *int64            `json:"duration_ms,omitempty"`
	Suppressed    uint64            `json:"suppressed,omitempty"` // denials of this device since its last line that got none of their own
	Type          string            `json:"type,omitempty"`       // of an ssh_event
	Detail        map[string]string `json:"detail,omitempty"`
	Error         string            `json:"error,omitempty"`
}

// Log writes events to one sink. It is safe for concurrent use.
type Log struct {
	written, failed atomic.Uint64

	mu    sync.Mutex
	w     io.Writer
	close func() error
	torn  bool // the last line is incomplete
}

// Open appends to the file at path, which it creates with mode 0600; "-" is standard output.
func Open(path string) (*Log, error) {
	if path == "-" {
		return New(os.Stdout), nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open audit log: %w", err)
	}
	l := New(f)
	l.close = f.Close
	return l, nil
}

// New writes to w, one Write call a line.
func New(w io.Writer) *Log { return &Log{w: w} }

// Write appends one event; a zero Time is now. When it returns an error the event is not on record,
// and what it would have allowed must not happen. The line is with the operating system, not yet on the disk.
func (l *Log) Write(e Event) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	line, err := json.Marshal(e)
	if err != nil {
		l.failed.Add(1)
		return fmt.Errorf("encode audit event: %w", err)
	}
	line = append(line, '\n')
	if err := l.append(line); err != nil {
		l.failed.Add(1)
		return fmt.Errorf("write audit event: %w", err)
	}
	l.written.Add(1)
	return nil
}

func (l *Log) append(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return os.ErrClosed
	}
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.w.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if err != nil {
		l.torn = l.torn || n > 0
		return err
	}
	l.torn = false
	return nil
}

// Counts are the lines written and the lines lost.
func (l *Log) Counts() (written, failed uint64) { return l.written.Load(), l.failed.Load() }

// Close ends the log; later writes fail.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w == nil {
		return nil
	}
	l.w = nil
	if l.close == nil {
		return nil
	}
	return errors.Join(l.close())
}
