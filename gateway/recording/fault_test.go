package recording_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weft/gateway/recording"
)

// fullDisk lets a file grow to a size and then takes half of what is written.
type fullDisk struct {
	recording.FaultFile
	left *atomic.Int64
}

func (f fullDisk) Write(b []byte) (int, error) {
	if f.left.Add(-int64(len(b))) < 0 {
		n, _ := f.FaultFile.Write(b[:len(b)/2])
		return n, syscall.ENOSPC
	}
	return f.FaultFile.Write(b)
}

// failing is a session whose failures go to a channel.
func failing(tb testing.TB, r *recording.Recorder, id string) (*recording.Session, <-chan error) {
	tb.Helper()
	failed := make(chan error, 10)
	s, err := r.Start(recording.SessionConfig{Subject: subject(id), OnFail: func(err error) { failed <- err }})
	if err != nil {
		tb.Fatal(err)
	}
	return s, failed
}

func awaitFailure(tb testing.TB, failed <-chan error, want error) {
	tb.Helper()
	select {
	case err := <-failed:
		if !errors.Is(err, want) {
			tb.Errorf("failure %v, want %v", err, want)
		}
	case <-time.After(patience):
		tb.Fatal("it did not fail")
	}
}

func TestRecorder_DiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecorder(t, inDir(dir), func(c *recording.Config) { c.FlushEvery = 10 * time.Millisecond })
	var left atomic.Int64
	left.Store(20 << 10)
	r.SetCreate(func(path string) (recording.FaultFile, error) {
		f, err := recording.RealCreate(path)
		return fullDisk{f, &left}, err
	})
	s, failed := failing(t, r, "s1")
	c := s.Channel(1, "session")
	c.PTY("xterm", 80, 24, nil)
	c.Output([]byte("before\r\n"))
	eventually(t, "it is flushed", func() bool { return r.Stats().Buffered == 0 })
	c.Output(noise(256 << 10))
	awaitFailure(t, failed, syscall.ENOSPC)
	c.Output([]byte("after"))
	if _, err := s.Close(recording.EndClosed, 0, 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v", err)
	}
	if len(failed) != 0 {
		t.Error("it failed twice")
	}
	if st := r.Stats(); st.Failed != 1 || st.Buffered != 0 {
		t.Errorf("stats %+v", st)
	}
	// What was written is whole, and is sealed once there is room.
	run(t, r)
	eventually(t, "it is sealed", func() bool { return r.Stats().Sealed == 1 })
	path := filepath.Join(dir, filepath.FromSlash(s.Name()))
	if _, err := recording.Verify(open(t, path), recording.VerifyConfig{AnyKey: true}); err != nil {
		t.Error(err)
	}
	_, recs, err := records(t, open(t, path))
	if !errors.Is(err, io.EOF) || !strings.HasPrefix(output(recs, 1), "before\r\n") {
		t.Errorf("%q, %v", output(recs, 1), err)
	}
}

// noise does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

func TestRecorder_DiskFullAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecorder(t, inDir(dir))
	var left atomic.Int64
	r.SetCreate(func(path string) (recording.FaultFile, error) {
		f, err := recording.RealCreate(path)
		return fullDisk{f, &left}, err
	})
	if _, err := r.Start(recording.SessionConfig{Subject: subject("s1")}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v", err)
	}
	if names, err := recording.Dir(dir).Names(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("left %v, %v", names, err)
	}
}

// stuck is a disk that does not answer until it is let go.
type stuck struct {
	recording.FaultFile
	writes *atomic.Int64
	free   <-chan struct{}
}

func (f stuck) Write(b []byte) (int, error) {
	if f.writes.Add(1) > 2 { // magic and header
		<-f.free
	}
	return f.FaultFile.Write(b)
}

// A disk that hangs holds up a session for MaxStall, not longer, and its memory stays bounded.
func TestRecorder_DiskHangs(t *testing.T) {
	t.Parallel()
	r := newRecorder(t, func(c *recording.Config) { c.MaxStall = 50 * time.Millisecond })
	free := make(chan struct{})
	var writes atomic.Int64
	r.SetCreate(func(path string) (recording.FaultFile, error) {
		f, err := recording.RealCreate(path)
		return stuck{f, &writes, free}, err
	})
	s, failed := failing(t, r, "s1")
	c := s.Channel(1, "session")
	c.PTY("xterm", 80, 24, nil)
	var most int64
	longest := time.Duration(0)
	for range 40 {
		begin := time.Now()
		c.Output(noise(32 << 10))
		longest = max(longest, time.Since(begin))
		most = max(most, r.Stats().Buffered)
	}
	awaitFailure(t, failed, recording.ErrStalled)
	if most > 1<<20 {
		t.Errorf("%d bytes in memory", most)
	}
	if longest > 5*time.Second {
		t.Errorf("the session was held up for %s", longest)
	}
	if r.Stats().Stalls == 0 {
		t.Error("no stall was counted")
	}
	close(free)
	if _, err := s.Close(recording.EndClosed, 0, 0); !errors.Is(err, recording.ErrStalled) {
		t.Errorf("close: %v", err)
	}
}

