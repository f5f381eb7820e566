//go:build !e2e

package soak_test

// The short form: cycles of each kind, and the worlds that share them.
const (
	defaultCycles = 60
	worlds        = 2
)
