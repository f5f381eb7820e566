package recording

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// FailMode says what becomes of a session that can no longer be recorded.
type FailMode string

// The fail modes.
const (
	FailStop  FailMode = "stop"  // the session ends
	FailAlarm FailMode = "alarm" // it goes on unrecorded, with an alarm
)

// SessionConfig is one session to be recorded.
type SessionConfig struct {
	Subject Subject
	// GatewayID is for the header, when it was not known yet when the Recorder was made.
	GatewayID string
	// LogKey is for the header: the public key for which the account wants session logs encrypted; "": none.
	LogKey string
	// OnFail is called once, from any goroutine, when nothing more is recorded. It must not block. Nil: nobody asks.
	OnFail func(error)
}

// Session is a recording that is being written. Its methods are safe for concurrent use, never fail to the caller's face
// (see SessionConfig.OnFail) and block for Config.MaxStall at most.
type Session struct {
	r       *Recorder
	name    string // below Dir, without the suffix of a file that is being written
	session string
	start   time.Time
	onFail  func(error)

	// w is used by whoever set flushing.
	w *chunkWriter

	// mu guards the following.
	mu       sync.Mutex
	pending  *[]byte // records not yet written; nil: none
	first    int64
	last     int64
	frames   []KeyFrameRef
	flushing bool
	due      bool          // what is pending is to be written although it is little
	flushed  chan struct{} // closed when a flush ended; nil: nobody waits
	timer    *time.Timer
	err      error
	closed   bool
	counts   End
	cells    int64 // of its terminals
}

// buffers hold pending records; most sessions at most times have none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, chunkSize+chunkSize/4); return &b }}

const (
	// chunkSize is how much is written at once; less when the time has come.
	chunkSize = 64 << 10
	// maxPending is what a session may hold while its file does not take it.
	maxPending = 512 << 10
)

// ErrStalled is the failure of a file that takes nothing for Config.MaxStall.
var ErrStalled = errors.New("the recording's file does not keep up")

// ErrTooLong is the failure of a recording that reached Config.MaxFileBytes.
var ErrTooLong = errors.New("the recording has reached its size limit")

// Name is the file of the finished recording, relative to the directory or bucket, with slashes.
func (s *Session) Name() string { return s.name }

// Err is why nothing more is recorded; nil while it is.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// now is microseconds since 1970 that never go back.
func (s *Session) now() int64 { return micros(s.start) + time.Since(s.start).Microseconds() }

// Event records what happened to the connection as a whole, or on a channel that has no Channel.
func (s *Session) Event(e Event) { s.event(e, e.Channel) }

func (s *Session) event(e Event, channel int) {
	command := e.isCommand()
	e.Time, e.Channel = time.Time{}, 0
	b, err := e.encode()
	if err != nil {
		s.fail(err)
		return
	}
	s.record(RecordEvent, channel, b, func() {
		s.counts.Events++
		if command {
			s.counts.Commands++
		}
	})
}

// record appends one record. done is called with the lock held when it was; nil: nothing to do.
func (s *Session) record(kind RecordKind, channel int, data []byte, done func()) {
	s.mu.Lock()
	err := s.roomLocked(len(data))
	if err == nil {
		s.appendLocked(kind, channel, data)
		if done != nil {
			done()
		}
	}
	s.mu.Unlock()
	if err != nil {
		s.fail(err)
	}
}

// errOver says that the session takes no more, which was told already.
var errOver = errors.New("over")

// roomLocked waits until n more bytes may be pending.
func (s *Session) roomLocked(n int) error {
	var timeout *time.Timer
	for {
		if s.err != nil || s.closed {
			return errOver
		}
		if s.pending == nil || !s.flushing || len(*s.pending)+n <= s.r.pendingLimit() {
			return nil
		}
		if s.flushed == nil {
			s.flushed = make(chan struct{})
		}
		flushed := s.flushed
		if timeout == nil {
			s.r.stats.stalls.Add(1)
			timeout = time.NewTimer(s.r.cfg.MaxStall)
			defer timeout.Stop()
		}
		s.mu.Unlock()
		select {
		case <-flushed:
			s.mu.Lock()
		case <-timeout.C:
			s.mu.Lock()
			return ErrStalled
		}
	}
}

func (s *Session) appendLocked(kind RecordKind, channel int, data []byte) {
	now := s.now()
	if s.pending == nil {
		s.pending = buffers.Get().(*[]byte)
		s.first, s.last = now, now
		if !s.flushing {
			s.timer.Reset(s.r.cfg.FlushEvery)
		}
	}
	now = max(now, s.last)
	old := len(*s.pending)
	*s.pending = appendRecord(*s.pending, kind, channel, now-s.last, data)
	s.r.buffered.Add(int64(len(*s.pending) - old))
	s.last = now
	if kind == RecordKeyFrame {
		s.frames = append(s.frames, KeyFrameRef{Channel: channel, Time: now})
	}
	if len(*s.pending) >= chunkSize {
		s.flushLocked()
	}
}

