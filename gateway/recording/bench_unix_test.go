//go:build unix

package recording_test

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/gateway/recording"
)

// heap is what lives after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// idleSession is one that has shown a prompt and a screen of text and waits.
func idleSession(tb testing.TB, r *recording.Recorder, id string) (*recording.Session, *recording.Channel) {
	tb.Helper()
	s := start(tb, r, id)
	c := s.Channel(1, "session")
	c.PTY("xterm-256color", 80, 24, make([]byte, 256))
	c.Start(recording.EventShell, "")
	c.Output([]byte(strings.Repeat("\x1b[01;34mdirectory\x1b[0m  and a line of text up to the edge of the screen, nearly\r\n", 24) + "root@host:~# "))
	c.Input([]byte("ls\r"))
	c.Output([]byte("ls\r\n" + strings.Repeat("file  ", 50) + "\r\nroot@host:~# "))
	return s, c
}

func idleHeap(tb testing.TB, n int) float64 {
	tb.Helper()
	r := newRecorder(tb, func(c *recording.Config) { c.FlushEvery = 10 * time.Millisecond })
	idleSession(tb, r, "warm-up")
	eventually(tb, "it is flushed", func() bool { return r.Stats().Buffered == 0 })
	before := heap()
	type live struct {
		s *recording.Session
		c *recording.Channel
	}
	all := make([]live, n)
	for i := range all {
		all[i].s, all[i].c = idleSession(tb, r, fmt.Sprintf("s%d", i))
	}
	eventually(tb, "all are flushed", func() bool { return r.Stats().Buffered == 0 })
	after := heap()
	for _, l := range all {
		l.c.Close()
		finish(tb, l.s)
	}
	return float64(after-before) / float64(n)
}

// What a recorded session holds while nothing happens, a full screen included.
func TestRecorder_IdleHeap(t *testing.T) {
	if got := idleHeap(t, 200); got > 32<<10 {
		t.Errorf("an idle session holds %.0f bytes of heap", got)
	}
}

// BenchmarkIdle reports the heap of each of 1,000 idle sessions.
func BenchmarkIdle(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(idleHeap(b, 1000), "heap-bytes/session")
	}
}

func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkBulk is what a tap costs on the way of bulk data: a command without a terminal, an upload by sftp with and without
// hashes, and text on a terminal.
func BenchmarkBulk(b *testing.B) {
	const piece = 32 << 10
	text := []byte(strings.Repeat("some lines of output as a build writes them, 0123456789 and so on and on\r\n", piece/74))
	for _, tt := range []struct {
		name   string
		hashes bool
		start  func(c *recording.Channel)
		data   []byte
		input  bool
	}{
		{"exec", false, func(c *recording.Channel) { c.Start(recording.EventExec, "cat file") }, noise(piece), false},
		{"sftp", false, startSFTP, sftpData(piece), true},
		{"sftp with hashes", true, startSFTP, sftpData(piece), true},
		{"terminal", false, func(c *recording.Channel) {
			c.PTY("xterm", 80, 24, nil)
			c.Start(recording.EventShell, "")
		}, text, false},
	} {
		b.Run(tt.name, func(b *testing.B) {
			r := newRecorder(b, func(c *recording.Config) { c.HashTransfers = tt.hashes; c.MaxFileBytes = 1 << 50 })
			s := start(b, r, "s1")
			c := s.Channel(1, "session")
			tt.start(c)
			b.SetBytes(int64(len(tt.data)))
			before := cpu()
			n := 0
			for b.Loop() {
				n++
				if tt.input {
					c.Input(tt.data)
				} else {
					c.Output(tt.data)
				}
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(n)/float64(len(tt.data)), "cpu-ns/byte")
			c.Close()
			finish(b, s)
		})
	}
}

func startSFTP(c *recording.Channel) {
	c.Start(recording.EventSubsystem, "sftp")
	c.Input([]byte("\x00\x00\x00\x05\x01\x00\x00\x00\x03"))
	c.Output([]byte("\x00\x00\x00\x05\x02\x00\x00\x00\x03"))
	// open "f" for writing as request 1, answered with handle "h"
	c.Input([]byte("\x00\x00\x00\x12\x03\x00\x00\x00\x01\x00\x00\x00\x01f\x00\x00\x00\x1a\x00\x00\x00\x00"))
	c.Output([]byte("\x00\x00\x00\x0a\x66\x00\x00\x00\x01\x00\x00\x00\x01h"))
}

// sftpData is one write request.
func sftpData(n int) []byte {
	length := 1 + 4 + 5 + 8 + 4 + n
	head := []byte{
		byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length), 6, 0, 0, 0, 2, 0, 0, 0, 1, 'h',
		0, 0, 0, 0, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n),
	}
	return append(head, noise(n)...)
}
