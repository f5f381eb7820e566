//go:build unix

package service

import (
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// ThisHost is the system that this process runs on.
func ThisHost() (Host, error) {
	uid := os.Geteuid()
	home, err := os.UserHomeDir()
	if err != nil && uid != 0 {
		return Host{}, err
	}
	return Host{
		GOOS: runtime.GOOS, Privileged: uid == 0, UID: uid, Home: home, Getenv: os.Getenv, Runner: Exec{}, OwnedByRoot: ownedByRoot,
	}, nil
}

// ownedByRoot: root owns it, and nobody else may write it; in a directory with the sticky bit others cannot replace what is root's.
func ownedByRoot(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	sticky := fi.IsDir() && fi.Mode()&fs.ModeSticky != 0
	return ok && st.Uid == 0 && (fi.Mode().Perm()&0o022 == 0 || sticky)
}