// flushLocked has what is pending written, by a goroutine of its own, so that a slow disk does not hold up the session.
func (s *Session) flushLocked() {
	if s.flushing || s.pending == nil {
		return
	}
	s.flushing = true
	s.r.work.Go(s.flush)
}

// onTimer is the flush of what is little.
func (s *Session) onTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = true
	s.flushLocked()
}

// flush writes until little is pending.
func (s *Session) flush() {
	s.mu.Lock()
	var err error
	for err == nil && s.pending != nil && s.err == nil && (s.due || len(*s.pending) >= chunkSize) {
		err = s.writePendingLocked()
	}
	s.flushing = false
	s.tellLocked()
	if s.pending != nil {
		s.timer.Reset(s.r.cfg.FlushEvery)
	}
	s.mu.Unlock()
	if err != nil {
		s.fail(err)
	}
}

// tellLocked wakes those who wait for a flush.
func (s *Session) tellLocked() {
	if s.flushed != nil {
		close(s.flushed)
		s.flushed = nil
	}
}

// writePendingLocked gives up the lock while it writes. The caller has set flushing.
func (s *Session) writePendingLocked() error {
	b, first, last, frames := s.pending, s.first, s.last, s.frames
	s.pending, s.frames, s.due = nil, nil, false
	s.mu.Unlock()
	err := s.w.data(first, last, *b, frames)
	if err == nil && s.r.cfg.SyncEveryFlush {
		err = s.w.f.Sync()
	}
	if err == nil && s.w.offset > s.r.cfg.MaxFileBytes {
		err = ErrTooLong
	}
	s.r.release(b)
	s.mu.Lock()
	s.tellLocked()
	if err != nil {
		return fmt.Errorf("record session: %w", err)
	}
	return nil
}

// fail ends the recording, not the session. Only the first failure counts.
func (s *Session) fail(err error) {
	if errors.Is(err, errOver) {
		return
	}
	s.mu.Lock()
	if s.err != nil || s.closed {
		s.mu.Unlock()
		return
	}
	s.err = err
	if s.pending != nil {
		s.r.release(s.pending)
		s.pending = nil
	}
	s.mu.Unlock()
	s.r.stats.failed.Add(1)
	s.r.log.Error("recording failed", slog.String("session_id", s.session), slog.Any("error", err))
	if s.onFail != nil {
		s.onFail(err)
	}
}

// Summary is what is left to say of a recording when it is closed.
type Summary struct {
	Name string // of the file; see Session.Name
	Head string // hash of its last chunk, in hex: whoever keeps it can tell a cut file
	End  End
}

// Close writes what is pending and the end, and moves the file to its place. After a failure the file stays as it is
// and is sealed when that can be done.
func (s *Session) Close(reason string, bytesUp, bytesDown int64) (Summary, error) {
	if !s.quiesce() {
		return Summary{Name: s.name}, errors.New("recording is closed already")
	}
	s.mu.Lock()
	err := s.err
	s.counts.Ended, s.counts.Reason = fromMicros(s.now()), reason
	s.counts.BytesUp, s.counts.BytesDown = bytesUp, bytesDown
	end := s.counts
	s.mu.Unlock()
	sum := Summary{Name: s.name, End: end}
	if err != nil {
		return sum, errors.Join(fmt.Errorf("recording ended early: %w", err), s.r.abandon(s))
	}
	head, err := s.w.finish(&end)
	if err == nil {
		err = s.w.f.Sync()
	}
	if err != nil {
		s.r.stats.failed.Add(1)
		return sum, errors.Join(fmt.Errorf("finish recording: %w", err), s.r.abandon(s))
	}
	sum.Head = fmt.Sprintf("%x", head)
	return sum, s.r.finished(s)
}

// quiesce lets nothing more in and writes the rest; false: that was done before.
func (s *Session) quiesce() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.flushing {
		if s.flushed == nil {
			s.flushed = make(chan struct{})
		}
		flushed := s.flushed
		s.mu.Unlock()
		<-flushed
		s.mu.Lock()
	}
	if s.closed {
		return false
	}
	s.closed = true
	s.timer.Stop()
	if s.pending != nil && s.err == nil {
		s.flushing = true // a timer that is under way finds this
		if err := s.writePendingLocked(); err != nil {
			s.err = err
			s.r.stats.failed.Add(1)
		}
		s.flushing = false
	}
	return true
}
