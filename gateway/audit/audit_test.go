package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/gateway/audit"
)

func TestLog_OneLineEach(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	up := int64(0)
	e := audit.Event{
		Time: time.Date(2026, 11, 22, 15, 4, 5, 6, time.FixedZone("x", 3600)), Event: audit.FlowClose, Hostname: "a\nb",
		Source: netip.MustParseAddrPort("100.64.0.65:4000"), BytesUp: &up,
	}
	if err := l.Write(e); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// A second process appends.
	if l, err = audit.Open(path); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(audit.Event{Time: e.Time, Event: audit.GatewayDown}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"time":"2026-11-22T14:04:05.000000006Z","event":"flow_close","source":"100.64.0.65:4000","hostname":"a\nb","bytes_up":0}` + "\n" +
		`{"time":"2026-11-22T14:04:05.000000006Z","event":"gateway_stop"}` + "\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 && os.PathSeparator == '/' {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
	if err := l.Write(e); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}

// tearing writes half of every line while torn.
type tearing struct {
	bytes.Buffer
	torn bool
}

func (w *tearing) Write(b []byte) (int, error) {
	if !w.torn {
		return w.Buffer.Write(b)
	}
	n, err := w.Buffer.Write(b[:len(b)/2])
	return n, errors.Join(err, errors.New("disk full"))
}

func TestLog_ATornLineSpoilsNoOther(t *testing.T) {
	var w tearing
	l := audit.New(&w)
	w.torn = true
	if err := l.Write(audit.Event{Event: audit.FlowOpen}); err == nil {
		t.Fatal("half a line was taken for a whole one")
	}
	w.torn = false
	if err := l.Write(audit.Event{Event: audit.FlowDenied}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(w.String()), "\n")
	var e audit.Event
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil || e.Event != audit.FlowDenied {
		t.Errorf("last line %q: %v", lines[len(lines)-1], err)
	}
	if written, failed := l.Counts(); written != 1 || failed != 1 {
		t.Errorf("written %d, failed %d", written, failed)
	}
}

func TestLog_LinesDoNotMix(t *testing.T) {
	var w bytes.Buffer
	l := audit.New(&w)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if err := l.Write(audit.Event{Event: audit.FlowOpen, Hostname: strings.Repeat("x", 100)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSuffix(w.String(), "\n"), "\n")
	if len(lines) != 800 {
		t.Errorf("%d lines, want 800", len(lines))
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Fatalf("not a line of JSON: %q", line)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	l, err := audit.Open(filepath.Join(b.TempDir(), "audit.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	e := audit.Event{Event: audit.FlowOpen, SessionID: "s", UserID: "u", Email: "jdoe@company.com", Reason: "allowed"}
	for b.Loop() {
		if err := l.Write(e); err != nil {
			b.Fatal(err)
		}
	}
}
