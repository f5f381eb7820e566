package control

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/api"
	"weft/control/store"
)

// streamKind says who is at the other end of a stream.
type streamKind int

const (
	agentStream streamKind = iota
	gatewayStream
	connectorStream
)

// The limits on streams. A device needs one; a second is there while the first has not noticed that it is dead.
var maxStreams = map[streamKind]int{agentStream: 4, gatewayStream: 4, connectorStream: 50}

type streamKey struct {
	kind streamKind
	id   string
}

// streams knows what is open, for the limits, the status of tunnels and to end streams.
type streams struct {
	most int

	mu    sync.Mutex
	open  map[streamKey]map[*openStream]struct{} // guarded by mu
	total int                                    // guarded by mu
}

type openStream struct {
	info   api.TunnelConnection
	cancel context.CancelCauseFunc
}

func newStreams(most int) *streams {
	return &streams{most: most, open: map[streamKey]map[*openStream]struct{}{}}
}

var errDropped = errors.New("an administrator ended the connection")

// enter counts a stream in; leave it.
func (s *streams) enter(ctx context.Context, kind streamKind, q *call, id string) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := streamKey{kind, id}
	if s.total >= s.most {
		return nil, nil, tooMany("the control plane has reached its limit of %d streams", s.most)
	}
	if len(s.open[key]) >= maxStreams[kind] {
		return nil, nil, tooMany("%d streams with this credential are open already", maxStreams[kind])
	}
	ctx, cancel := context.WithCancelCause(ctx)
	o := &openStream{cancel: cancel, info: api.TunnelConnection{
		ID: q.id, ClientVersion: q.r.UserAgent(), OriginIP: q.addr.String(), OpenedAt: store.Stamp(time.Now()), Features: []string{},
		Conns: []api.TunnelConn{{
			ID: q.id, UUID: q.id, ClientID: q.id, ClientVersion: q.r.UserAgent(), ColoName: "control", OpenedAt: store.Stamp(time.Now()), OriginIP: q.addr.String(),
		}},
	}}
	if s.open[key] == nil {
		s.open[key] = map[*openStream]struct{}{}
	}
	s.open[key][o] = struct{}{}
	s.total++
	return ctx, func() {
		cancel(nil)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open[key], o)
		if len(s.open[key]) == 0 {
			delete(s.open, key)
		}
		s.total--
	}, nil
}

func (s *streams) count(kind streamKind, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open[streamKey{kind, id}])
}

func (s *streams) list(kind streamKind, id string) []api.TunnelConnection {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []api.TunnelConnection{}
	for o := range s.open[streamKey{kind, id}] {
		out = append(out, o.info)
	}
	slices.SortFunc(out, func(a, b api.TunnelConnection) int { return strings.Compare(a.OpenedAt+a.ID, b.OpenedAt+b.ID) })
	return out
}

// drop ends the streams of id, or only the one with an ID of its own.
func (s *streams) drop(kind streamKind, id, only string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := range s.open[streamKey{kind, id}] {
		if only == "" || o.info.ID == only {
			o.cancel(errDropped)
		}
	}
}

// live are the IDs that have a stream, sorted.
func (s *streams) live(kind streamKind) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []string{}
	for k := range s.open {
		if k.kind == kind {
			out = append(out, k.id)
		}
	}
	slices.Sort(out)
	return out
}
