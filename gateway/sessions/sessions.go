// Package sessions is the table of live flows: who has what open, within which limits, and how to cut it.
package sessions

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"weft/access"
	"weft/internal/connwire"
	"weft/targets"
	"weft/vnet"
)

// Session is one flow. Its exported fields are set before Add and never change.
type Session struct {
	ID          string // UUIDv7
	DeviceID    string
	DeviceName  string
	UserID      string
	Email       string
	VNET        vnet.ID
	VNETName    string
	Source      netip.AddrPort
	Destination netip.AddrPort
	Transport   targets.Transport
	Protocol    targets.Protocol
	TargetID    targets.ID
	Hostname    string
	Application string // ID; these four are of the connection, see Grant
	Policy      string // ID
	PolicyName  string
	Revision    uint64
	Tunnel      vnet.TunnelID
	Start       time.Time
	Counts      connwire.Counts

	mu       sync.Mutex
	login    string
	grant    *Grant // nil: that of the connection
	recorded bool
	cause    error
	onCut    []func(cause error)
	closed   bool
	table    *Table // nil before Add
	terminal Terminal
	clock    *Clock

	onRecheck func(now access.Decision) error

	changed uint64 // the table's sequence number of its last change; guarded by table.mu
}

// SetLogin records the UNIX user of an SSH session.
func (s *Session) SetLogin(login string) {
	s.mu.Lock()
	s.login = login
	t := s.table
	s.mu.Unlock()
	t.touch(s)
}

// SetRecorded notes that the session is recorded.
func (s *Session) SetRecorded(on bool) {
	s.mu.Lock()
	s.recorded = on
	t := s.table
	s.mu.Unlock()
	t.touch(s)
}

// Recorded reports whether the session is recorded.
func (s *Session) Recorded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recorded
}

// Login is the UNIX user, "" until one was allowed.
func (s *Session) Login() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.login
}

// OnCut has f called once when the session is cut, or now if it was. f must not block.
func (s *Session) OnCut(f func(cause error)) {
	s.mu.Lock()
	cause := s.cause
	if cause == nil {
		s.onCut = append(s.onCut, f)
	}
	s.mu.Unlock()
	if cause != nil {
		f(cause)
	}
}

// Cut ends the session for a reason; only the first one counts.
func (s *Session) Cut(cause error) bool {
	s.mu.Lock()
	if s.cause != nil || s.closed {
		s.mu.Unlock()
		return false
	}
	s.cause = cause
	fs := s.onCut
	s.onCut = nil
	s.mu.Unlock()
	for _, f := range fs {
		f(cause)
	}
	return true
}

// Cause is why the session was cut; nil if it was not.
func (s *Session) Cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// Limits bound what one device, and all devices, may have; zero means the default.
type Limits struct {
	MaxFlows          int // open flows of all devices; 65536
	MaxFlowsPerDevice int // 4096
	MaxUDP            int // UDP flows of all devices, among the above; 16384
	MaxUDPPerDevice   int // 512
	MaxDials          int // flows whose target has not answered yet; 4096
	MaxDialsPerDevice int // 512
}

func (l Limits) withDefaults() Limits {
	l.MaxFlows = orDefault(l.MaxFlows, 65536)
	l.MaxFlowsPerDevice = orDefault(l.MaxFlowsPerDevice, 4096)
	l.MaxUDP = orDefault(l.MaxUDP, 16384)
	l.MaxUDPPerDevice = orDefault(l.MaxUDPPerDevice, 512)
	l.MaxDials = orDefault(l.MaxDials, 4096)
	l.MaxDialsPerDevice = orDefault(l.MaxDialsPerDevice, 512)
	return l
}

func orDefault(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}

// ErrLimit is returned by Add; the text says which limit.
var ErrLimit = errors.New("too many flows")

// The limits that Add meets, as the names of their counters.
const (
	limitFlows       = "flows"
	limitDeviceFlows = "flows_per_device"
	limitUDP         = "udp_flows"
	limitDeviceUDP   = "udp_flows_per_device"
	limitDials       = "dials"
	limitDeviceDials = "dials_per_device"
)

type usage struct{ flows, udp, dials int }

