package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"weft/api"
	"weft/control/store"
)

// Limits of what control planes on one account know of each other.
const (
	maxReplicas = 64
	// beatInterval is how often a replica says that it lives; one that was silent for replicaTimeout is gone, and so are its streams.
	beatInterval   = 3 * time.Second
	replicaTimeout = 10 * time.Second
	tellTimeout    = 5 * time.Second
	maxPending     = 4096 // changes that are told one by one; more are told as the whole
	// askInterval bounds how often one that must say all is asked to: it may be much, and on its way.
	askInterval = time.Second
)

// replicas are the other control planes on the same database, as they tell of themselves over it. Each says which
// streams it has, so that all answer alike to the question who is connected, and passes on what is meant for streams that
// another one has. What is told is a hint: nothing about permissions goes this way, that is in the database.
//
// A nil *replicas has none, as with SQLite. Safe for concurrent use.
type replicas struct {
	id      string
	store   *store.Store
	log     *slog.Logger
	streams *streams
	ask     *questions

	wake chan struct{} // holds a token when there is something to tell

	mu      sync.Mutex
	peers   map[string]*peer // guarded by mu, as all below
	pending []replicaChange
	out     []replicaMessage // other things to say
	whole   bool             // tell everything instead of pending
	who     bool             // ask the others for everything
	seq     uint64
}

// peer is another control plane.
type peer struct {
	seen    time.Time
	asked   time.Time // when it was asked to say all
	seq     uint64
	streams map[string]replicaStream
	of      map[streamKey]map[string]struct{}
}

// replicaStream is a stream as it is told of: who is at the other end, and what the API shows of it.
type replicaStream struct {
	Kind streamKind           `json:"kind"`
	Of   string               `json:"of"`
	Info api.TunnelConnection `json:"info"`
}

// newReplicaStream leaves out what nobody shows: there may be thousands of agents.
func newReplicaStream(key streamKey, info api.TunnelConnection) replicaStream {
	if key.kind == agentStream {
		info = api.TunnelConnection{ID: info.ID}
	}
	return replicaStream{Kind: key.kind, Of: key.id, Info: info}
}

type replicaChange struct {
	Opened *replicaStream `json:"opened,omitempty"`
	Closed string         `json:"closed,omitempty"`
}

// The kinds of messages.
const (
	tellBeat     = "beat"     // I live, and am at this sequence number
	tellWhole    = "whole"    // these are all my streams
	tellChanges  = "changes"  // this is what changed since the number before
	tellWho      = "who"      // say all, to me or in general
	tellBye      = "bye"      // I end
	tellDrop     = "drop"     // end the streams of somebody
	tellQuestion = "question" // who has the gateway, ask it
	tellTaken    = "taken"    // it is asked
	tellAnswer   = "answer"   // what it said
)

// replicaMessage is what is told; To is empty when it is for all.
type replicaMessage struct {
	Kind     string               `json:"kind"`
	From     string               `json:"from"`
	To       string               `json:"to,omitempty"`
	Seq      uint64               `json:"seq,omitempty"`
	Streams  []replicaStream      `json:"streams,omitempty"`
	Changes  []replicaChange      `json:"changes,omitempty"`
	Stream   *replicaStream       `json:"stream,omitempty"`
	Only     string               `json:"only,omitempty"` // the ID of the one stream that is meant
	Gateway  string               `json:"gateway,omitempty"`
	Question *api.GatewayQuestion `json:"question,omitempty"`
	Reply    *api.GatewayReply    `json:"reply,omitempty"`
}

var _ store.Listener = (*replicas)(nil)

func newReplicas(s *store.Store, log *slog.Logger, open *streams, ask *questions) *replicas {
	return &replicas{
		id: uuid.NewString(), store: s, log: log, streams: open, ask: ask, wake: make(chan struct{}, 1), peers: map[string]*peer{},
	}
}

// run tells of this control plane until ctx ends.
func (r *replicas) run(ctx context.Context) {
	beat := time.NewTicker(beatInterval)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			r.tell(context.WithoutCancel(ctx), replicaMessage{Kind: tellBye})
			return
		case <-r.wake:
		case <-beat.C:
			r.expire(time.Now())
			r.tell(ctx, replicaMessage{Kind: tellBeat, Seq: r.number()})
			continue
		}
		r.tellNews(ctx)
	}
}

// tellNews sends what has gathered: all streams when that was asked for or much has changed.
func (r *replicas) tellNews(ctx context.Context) {
	r.mu.Lock()
	changes, whole, who := r.pending, r.whole, r.who
	out := r.out
	r.pending, r.out, r.whole, r.who = nil, nil, false, false
	if whole || len(changes) > 0 {
		r.seq++
	}
	seq := r.seq
	r.mu.Unlock()
	for _, m := range out {
		r.tell(ctx, m)
	}
	if who {
		r.tell(ctx, replicaMessage{Kind: tellWho})
	}
	switch {
	case whole: // streams that open meanwhile are in it and are told again, which changes nothing
		r.tell(ctx, replicaMessage{Kind: tellWhole, Seq: seq, Streams: r.streams.all()})
	case len(changes) > 0:
		r.tell(ctx, replicaMessage{Kind: tellChanges, Seq: seq, Changes: changes})
	}
}

func (r *replicas) number() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seq
}