// A real file system that is full, where a small one may be mounted.
func TestRecorder_RealDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := mountSmall(dir); err != nil {
		t.Skipf("no small file system here: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	r := newRecorder(t, inDir(dir), func(c *recording.Config) { c.FlushEvery = 10 * time.Millisecond })
	s, failed := failing(t, r, "s1")
	c := s.Channel(1, "session")
	c.PTY("xterm", 80, 24, nil)
	for range 64 {
		c.Output(noise(64 << 10))
	}
	awaitFailure(t, failed, syscall.ENOSPC)
	if _, err := s.Close(recording.EndClosed, 0, 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v", err)
	}
	part := filepath.Join(dir, filepath.FromSlash(s.Name())+recording.PartSuffix)
	if _, _, err := records(t, open(t, part)); !errors.Is(err, recording.ErrUnfinished) {
		t.Errorf("what there is ends with %v", err)
	}
}

func TestRecorder_MaxFileBytes(t *testing.T) {
	t.Parallel()
	r := newRecorder(t, func(c *recording.Config) { c.MaxFileBytes = 100 << 10 })
	s, failed := failing(t, r, "s1")
	c := s.Channel(1, "session")
	c.PTY("xterm", 80, 24, nil)
	c.Output(noise(200 << 10))
	awaitFailure(t, failed, recording.ErrTooLong)
	if _, err := s.Close(recording.EndClosed, 0, 0); !errors.Is(err, recording.ErrTooLong) {
		t.Errorf("close: %v", err)
	}
}

// memorySink is a bucket that can be gone.
type memorySink struct {
	gone atomic.Bool

	mu    sync.Mutex
	files map[string][]byte
	tries int
}

func (m *memorySink) Store(_ context.Context, name string, r io.ReadSeeker, _ int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	if m.gone.Load() {
		return errors.New("bucket is gone")
	}
	b, err := io.ReadAll(r)
	if m.files == nil {
		m.files = make(map[string][]byte)
	}
	m.files[name] = b
	return err
}

func (m *memorySink) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

func (m *memorySink) get(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.files[name])
}

func TestRecorder_BucketGoneAndBack(t *testing.T) {
	t.Parallel()
	dir, sink := t.TempDir(), &memorySink{}
	sink.gone.Store(true)
	r := newRecorder(t, inDir(dir), func(c *recording.Config) { c.Sink, c.SpoolLimit = sink, 1 })
	run(t, r)
	s := start(t, r, "s1")
	shellSession(s)
	sum := finish(t, s)
	eventually(t, "the upload failed", func() bool { return r.Stats().Retried > 0 && r.Stats().Spooled > 0 })
	path := filepath.Join(dir, filepath.FromSlash(sum.Name))
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file is not kept: %v", err)
	}
	// More than the spool may hold waits: no further recording begins.
	if _, err := r.Start(recording.SessionConfig{Subject: subject("s2")}); !errors.Is(err, recording.ErrSpoolFull) {
		t.Errorf("error %v", err)
	}
	if st := r.Stats(); st.SpoolFull != 1 || st.Failed != 1 {
		t.Errorf("stats %+v", st)
	}
	sink.gone.Store(false)
	eventually(t, "it is uploaded", func() bool { return r.Stats().Uploaded == 1 })
	if _, err := recording.Verify(fileOf(sink.get(sum.Name)), recording.VerifyConfig{AnyKey: true, Head: sum.Head}); err != nil {
		t.Error(err)
	}
	eventually(t, "the file has left the spool", func() bool {
		_, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist)
	})
	eventually(t, "recordings begin again", func() bool {
		s, err := r.Start(recording.SessionConfig{Subject: subject("s3")})
		if err != nil {
			return false
		}
		finish(t, s)
		return true
	})
}

