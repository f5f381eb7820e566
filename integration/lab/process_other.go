//go:build !linux

package lab

import "os/exec"

func startCommand(cmd *exec.Cmd) error { return cmd.Start() }
