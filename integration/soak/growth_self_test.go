package soak_test

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// TestGrowth_SeesLeaks: the test of the tests: each kind of leak, made on purpose, is found, and by its name.
func TestGrowth_SeesLeaks(t *testing.T) {
	for _, tt := range []struct {
		name  string
		want  string
		cycle func(t *testing.T, keep *[]any, i int)
	}{
		{"a goroutine a cycle", "goroutines", func(t *testing.T, _ *[]any, _ int) {
			t.Helper()
			go func() { <-t.Context().Done() }()
		}},
		{"a goroutine in every third cycle", "goroutines", func(t *testing.T, _ *[]any, i int) {
			t.Helper()
			if i%3 == 0 {
				go func() { <-t.Context().Done() }()
			}
		}},
		{"a descriptor a cycle", "descriptors", func(t *testing.T, keep *[]any, _ int) {
			t.Helper()
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			*keep = append(*keep, f)
		}},
		{"heap, 64 KiB a cycle", "heap", func(_ *testing.T, keep *[]any, _ int) { *keep = append(*keep, make([]byte, 64<<10)) }},
		{"nothing", "", func(*testing.T, *[]any, int) {}},
		{"a burst that ends", "", func(_ *testing.T, _ *[]any, i int) {
			done := make(chan struct{})
			for range i % 7 {
				go func() { <-done }()
			}
			close(done)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == "descriptors" && openFiles() == 0 {
				t.Skip("this system does not list the descriptors")
			}
			g := gauge{settle: 10 * time.Millisecond}
			var keep []any
			for i := range 40 {
				tt.cycle(t, &keep, i)
				g.take(i + 1)
			}
			got := growth(g.samples, 0, 0)
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("growth says %q, want %q", got, tt.want)
			}
			_ = keep
		})
	}
}

// TestGrowth_SlowLeaks: over 1,000 cycles a leak shows that is small beside the noise.
func TestGrowth_SlowLeaks(t *testing.T) {
	series := func(perCycle float64, noise int) []sample {
		r := rand.New(rand.NewPCG(1, 2))
		var s []sample
		for c := 10; c <= 1000; c += 10 {
			heap := 20<<20 + int(perCycle*float64(c)) + r.IntN(noise)
			s = append(s, sample{c, levels{goroutines: 100 + r.IntN(5), files: 50, heap: heap}})
		}
		return s
	}
	if got := growth(series(0, 300<<10), 0, 0); got != "" {
		t.Errorf("noise alone: %s", got)
	}
	if got := growth(series(4096, 300<<10), 0, 0); !strings.Contains(got, "heap") {
		t.Errorf("4 KiB a cycle: %q", got)
	}
	one := series(0, 1)
	for i := range one {
		one[i].goroutines += one[i].cycle / 20
	}
	if got := growth(one, 0, 0); !strings.Contains(got, "goroutines") {
		t.Errorf("a goroutine in 20 cycles: %q", got)
	}
	late := series(0, 1)
	late[len(late)-1].goroutines += 500
	if got := growth(late, 0, 0); got != "" {
		t.Errorf("one disturbed sample: %s", got)
	}
	if got := growth(late[:5], 0, 0); got == "" {
		t.Error("five samples are enough for a verdict")
	}
}