func TestRecorder_UploadGrowing(t *testing.T) {
	t.Parallel()
	sink := &memorySink{}
	r := newRecorder(t, func(c *recording.Config) {
		c.Sink, c.UploadGrowing, c.FlushEvery = sink, 20*time.Millisecond, 5*time.Millisecond
	})
	run(t, r)
	s := start(t, r, "s1")
	c := s.Channel(1, "session")
	c.PTY("xterm", 80, 24, nil)
	c.Output([]byte("so far"))
	eventually(t, "what there is is in the bucket", func() bool {
		b := sink.get(s.Name() + recording.PartSuffix)
		if _, err := recording.Stat(fileOf(b)); err != nil { // not even the header
			return false
		}
		_, recs, err := records(t, fileOf(b))
		return errors.Is(err, recording.ErrUnfinished) && output(recs, 1) == "so far"
	})
	sum := finish(t, s)
	eventually(t, "the whole has taken its place", func() bool {
		return sink.get(sum.Name) != nil && sink.get(sum.Name+recording.PartSuffix) == nil
	})
}

func TestSeal_OnlyItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	day := filepath.Join(dir, "2026-01-01")
	if err := os.MkdirAll(day, 0o700); err != nil {
		t.Fatal(err)
	}
	other := newSampleOf(t, newRecorder(t))
	strange := filepath.Join(day, "s1"+recording.Suffix+recording.PartSuffix)
	if err := os.WriteFile(strange, other.b, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(day, "s2"+recording.Suffix+recording.PartSuffix)
	if err := os.WriteFile(empty, []byte("WEFT"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRecorder(t, inDir(dir))
	run(t, r)
	eventually(t, "the empty one is removed", func() bool {
		_, err := os.Stat(empty)
		return errors.Is(err, fs.ErrNotExist)
	})
	if b, err := os.ReadFile(strange); err != nil || !bytes.Equal(b, other.b) {
		t.Errorf("another gateway's file was touched: %v", err)
	}
}

// A program that only calls itself a file transfer does not hide its output.
func TestChannel_FalseTransfer_regression(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"sftp-server", "scp -f x", "scp -f x; cat secret"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := start(t, newRecorder(t, inDir(dir)), "s1")
			c := s.Channel(1, "session")
			c.Start(recording.EventExec, command)
			c.Output([]byte("root:secret:1:\n"))
			c.Output([]byte("more"))
			c.Close()
			sum := finish(t, s)
			_, recs, err := records(t, open(t, filepath.Join(dir, filepath.FromSlash(sum.Name))))
			if !errors.Is(err, io.EOF) || output(recs, 1) != "root:secret:1:\nmore" {
				t.Errorf("recorded %q, %v", output(recs, 1), err)
			}
		})
	}
}

// Terminals beyond what a session may have are recorded, but not followed; what one gives back another may have.
func TestChannel_TooManyTerminals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecorder(t, inDir(dir))
	s := start(t, r, "s1")
	var all []*recording.Channel
	for i := range 5 {
		c := s.Channel(i+1, "session")
		c.PTY("xterm", 100000, 100000, nil)
		c.Start(recording.EventShell, "")
		c.Output([]byte("$ "))
		c.Input([]byte("ls\r"))
		c.Output([]byte("ls\r\n"))
		all = append(all, c)
	}
	if n := r.Stats().Blind; n != 3 {
		t.Errorf("%d terminals are not followed", n)
	}
	all[0].Resize(80, 24)
	all[0].Resize(100000, 100000)
	for _, c := range all {
		c.Close()
	}
	c := s.Channel(9, "session")
	c.PTY("xterm", 80, 24, nil)
	c.Close()
	if n := r.Stats().Blind; n != 3 {
		t.Errorf("%d terminals are not followed after the others ended", n)
	}
	sum := finish(t, s)
	if sum.End.Commands != 2 {
		t.Errorf("%d commands", sum.End.Commands)
	}
	_, recs, err := records(t, open(t, filepath.Join(dir, filepath.FromSlash(sum.Name))))
	if !errors.Is(err, io.EOF) || output(recs, 5) != "$ ls\r\n" {
		t.Errorf("recorded %q, %v", output(recs, 5), err)
	}
}

// A recording that begins while the leavings of the last run are sealed is not taken for one of them.
func TestSeal_LeavesBeginningsAlone_regression(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := newRecorder(t, inDir(dir))
	created, goOn := make(chan struct{}), make(chan struct{})
	r.SetCreate(func(path string) (recording.FaultFile, error) {
		f, err := recording.RealCreate(path)
		close(created)
		<-goOn
		return f, err
	})
	done := make(chan *recording.Session)
	go func() {
		s, err := r.Start(recording.SessionConfig{Subject: subject("s1")})
		if err != nil {
			t.Errorf("start: %v", err)
		}
		done <- s
	}()
	<-created
	if err := r.SealNow(t.Context()); err != nil {
		t.Error(err)
	}
	close(goOn)
	s := <-done
	finish(t, s)
}
