package service

import (
	"os"
	"runtime"

	"weft/internal/localsock"
)

// ThisHost is the system that this process runs on.
func ThisHost() (Host, error) {
	me, err := localsock.Self()
	if err != nil {
		return Host{}, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return Host{}, err
	}
	return Host{
		GOOS: runtime.GOOS, Privileged: me.Privileged, Home: home, Getenv: os.Getenv, Runner: Exec{},
		SCM: scm{name: Name}, RunKey: registryRun{},
	}, nil
}
