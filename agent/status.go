package agent

import (
	"slices"
	"sync"
	"time"

	"weft/agent/localapi"
)

// maxNotices is what a status shows.
const maxNotices = 10

// Codes of notices.
const (
	noticeKeyStore         = "key_store_file"
	noticeGatewayRestarted = "gateway_restarted"
	noticeOutage           = "outage"
	noticeGatewayDraining  = "gateway_draining"
	noticeWake             = "wake"
	noticeNetworkChanged   = "network_changed"
	noticeControlNotTold   = "control_not_told"
	noticeCachedState      = "cached_state"
	noticeVNETGone         = "vnet_gone"
	noticeRevoked          = "revoked"
	noticeStateFile        = "state_file"
	noticeProxy            = "proxy_busy"
	noticeManaged          = "managed_enrolment"
)

// What of the agent changed, for subscribers.
type change uint8

const (
	changedStatus change = 1 << iota
	changedTargets
	changedVNETs
)

// link is what a status says of the tunnel.
type linkStatus struct {
	gateway, endpoint string
	latency           time.Duration
}

// statusBoard holds what users see and tells who waits for it. Safe for concurrent use.
type statusBoard struct {
	mu      sync.Mutex // guards what follows
	state   localapi.State
	reason  localapi.Reason
	detail  string
	since   time.Time
	link    linkStatus
	proxy   string
	profile string // empty: there is only one
	notices []localapi.Notice
	changed chan struct{} // closed and replaced at each change of state
	subs    map[*subscription]struct{}
}

func (b *statusBoard) init() {
	b.state, b.reason, b.since = localapi.Unregistered, localapi.ReasonNeverRegistered, time.Now()
	b.changed = make(chan struct{})
	b.subs = make(map[*subscription]struct{})
}

// set changes the state; the time of the last change stays when only the detail differs.
func (b *statusBoard) set(s localapi.State, r localapi.Reason, detail string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == s && b.reason == r && b.detail == detail {
		return
	}
	if b.state != s {
		b.since = time.Now()
	}
	if s == localapi.Unregistered || s == localapi.Disconnected {
		b.link = linkStatus{}
	}
	b.state, b.reason, b.detail = s, r, detail
	close(b.changed)
	b.changed = make(chan struct{})
	b.tellLocked(changedStatus)
}

func (b *statusBoard) setLink(l linkStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.link.gateway == l.gateway && b.link.endpoint == l.endpoint
	b.link = l
	if !told { // the latency alone is no event
		b.tellLocked(changedStatus)
	}
}

func (b *statusBoard) setProxy(addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.proxy = addr
}

// current returns the state and a channel that is closed when it changes.
func (b *statusBoard) current() (localapi.State, localapi.Reason, string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.reason, b.detail, b.changed
}

// fill writes its part of a status.
func (b *statusBoard) fill(s *localapi.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.State, s.Reason, s.Detail, s.Since = b.state, b.reason, b.detail, b.since
	s.Gateway, s.Endpoint = b.link.gateway, b.link.endpoint
	s.LatencyMS = float64(b.link.latency.Microseconds()) / 1000
	s.ProxyAddress, s.Profile = b.proxy, b.profile
	s.Notices = append([]localapi.Notice{}, b.notices...)
}

// withdraw takes notices off the status that are no longer true.
func (b *statusBoard) withdraw(codes ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notices = slices.DeleteFunc(slices.Clone(b.notices), func(n localapi.Notice) bool { return slices.Contains(codes, n.Code) })
}

// notice tells users what happened. The same code again replaces what it said, at the
// end of the list.
func (b *statusBoard) notice(code, message string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := localapi.Notice{Time: time.Now(), Code: code, Message: message}
	kept := b.notices[:0]
	for _, old := range b.notices {
		if old.Code != code || old.Message != message {
			kept = append(kept, old)
		}
	}
	b.notices = append(kept, n)
	if extra := len(b.notices) - maxNotices; extra > 0 {
		b.notices = append([]localapi.Notice(nil), b.notices[extra:]...)
	}
	for s := range b.subs {
		s.addNotice(n)
	}
	b.tellLocked(changedStatus)
}

// tell wakes the subscribers.
func (b *statusBoard) tell(c change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tellLocked(c)
}

func (b *statusBoard) tellLocked(c change) {
	for s := range b.subs {
		s.add(c)
	}
}
