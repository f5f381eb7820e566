package control_test

import (
	"testing"

	"weft/control"
	"weft/control/store/storetest"
)

// BenchmarkRebuild measures what follows one change in an account of 100,000 targets and 5,000 applications: the view and
// the snapshot of the next revision.
func BenchmarkRebuild(b *testing.B) {
	s := storetest.Scale(b)
	h, err := control.NewHubForTest(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	n := storetest.ScaleTargets
	for name, change := range map[string]func(){
		"target":      func() { n++; storetest.CreateTargets(b, s, n, 1) },
		"application": func() { n++; storetest.CreateApplication(b, s, n) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				change()
				b.StartTimer()
				if err := h.Rebuild(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
