//go:build !windows

// Package winstop is for Windows only: elsewhere a process is ended by a signal.
package winstop
