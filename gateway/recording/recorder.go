// Package recording keeps what happens in a session: the terminal of each channel as it was seen, and a log of events.
//
// One file holds one session. Its chunks are chained by hashes and signed by the gateway, so that a change anywhere
// shows; they are compressed, encrypted to those who may read them if the administrator wants that, and on disk within a
// second, whatever becomes of the gateway. A Recorder writes them, a Reader reads, verifies and seeks, and the
// functions around Reader export and search. docs/recordings.md describes the format and its limits to users.
package recording

import (
	"context"
	"crypto/cipher"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
)

// InputPolicy says of which channels the client's input is recorded.
type InputPolicy string

// The input policies.
const (
	InputScripts InputPolicy = ""      // of shells without a terminal, whose input is their commands
	InputNever   InputPolicy = "never" // of none
	InputAll     InputPolicy = "all"   // of all, passwords included
)

// Config of a Recorder.
type Config struct {
	// Dir holds recordings while they are written, and, without a Sink, for good. One gateway writes to it. It is created with mode 0700.
	Dir string
	// Key signs; see KeyID and FormatPublicKey.
	Key ed25519.PrivateKey
	// GatewayID and GatewayVersion are for the header.
	GatewayID, GatewayVersion string
	// Recipients may read the recordings: age recipients or SSH public keys. None: they are not encrypted.
	Recipients []string
	// Input says what is recorded of what clients send.
	Input InputPolicy
	// OutputLimit bounds what is kept of each output of a channel without a terminal; the rest is counted. 0: 256 KiB, -1: nothing is kept.
	OutputLimit int64
	// HashTransfers adds the SHA-256 of files that sftp reads or writes in one go.
	HashTransfers bool
	// FlushEvery is how much can be lost when the gateway is killed; 0: half a second.
	FlushEvery time.Duration
	// SyncEveryFlush has each flush wait for the disk, so that a power failure too loses no more than that. Without it
	// only a finished recording is synced.
	SyncEveryFlush bool
	// MaxStall is how long a session waits for a file that does not keep up before its recording fails; 0: 2 s.
	MaxStall time.Duration
	// MaxFileBytes bounds one recording; 0: 4 GiB.
	MaxFileBytes int64
	// MaxBuffered bounds what all sessions together hold in memory beyond one chunk each; 0: 256 MiB.
	MaxBuffered int64
	// Sink is where finished recordings go; nil: they stay in Dir.
	Sink Sink
	// SpoolLimit bounds what waits in Dir for the Sink; above it, recordings fail. 0: 8 GiB.
	SpoolLimit int64
	// UploadGrowing is how often a recording that is still being written goes to the Sink as well, under its name with the
	// suffix ".part"; 0: never.
	UploadGrowing time.Duration
	Logger        *slog.Logger
}

func (c *Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("recorder: no directory")
	case len(c.Key) != ed25519.PrivateKeySize:
		return errors.New("recorder: no signing key")
	case c.Input != InputScripts && c.Input != InputNever && c.Input != InputAll:
		return fmt.Errorf("recorder: unknown input policy %q", c.Input)
	}
	for _, r := range c.Recipients {
		if _, err := ParseRecipient(r); err != nil {
			return fmt.Errorf("recorder: %w", err)
		}
	}
	orDefault(&c.OutputLimit, 256<<10)
	orDefault(&c.FlushEvery, 500*time.Millisecond)
	orDefault(&c.MaxStall, 2*time.Second)
	orDefault(&c.MaxFileBytes, 4<<30)
	orDefault(&c.MaxBuffered, 256<<20)
	orDefault(&c.SpoolLimit, 8<<30)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// The suffixes of a recording and of one that is not finished.
const (
	Suffix     = ".weftrec"
	PartSuffix = ".part"
)

// Stats are counts since the start of a Recorder.
type Stats struct {
	Started   uint64
	Finished  uint64
	Failed    uint64 // recordings that ended before their session
	Sealed    uint64 // finished after a crash or a failure
	Stalls    uint64 // waits for a file that did not keep up
	SpoolFull uint64 // recordings refused for Config.SpoolLimit
	Uploaded  uint64
	Retried   uint64 // uploads that failed and are tried again
	Unparsed  uint64 // file transfers whose protocol could not be followed
	Blind     uint64 // terminals without command lines, for they were too many or too large
	Spooled   int64  // bytes that wait for the Sink
	Buffered  int64  // bytes in memory
}

type counters struct {
	started, finished, failed, sealed, stalls, spoolFull, uploaded, retried, unparsed, blind atomic.Uint64
}

// Recorder writes recordings. It is safe for concurrent use.
type Recorder struct {
	cfg      Config
	log      *slog.Logger
	enc      *zstd.Encoder
	stats    counters
	buffered atomic.Int64
	spooled  atomic.Int64
	cells    atomic.Int64   // of all terminals
	work     sync.WaitGroup // flushes
	wake     chan struct{}  // something is to be uploaded or sealed
	unsealed atomic.Bool    // there may be files without an end that nobody writes

	// create is createFile but in tests.
	create func(path string) (file, error)

	mu   sync.Mutex // guards live
	live map[string]*Session
}

// New prepares the directory. Recordings that a crash left are sealed by Run.
func New(cfg Config) (*Recorder, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("recorder: make directory: %w", err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("recorder: %w", err)
	}
	r := &Recorder{
		cfg: cfg, log: cfg.Logger, enc: enc, create: createFile, live: make(map[string]*Session),
		wake: make(chan struct{}, 1),
	}
	r.unsealed.Store(true)
	return r, nil
}