// tell sends; what is lost is noticed by its number.
func (r *replicas) tell(ctx context.Context, m replicaMessage) {
	if err := r.send(ctx, m); err != nil && ctx.Err() == nil {
		r.log.DebugContext(ctx, "tell other control planes", "error", err)
	}
}

func (r *replicas) send(ctx context.Context, m replicaMessage) error {
	m.From = r.id
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	return r.store.Tell(ctx, raw)
}

// queue has a message sent soon. Too many are dropped: who waits for them gives up in time.
func (r *replicas) queue(m replicaMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queueLocked(m)
}

func (r *replicas) queueLocked(m replicaMessage) {
	if len(r.out) < maxPending {
		r.out = append(r.out, m)
	}
	r.poke()
}

func (r *replicas) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // it will see this, too
	}
}

func (r *replicas) opened(key streamKey, info api.TunnelConnection) {
	if r == nil {
		return
	}
	s := newReplicaStream(key, info)
	r.note(replicaChange{Opened: &s})
}

func (r *replicas) closed(id string) {
	if r == nil {
		return
	}
	r.note(replicaChange{Closed: id})
}

func (r *replicas) note(c replicaChange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) >= maxPending {
		r.pending, r.whole = nil, true
	}
	if !r.whole {
		r.pending = append(r.pending, c)
	}
	r.poke()
}

// list are the streams that others have.
func (r *replicas) list(key streamKey) []api.TunnelConnection {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []api.TunnelConnection
	for _, p := range r.peers {
		if time.Since(p.seen) > replicaTimeout {
			continue
		}
		for id := range p.of[key] {
			out = append(out, p.streams[id].Info)
		}
	}
	return out
}

// of are the IDs that have a stream of a kind at another control plane.
func (r *replicas) of(kind streamKind) []string {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, p := range r.peers {
		if time.Since(p.seen) > replicaTimeout {
			continue
		}
		for key, ids := range p.of {
			if key.kind == kind && len(ids) > 0 {
				out = append(out, key.id)
			}
		}
	}
	return out
}

func (r *replicas) drop(ctx context.Context, key streamKey, only string) error {
	if r == nil {
		return nil
	}
	return r.send(ctx, replicaMessage{Kind: tellDrop, Stream: &replicaStream{Kind: key.kind, Of: key.id}, Only: only})
}

func (r *replicas) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, p := range r.peers {
		if now.Sub(p.seen) > replicaTimeout {
			delete(r.peers, id)
		}
	}
}

// Joined says all that there is to say, and asks for the same.
func (r *replicas) Joined() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole, r.who = true, true
	r.poke()
}

// Heard takes a message. It is called by the one goroutine that listens.
func (r *replicas) Heard(raw []byte) {
	var m replicaMessage
	if err := json.Unmarshal(raw, &m); err != nil || m.From == "" || m.From == r.id || m.To != "" && m.To != r.id {
		return
	}
	switch m.Kind {
	case tellBeat, tellWhole, tellChanges:
		r.hearOf(&m)
	case tellBye:
		r.mu.Lock()
		delete(r.peers, m.From)
		r.mu.Unlock()
	case tellWho:
		r.mu.Lock()
		r.whole = true
		r.poke()
		r.mu.Unlock()
	case tellDrop:
		if m.Stream != nil {
			r.streams.dropLocal(streamKey{m.Stream.Kind, m.Stream.Of}, m.Only)
		}
	case tellQuestion, tellTaken, tellAnswer:
		r.ask.passOn(r, &m)
	}
}

// hearOf keeps what another control plane says of its streams, or asks for all when something was missed.
func (r *replicas) hearOf(m *replicaMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[m.From]
	if p == nil {
		if len(r.peers) >= maxReplicas {
			return
		}
		p = &peer{}
		r.peers[m.From] = p
	}
	p.seen = time.Now()
	switch {
	case m.Kind == tellWhole:
		p.replace(m.Streams)
	case m.Kind == tellChanges && m.Seq == p.seq+1 && p.streams != nil:
		p.apply(m.Changes)
	case m.Kind == tellBeat && m.Seq == p.seq && p.streams != nil:
	default:
		if time.Since(p.asked) >= askInterval {
			p.asked = time.Now()
			r.queueLocked(replicaMessage{Kind: tellWho, To: m.From})
		}
		return
	}
	p.seq = m.Seq
}

func (p *peer) replace(all []replicaStream) {
	p.streams, p.of = map[string]replicaStream{}, map[streamKey]map[string]struct{}{}
	for i := range all {
		p.add(all[i])
	}
}

func (p *peer) apply(changes []replicaChange) {
	for _, c := range changes {
		if c.Opened != nil {
			p.add(*c.Opened)
			continue
		}
		p.remove(c.Closed)
	}
}

func (p *peer) add(s replicaStream) {
	key := streamKey{s.Kind, s.Of}
	p.streams[s.Info.ID] = s
	if p.of[key] == nil {
		p.of[key] = map[string]struct{}{}
	}
	p.of[key][s.Info.ID] = struct{}{}
}

func (p *peer) remove(id string) {
	s, ok := p.streams[id]
	if !ok {
		return
	}
	delete(p.streams, id)
	key := streamKey{s.Kind, s.Of}
	if delete(p.of[key], id); len(p.of[key]) == 0 {
		delete(p.of, key)
	}
}
