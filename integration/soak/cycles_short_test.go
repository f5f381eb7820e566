//go:build !e2e

package soak_test

// The short form: cycles of each kind, and the worlds that share them.
const (
	defaultCycles = 60
	worlds        = 2
	// noisePerCycle of heap is allowed: in so few cycles the growth of maps and caches that ends soon is most of it. The long
	// form allows none.
	noisePerCycle = 64 << 10
)
