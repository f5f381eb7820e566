package main

import "weft/internal/kind"

// Exit codes.
const (
	exitFailure = 1 // a fault of ours, or of the system
	exitUsage   = 2 // a wrong flag or setting
	exitInUse   = 3 // socket, port or state directory is in use
	exitDenied  = 4 // socket or state directory cannot be written
)

func exitCode(err error) int {
	switch kind.Of(err) {
	case kind.Invalid:
		return exitUsage
	case kind.Conflict:
		return exitInUse
	case kind.Denied:
		return exitDenied
	default:
		return exitFailure
	}
}
