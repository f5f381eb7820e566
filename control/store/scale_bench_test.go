package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"weft/control/store"
	"weft/control/store/storetest"
)

// BenchmarkScale measures one account of 100,000 targets, 5,000 applications and 20,000 policies, in one run: pages of the
// target list from the first to the last (with the ratio to the first), single writes, and 10,000 targets in one
// transaction.
func BenchmarkScale(b *testing.B) {
	s := storetest.Scale(b)
	b.Run("page", func(b *testing.B) { benchPages(b, s) })
	b.Run("create", func(b *testing.B) {
		var times []time.Duration
		for b.Loop() {
			for range 200 {
				begun := time.Now()
				storetest.CreateTargets(b, s, storetest.ScaleTargets+len(times), 1)
				times = append(times, time.Since(begun))
			}
		}
		b.ReportMetric(median(times), "median-ms")
	})
	b.Run("bulk-10000", func(b *testing.B) {
		for n := 1; b.Loop(); n++ {
			begun := time.Now()
			storetest.CreateTargets(b, s, storetest.ScaleTargets+n*10_000, 10_000)
			b.ReportMetric(time.Since(begun).Seconds(), "s")
		}
	})
}

func benchPages(b *testing.B, s *store.Store) {
	b.Helper()
	const size = 50
	last := storetest.ScaleTargets / size
	first := 0.0
	for _, page := range []int{1, last / 4, last / 2, last * 3 / 4, last} {
		b.Run(fmt.Sprintf("%d", page), func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				for range 21 {
					begun := time.Now()
					err := s.View(b.Context(), func(r *store.Reader) error {
						list, total, err := r.ListTargets(b.Context(), store.TargetFilter{}, store.Page{Number: page, Size: size})
						if err == nil && (len(list) != size || total != storetest.ScaleTargets) {
							b.Errorf("%d of %d targets", len(list), total)
						}
						return err
					})
					if err != nil {
						b.Fatal(err)
					}
					times = append(times, time.Since(begun))
				}
			}
			m := median(times)
			if first == 0 {
				first = m
			}
			b.ReportMetric(m, "median-ms")
			b.ReportMetric(m/first, "x-first")
		})
	}
}

// median in milliseconds.
func median(times []time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[len(sorted)/2]) / float64(time.Millisecond)
}
