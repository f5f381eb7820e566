//go:build e2e

package soak_test

// The long form: cycles of each kind, and the worlds that share them, so that it ends in a minute: a restart waits for
// timers more than for the processor.
const (
	defaultCycles = 1000
	worlds        = 5
	noisePerCycle = 0
)
