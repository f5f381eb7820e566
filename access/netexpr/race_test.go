//go:build race

package netexpr_test

func init() { raceDetector = true }
