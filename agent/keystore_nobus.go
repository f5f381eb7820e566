//go:build !unix || darwin

package agent

const keyringNeedsBus = false
