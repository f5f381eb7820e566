package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

// The stream is the demo's witness: it must notice what it exists to notice.
func TestStream(t *testing.T) {
	tests := []struct {
		name, lines, wrong string
	}{
		{name: "as it should be", lines: "1 host-a\n2 host-a\n3 host-a\n"},
		{name: "a gap", lines: "1 host-a\n3 host-a\n", wrong: "line 2"},
		{name: "a repetition", lines: "1 host-a\n1 host-a\n", wrong: "line 2"},
		{name: "another host", lines: "1 host-a\n2 host-b\n3 host-a\n", wrong: "host-b"},
		{name: "no number", lines: "hello\n", wrong: "hello"},
		{name: "an early end", lines: "1 host-a\n2 host-a\n", wrong: "ended"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, w := io.Pipe()
			s := newStream("host-a", r, r.Close)
			go func() {
				_, _ = io.WriteString(w, tt.lines) // fails when the reader has had enough
				if tt.wrong == "ended" {
					_ = w.Close()
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			n, err := s.await(ctx, 3)
			switch {
			case tt.wrong == "" && (err != nil || n != 3):
				t.Errorf("got %d, %v", n, err)
			case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
				t.Errorf("got %v, want something about %q", err, tt.wrong)
			}
			if err := s.stop(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("standstill", func(t *testing.T) {
		r, w := io.Pipe()
		defer func() { _ = w.Close() }()
		s := newStream("host-a", r, r.Close)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := s.await(ctx, 1); err == nil || !strings.Contains(err.Error(), "stands still") {
			t.Errorf("got %v", err)
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRun_WrongArguments(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"extra"}} {
		if code := run(t.Context(), args, io.Discard, io.Discard); code != 2 {
			t.Errorf("%v: exit status %d, want 2", args, code)
		}
	}
}