// PublicKey verifies what this Recorder writes.
func (r *Recorder) PublicKey() ed25519.PublicKey { return r.cfg.Key.Public().(ed25519.PublicKey) }

// Stats returns the counts.
func (r *Recorder) Stats() Stats {
	c := &r.stats
	return Stats{
		Started: c.started.Load(), Finished: c.finished.Load(), Failed: c.failed.Load(), Sealed: c.sealed.Load(),
		Stalls: c.stalls.Load(), SpoolFull: c.spoolFull.Load(), Uploaded: c.uploaded.Load(), Retried: c.retried.Load(),
		Unparsed: c.unparsed.Load(), Blind: c.blind.Load(), Spooled: r.spooled.Load(), Buffered: r.buffered.Load(),
	}
}

func createFile(path string) (file, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

var sessionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// ErrSpoolFull is the failure of a recording when too much waits for the Sink.
var ErrSpoolFull = errors.New("too many recordings wait to be stored")

// Start begins a recording. When it fails nothing is recorded, and the session's fail mode applies.
func (r *Recorder) Start(cfg SessionConfig) (*Session, error) {
	s, err := r.start(cfg)
	if err != nil {
		r.stats.failed.Add(1)
		return nil, fmt.Errorf("start recording: %w", err)
	}
	r.stats.started.Add(1)
	return s, nil
}

func (r *Recorder) start(cfg SessionConfig) (*Session, error) {
	id := cfg.Subject.SessionID
	if !sessionName.MatchString(id) {
		return nil, fmt.Errorf("session ID %q cannot name a file", id)
	}
	if r.cfg.Sink != nil && r.spooled.Load() > r.cfg.SpoolLimit {
		r.stats.spoolFull.Add(1)
		return nil, ErrSpoolFull
	}
	s := &Session{r: r, session: id, start: time.Now(), onFail: cfg.OnFail}
	s.name = s.start.UTC().Format(time.DateOnly) + "/" + id + Suffix
	pub := r.PublicKey()
	h := &Header{
		Version: FormatVersion, Started: s.start.UTC(), GatewayID: r.cfg.GatewayID, KeyID: KeyID(pub), PublicKey: pub,
		SSHLogKey: cfg.LogKey, Subject: cfg.Subject,
	}
	h.GatewayVersion = r.cfg.GatewayVersion
	if cfg.GatewayID != "" {
		h.GatewayID = cfg.GatewayID
	}
	var aead cipher.AEAD
	if len(r.cfg.Recipients) > 0 {
		var err error
		if aead, h.Encryption, err = newFileKey(r.cfg.Recipients); err != nil {
			return nil, err
		}
	}
	path := r.path(s.name) + PartSuffix
	r.mu.Lock()
	taken := r.live[s.name] != nil
	if !taken { // before there is a file, or it would be sealed
		r.live[s.name] = s
	}
	r.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("session %s is recorded already", id)
	}
	f, err := r.create(path)
	if err != nil {
		r.forget(s)
		return nil, fmt.Errorf("create file: %w", err)
	}
	s.w = newChunkWriter(f, id, r.cfg.Key)
	s.w.aead, s.w.enc = aead, r.enc
	if err := s.w.start(h); err != nil {
		return nil, errors.Join(err, r.abandon(s), os.Remove(path))
	}
	s.timer = time.AfterFunc(time.Hour, s.onTimer)
	s.timer.Stop()
	return s, nil
}

// path is where a name is in the directory.
func (r *Recorder) path(name string) string {
	return filepath.Join(r.cfg.Dir, filepath.FromSlash(name))
}

// pendingLimit is what one session may hold now.
func (r *Recorder) pendingLimit() int {
	if r.buffered.Load() > r.cfg.MaxBuffered {
		return chunkSize
	}
	return maxPending
}

// release gives a buffer back.
func (r *Recorder) release(b *[]byte) {
	r.buffered.Add(-int64(len(*b)))
	if cap(*b) <= 2*chunkSize {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// abandon leaves the file of a failed recording to be sealed later.
func (r *Recorder) abandon(s *Session) error {
	err := s.w.f.Close()
	r.unsealed.Store(true)
	r.forget(s)
	return err
}

func (r *Recorder) forget(s *Session) {
	r.mu.Lock()
	delete(r.live, s.name)
	r.mu.Unlock()
	r.nudge()
}

func (r *Recorder) isLive(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[name] != nil
}

// finished closes a whole file and moves it to its place.
func (r *Recorder) finished(s *Session) error {
	err := s.w.f.Close()
	if err == nil {
		err = r.publish(s.name)
	}
	r.forget(s)
	if err != nil {
		return fmt.Errorf("finish recording: %w", err)
	}
	r.stats.finished.Add(1)
	return nil
}

// publish gives a whole file its name.
func (r *Recorder) publish(name string) error {
	path := r.path(name)
	if err := os.Rename(path+PartSuffix, path); err != nil {
		return err
	}
	if r.cfg.Sink != nil {
		if st, err := os.Stat(path); err == nil {
			r.spooled.Add(st.Size())
		}
	}
	return syncDir(filepath.Dir(path))
}

// nudge wakes Run.
func (r *Recorder) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run seals what crashes left and brings finished recordings to the Sink, until ctx ends; it waits for flushes that are
// under way.
func (r *Recorder) Run(ctx context.Context) error {
	defer r.work.Wait()
	return r.maintain(ctx)
}
