package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// measures of one way in one round; the names are the table's.
type measures map[string]float64

// what is measured, in the order of the table.
var names = []string{
	"down 1 MiB/s", "up 1 MiB/s", "down 8 MiB/s", "up 8 MiB/s",
	"down 1 CPU s/GiB", "up 1 CPU s/GiB",
	"64 B p50 us", "64 B p99 us", "64 B p50 beside down us", "64 B p99 beside down us", "64 B p50 beside up us", "64 B p99 beside up us",
	"connections/s", "connect p50 ms", "connect p99 ms",
}

func (s *stage) measure(ctx context.Context, w way, length time.Duration) (measures, error) {
	m := measures{}
	for _, b := range []struct {
		name    string
		kind    byte
		streams int
	}{{"down 1", askDown, 1}, {"up 1", askUp, 1}, {"down 8", askDown, 8}, {"up 8", askUp, 8}} {
		rate, cpu, err := s.bulk(ctx, w, b.kind, b.streams, length)
		if err != nil {
			return nil, err
		}
		m[b.name+" MiB/s"] = rate
		if b.streams == 1 {
			m[b.name+" CPU s/GiB"] = cpu
		}
	}
	for suffix, beside := range map[string]byte{"": 0, " beside down": askDown, " beside up": askUp} {
		p50, p99, err := s.latency(ctx, w, beside, length)
		if err != nil {
			return nil, err
		}
		m["64 B p50"+suffix+" us"], m["64 B p99"+suffix+" us"] = p50*1e6, p99*1e6
	}
	rate, p50, p99, err := s.connections(ctx, w, length)
	m["connections/s"], m["connect p50 ms"], m["connect p99 ms"] = rate, p50*1e3, p99*1e3
	return m, err
}

// bulk runs streams for length after a warm-up of a fifth of it, and counts what arrives.
func (s *stage) bulk(ctx context.Context, w way, kind byte, streams int, length time.Duration) (mibPerSecond, cpuPerGiB float64, err error) {
	b, err := s.startBulk(ctx, w, kind, streams)
	if err != nil {
		return 0, 0, err
	}
	wait(ctx, length/5)
	before, cpu, start := b.arrived(), cpuSeconds(), time.Now()
	wait(ctx, length)
	bytes, took, used := float64(b.arrived()-before), time.Since(start), cpuSeconds()-cpu
	if err := b.stop(); err != nil {
		return 0, 0, err
	}
	return bytes / took.Seconds() / (1 << 20), used / (bytes / (1 << 30)), ctx.Err()
}

// load is bulk traffic under way.
type load struct {
	conns []net.Conn
	count *atomic.Int64
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error // guarded by mu
	ended atomic.Bool
}

func (b *load) arrived() int64 { return b.count.Load() }

func (s *stage) startBulk(ctx context.Context, w way, kind byte, streams int) (*load, error) {
	b := &load{count: &s.target.received}
	if kind == askDown {
		b.count = new(atomic.Int64)
	}
	for range streams {
		c, err := w.dial(ctx)
		if err == nil {
			b.conns = append(b.conns, c)
			_, err = c.Write([]byte{kind})
		}
		if err != nil {
			return nil, errors.Join(err, b.stop())
		}
		b.wg.Go(func() { b.carry(c, kind) })
	}
	return b, nil
}

func (b *load) carry(c net.Conn, kind byte) {
	buf := make([]byte, 256<<10)
	for {
		var n int
		var err error
		if kind == askDown {
			n, err = c.Read(buf)
			b.count.Add(int64(n))
		} else {
			_, err = c.Write(buf)
		}
		if err != nil {
			if !b.ended.Load() {
				b.mu.Lock()
				b.err = err
				b.mu.Unlock()
			}
			return
		}
	}
}

func (b *load) stop() error {
	b.ended.Store(true)
	for _, c := range b.conns {
		_ = c.Close() // it is only load
	}
	b.wg.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// latency exchanges 64 B back and forth, alone or beside one bulk stream.
func (s *stage) latency(ctx context.Context, w way, beside byte, length time.Duration) (p50, p99 float64, err error) {
	if beside != 0 {
		b, err := s.startBulk(ctx, w, beside, 1)
		if err != nil {
			return 0, 0, err
		}
		defer func() { err = errors.Join(err, b.stop()) }()
		wait(ctx, length/5)
	}
	c, err := w.dial(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte{askEcho}); err != nil {
		return 0, 0, err
	}
	var took []float64
	buf := make([]byte, 64)
	for end := time.Now().Add(length); time.Now().Before(end) && ctx.Err() == nil; {
		start := time.Now()
		if _, err := c.Write(buf); err != nil {
			return 0, 0, err
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(start).Seconds())
	}
	p50, p99 = percentiles(took)
	return p50, p99, ctx.Err()
}

// connections opens connections one after the other in 16 workers; one counts when the target's first byte is back.
func (s *stage) connections(ctx context.Context, w way, length time.Duration) (perSecond, p50, p99 float64, err error) {
	var (
		mu   sync.Mutex
		took []float64
		errs []error
		wg   sync.WaitGroup
	)
	begin := time.Now()
	end := begin.Add(length)
	for range 16 {
		wg.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				start := time.Now()
				err := oneConnection(ctx, w)
				d := time.Since(start).Seconds()
				mu.Lock()
				took, errs = append(took, d), append(errs, err)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(begin).Seconds()
	p50, p99 = percentiles(took)
	return float64(len(took)) / elapsed, p50, p99, errors.Join(errors.Join(errs...), ctx.Err())
}

func oneConnection(ctx context.Context, w way) error {
	c, err := w.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte{askByte}); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

func percentiles(v []float64) (p50, p99 float64) {
	if len(v) == 0 {
		return 0, 0
	}
	slices.Sort(v)
	return v[len(v)/2], v[len(v)*99/100]
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// cpuSeconds is what all processors together have worked (Linux; elsewhere 0, and the column reads 0).
func cpuSeconds() float64 {
	if runtime.GOOS != "linux" {
		return 0
	}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	busy := 0.0
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseFloat(f, 64)
		// user nice system idle iowait irq softirq: all but idle and iowait (proc(5)), in ticks of 10 ms.
		if err == nil && i >= 1 && i <= 7 && i != 4 && i != 5 {
			busy += n / 100
		}
	}
	return busy
}
