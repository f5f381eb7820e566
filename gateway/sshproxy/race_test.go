//go:build race

package sshproxy_test

func init() { underRace = true }
