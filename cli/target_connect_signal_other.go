//go:build !unix

package cli

import "os/exec"

// signalOf: programs do not end by a signal here.
func signalOf(*exec.ExitError) int { return 1 }
