//go:build unix

package connector

import "syscall"

// maxFiles is how many files the process may have open; Go has raised the soft limit to the hard one. 0: unknown.
func maxFiles() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || uint64(l.Cur) > 1<<30 {
		return 0
	}
	return int(l.Cur)
}