// Table holds the live sessions. It is safe for concurrent use.
type Table struct {
	limits Limits

	mu       sync.Mutex
	sessions map[*Session]bool // true while its target is being dialled
	total    usage
	devices  map[string]*usage
	refused  map[string]uint64 // by limit
	opened   uint64
	history
}

// New makes an empty table.
func New(l Limits) *Table {
	return &Table{
		limits: l.withDefaults(), sessions: make(map[*Session]bool),
		devices: make(map[string]*usage), refused: make(map[string]uint64), history: history{quiet: make(chan struct{}, 1)},
	}
}

// Add registers s as dialling. It fails with ErrLimit.
func (t *Table) Add(s *Session) error {
	s.mu.Lock()
	s.table = t
	s.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.devices[s.DeviceID]
	if d == nil {
		d = &usage{}
	}
	if name := t.exceededLocked(d, s.Transport == targets.TransportUDP); name != "" {
		t.refused[name]++
		return errors.Join(ErrLimit, errors.New(name))
	}
	t.devices[s.DeviceID] = d
	t.sessions[s] = true
	t.opened++
	t.changedLocked(s)
	for _, u := range []*usage{&t.total, d} {
		u.flows++
		u.dials++
		if s.Transport == targets.TransportUDP {
			u.udp++
		}
	}
	return nil
}

func (t *Table) exceededLocked(d *usage, udp bool) string {
	l := &t.limits
	switch {
	case t.total.flows >= l.MaxFlows:
		return limitFlows
	case d.flows >= l.MaxFlowsPerDevice:
		return limitDeviceFlows
	case t.total.dials >= l.MaxDials:
		return limitDials
	case d.dials >= l.MaxDialsPerDevice:
		return limitDeviceDials
	case udp && t.total.udp >= l.MaxUDP:
		return limitUDP
	case udp && d.udp >= l.MaxUDPPerDevice:
		return limitDeviceUDP
	default:
		return ""
	}
}

// Dialled says that the target of s has answered.
func (t *Table) Dialled(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions[s] {
		t.sessions[s] = false
		t.changedLocked(s)
		t.total.dials--
		t.devices[s.DeviceID].dials--
	}
}

// Close settles why s ends: it cannot be cut any more. End must follow.
func (s *Session) Close() {
	s.mu.Lock()
	clock := s.clock
	s.closed, s.onCut, s.onRecheck, s.terminal, s.clock = true, nil, nil, nil, nil
	s.mu.Unlock()
	if clock != nil {
		clock.Stop()
	}
}

// Remove takes away a session that did not come about; it is idempotent.
func (t *Table) Remove(s *Session) { t.End(s, "") }

// End takes s off the table for a reason; it is idempotent.
func (t *Table) End(s *Session, reason string) {
	s.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	dialling, ok := t.sessions[s]
	if !ok {
		return
	}
	delete(t.sessions, s)
	d := t.devices[s.DeviceID]
	for _, u := range []*usage{&t.total, d} {
		u.flows--
		if dialling {
			u.dials--
		}
		if s.Transport == targets.TransportUDP {
			u.udp--
		}
	}
	if d.flows == 0 {
		delete(t.devices, s.DeviceID)
	}
	t.endedLocked(s, reason)
}

// All is a copy of the list.
func (t *Table) All() []*Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*Session, 0, len(t.sessions))
	for s := range t.sessions {
		out = append(out, s)
	}
	return out
}

// Reevaluate cuts every session for which keep returns an error, and returns how many.
func (t *Table) Reevaluate(keep func(*Session) error) int {
	n := 0
	for _, s := range t.All() {
		if err := keep(s); err != nil && s.Cut(err) {
			n++
		}
	}
	return n
}

// Stats is a snapshot of the table.
type Stats struct {
	Open, OpenUDP, Dialling int
	Opened                  uint64
	Refused                 map[string]uint64 // by limit
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := Stats{
		Open: t.total.flows, OpenUDP: t.total.udp, Dialling: t.total.dials, Opened: t.opened,
		Refused: make(map[string]uint64, len(t.refused)),
	}
	for k, v := range t.refused {
		st.Refused[k] = v
	}
	return st
}

// CutError is why a session was cut, in words for its user.
type CutError struct {
	Reason  access.Reason
	Message string
	By      string // who, when it was not the gateway itself
}

// Error implements error.
func (e *CutError) Error() string { return e.Message }
